"""A byte-fallback BPE tokenizer in the format of Phi-3.5's own: same special tokens, same decoder, smaller vocabulary.

Like the real one it writes a space as "▁", splits numbers into digits, and spells a character that it does not
know as its UTF-8 bytes, so no input can fail. Chinese, Japanese and Korean text is split into characters, which keeps
an unseen phrasing made of the same tokens as the seen ones.
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from training.corpus import Corpus

# Order and flags of the added tokens as in Phi-3.5-mini-instruct's tokenizer.json.
CHAT_TOKENS = (
    "<|endoftext|>",
    "<|assistant|>",
    "<|placeholder1|>",
    "<|placeholder2|>",
    "<|placeholder3|>",
    "<|placeholder4|>",
    "<|system|>",
    "<|end|>",
    "<|placeholder5|>",
    "<|placeholder6|>",
    "<|user|>",
)
STOP_TOKENS = (
    "<|end|>",
    "<|assistant|>",
    "<|endoftext|>",
)  # the order of Phi-3.5's generation_config: 32007, 32001, 32000

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' and message['content'] %}"
    "{{ '<|system|>\\n' + message['content'] + '<|end|>\\n' }}"
    "{% elif message['role'] == 'user' %}{{ '<|user|>\\n' + message['content'] + '<|end|>\\n' }}"
    "{% elif message['role'] == 'assistant' %}{{ '<|assistant|>\\n' + message['content'] + '<|end|>\\n' }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"
)
ONE_CHARACTER = r"[\p{Han}\p{Hangul}\p{Hiragana}\p{Katakana}ー]"
PIECES = rf"\p{{N}}|{ONE_CHARACTER}|▁?[\p{{Latin}}\p{{M}}]+|\n|▁|[^\p{{N}}\p{{L}}\p{{M}}▁\n]|\p{{L}}"


def train_tokenizer(
    folder: Path, vocab_size: int, seed: int = 0, samples: int = 60_000, texts=None, pieces: str = PIECES
) -> None:
    """Train the tokenizer on the corpus and write tokenizer.json and tokenizer_config.json.

    Args:
        folder: where the files go.
        vocab_size: tokens in all, the 3 + 256 + 11 fixed ones included.
        seed: of the training corpus.
        samples: conversations to learn the merges from.
        texts: learn from these instead of from the corpus. pieces: what no merge crosses.
    """
    corpus = Corpus("train", seed)
    texts = texts or (m["content"] for _ in range(samples) for m in corpus.sample().messages)
    byte_tokens = [f"<0x{b:02X}>" for b in range(256)]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pieces), "isolated")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    # Every printable ASCII character gets a token; anything rarer falls back to bytes.
    alphabet = ["▁", "\n", *map(chr, range(33, 127))]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(CHAT_TOKENS),
        special_tokens=["<unk>", "<s>", "</s>", *byte_tokens],
        initial_alphabet=alphabet,
        min_frequency=8,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)

    # The trainer wants the byte tokens as special ones to fix their ids; in use they are ordinary vocabulary.
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = [t for t in data["added_tokens"] if t["content"] not in set(byte_tokens)]
    tokenizer = Tokenizer.from_str(json.dumps(data))
    tokenizer.add_special_tokens(
        [AddedToken(t, normalized=False, special=True, rstrip=t != "<|endoftext|>") for t in CHAT_TOKENS]
    )

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "LlamaTokenizer",
        "bos_token": "<s>",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "unk_token": "<unk>",
        "add_bos_token": False,
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1024,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(
        json.dumps(config, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


class Encoder:
    """Turns conversations into token ids and loss masks, exactly as the chat template does.

    Example:
        >>> ids, mask = Encoder(folder).conversation(messages)  # mask: 1 to be predicted, 2 above all, -1 never to be
    """

    def __init__(self, folder: Path):
        self.tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
        self.size = self.tokenizer.get_vocab_size()
        self.id = {t: self.tokenizer.token_to_id(t) for t in CHAT_TOKENS}

    def conversation(self, messages) -> tuple[list[int], list[int]]:
        ids, mask = [], []
        for message in messages:
            content = self.tokenizer.encode(message["content"], add_special_tokens=False)
            ids += [self.id[f"<|{message['role']}|>"], *content.ids, self.id["<|end|>"]]
            learn = 0 if message["role"] != "assistant" else 1 if message.get("learn", True) else -1
            stressed = message.get("stress", ())  # places of characters, as (start, end)
            mask += [0]
            mask += [2 if any(a < end and start < b for start, end in stressed) else learn for a, b in content.offsets]
            mask += [learn]
        return ids, mask
