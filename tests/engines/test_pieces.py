"""From ids to text: whole characters only, and no id that breaks it."""

from __future__ import annotations

import pytest
from tiny_checkpoint import write_tokenizer

from labs_helper.engines.pieces import Pieces, byte_alphabet

TEXTS = ["Hello, world", "长沙在哪里?", "안녕하세요 👋🏽", "¿Dónde está?  two  spaces\n\ttab", "", " leading", "é" * 40]


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory):
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)


@pytest.fixture(scope="module")
def sentencepiece_like():
    """The decoder that the real Phi-3.5 has: '▁' for spaces and byte fallback."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *"▁abcdeHlo长", "▁Hello"]
    model = models.BPE(
        {piece: token_id for token_id, piece in enumerate(vocabulary)}, [], unk_token="<unk>", byte_fallback=True
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken("<|end|>", special=True)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def stream(pieces, ids) -> list[str]:
    text = pieces.stream()
    return [text.add(token_id) for token_id in ids]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("kind", ["byte_level", "sentencepiece_like"])
def test_the_stream_gives_the_text_back_without_fragments(text, kind, request):
    tokenizer = request.getfixturevalue(kind)
    ids = tokenizer.encode(text, add_special_tokens=False)
    parts = stream(Pieces(tokenizer), ids)
    assert "".join(parts) == text
    assert not any("\ufffd" in part for part in parts)


def test_the_stream_equals_the_tokenizer_on_arbitrary_ids(byte_level):
    """Also where the bytes are no valid UTF-8; only an unfinished character at the end is left out."""
    import random

    rng = random.Random(3)
    for _ in range(50):
        ids = [rng.randrange(len(byte_level)) for _ in range(30)]
        ours = "".join(stream(Pieces(byte_level), ids))
        theirs = byte_level.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        assert theirs.startswith(ours) and set(theirs[len(ours) :]) <= {"\ufffd"}


def test_special_tokens_add_no_text_but_have_a_name(byte_level):
    pieces = Pieces(byte_level)
    end = byte_level.convert_tokens_to_ids("<|end|>")
    assert pieces.bytes_of(end) == b""
    assert pieces.readable(end) == "<|end|>"


@pytest.mark.parametrize("token_id", [-1, 10**6])
def test_ids_beyond_the_tokenizer_do_no_harm(byte_level, token_id):
    pieces = Pieces(byte_level)
    assert stream(pieces, [token_id]) == [""]
    assert pieces.readable(token_id) == f"<id {token_id}>"


def test_readable_pieces(byte_level):
    pieces = Pieces(byte_level)
    first, *_ = byte_level.encode("\U0001f600", add_special_tokens=False)
    assert pieces.readable(first) == "<0xF0>"
    assert pieces.readable(byte_level.encode("a", add_special_tokens=False)[0]) == "a"


def test_the_byte_alphabet_is_complete():
    assert sorted(byte_alphabet().values()) == list(range(256))
