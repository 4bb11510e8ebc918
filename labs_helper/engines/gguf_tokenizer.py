"""The tokenizer of a GGUF file, as the Hugging Face library would read it from the model's own tokenizer.json.

A GGUF file carries pieces, scores and kinds, but not the settings around them. Phi's are known: SentencePiece with
byte fallback, a space before the first word, and special tokens that take the white space behind them. They are put
together here, so that a prompt has the same ids on every engine. llama.cpp keeps a list of the same exceptions
(src/llama-vocab.cpp, for models whose name has "phi-3" in it).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from labs_helper.common.translate import _
from labs_helper.engines.refusing import quiet_transformers
from labs_helper.errors import CheckpointRefused
from labs_helper.store import read_json
from labs_helper.store.gguf import Gguf

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

_CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 3, 4, 5, 6
# Special tokens that leave the white space behind them alone; all others of Phi take it.
_KEEP_SPACE = ("<unk>", "<s>", "<|endoftext|>")
MARK = "\u2581"  # SentencePiece's space


def load(front: Gguf) -> PreTrainedTokenizerFast:
    """A fast tokenizer with the chat template of the file.

    A tokenizer.json beside the file goes first: it is what the model was made with. Raises CheckpointRefused.

    Example:
        load(gguf.read(file)).encode("Hello")
    """
    from tokenizers import Tokenizer

    with quiet_transformers():
        from transformers import PreTrainedTokenizerFast

    folder, settings = front.file.parent, front.settings
    beside = folder / "tokenizer.json"
    backend = Tokenizer.from_file(str(beside)) if beside.is_file() else build(settings, front.file)
    template = settings.get("tokenizer.chat_template") or _template_beside(folder)
    if not template:
        raise CheckpointRefused(
            _("{file} has no chat template.").format(file=front.file), _("Use another copy of the model.")
        )
    tokens = settings.get("tokenizer.ggml.tokens") or []

    def named(key: str) -> str | None:
        token_id = settings.get(f"tokenizer.ggml.{key}_token_id")
        return tokens[token_id] if isinstance(token_id, int) and 0 <= token_id < len(tokens) else None

    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        chat_template=template,
        bos_token=named("bos"),
        eos_token=named("eos"),
        unk_token=named("unknown"),
        pad_token=named("padding"),
        clean_up_tokenization_spaces=False,
    )


def _template_beside(folder: Path) -> str | None:
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    file = folder / "tokenizer_config.json"
    return read_json(file).get("chat_template") if file.is_file() else None


def build(settings: dict[str, Any], file: Path) -> Tokenizer:
    """A `tokenizers.Tokenizer` from a GGUF file's own settings. Raises CheckpointRefused for other kinds.

    Example:
        build(gguf.read(file).settings, file).encode("Hello").ids
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

    pieces, scores = settings.get("tokenizer.ggml.tokens"), settings.get("tokenizer.ggml.scores")
    kinds = settings.get("tokenizer.ggml.token_type")
    if settings.get("tokenizer.ggml.model") != "llama" or not pieces or not scores or not kinds:
        raise CheckpointRefused(
            _("{file} has a vocabulary of another kind than Phi's (SentencePiece).").format(file=file),
            _("Put the model's tokenizer.json beside it, or use another copy."),
        )
    vocabulary = {piece: token_id for token_id, piece in enumerate(pieces) if kinds[token_id] != _UNUSED}
    special = {piece for token_id, piece in enumerate(pieces) if kinds[token_id] in (_CONTROL, _USER_DEFINED)}
    # A byte ("<0x41>") is never merged from its letters: that is how it differs from the same text.
    normal = {
        piece: scores[token_id]
        for piece, token_id in vocabulary.items()
        if piece not in special and kinds[token_id] != _BYTE
    }
    unknown = pieces[settings.get("tokenizer.ggml.unknown_token_id", 0)]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges(normal), unk_token=unknown, fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(MARK), normalizers.Replace(" ", MARK)])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(MARK, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(
        [
            AddedToken(piece, rstrip=piece not in _KEEP_SPACE, normalized=False, special=True)
            for piece in vocabulary
            if piece in special or piece == unknown
        ]
    )
    return tokenizer


def merges(scores: dict[str, float]) -> list[tuple[str, str]]:
    """The merges that a SentencePiece vocabulary stands for, best first.

    scores: {piece: score}. Two pieces may merge if the whole is a piece; the higher its score, the sooner.

    Example:
        merges({"a": -3, "b": -4, "ab": -1})      # [('a', 'b')]
    """
    pairs = []
    for piece, score in scores.items():
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in scores and right in scores:
                pairs.append((-score, -scores[left], -scores[right], left, right))
    pairs.sort()
    return [(left, right) for *_scores, left, right in pairs]
