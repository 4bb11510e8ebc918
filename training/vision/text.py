"""Conversations about pictures as token ids, exactly as the processor of Phi-3.5-vision lays them out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken, Tokenizer

from training.tokenizer import PIECES, Encoder, train_tokenizer

# What Phi-3.5-vision's tokenizer has beyond Phi-3.5-mini's: more placeholders, and the picture's own token last.
MORE_TOKENS = (*(f"<|placeholder{i}|>" for i in range(7, 14)), "<|image|>")


# Capitals stay apart, as digits do: what a picture spells is read letter by letter. All other words may become one
# token.
LETTERS_APART = PIECES.replace(r"▁?[\p{Latin}\p{M}]+", r"▁?\p{Lu}?[\p{Ll}\p{M}]+")


def questions_and_answers(seed: int = 0, pictures: int = 12_000):
    """Texts to learn a vocabulary from."""
    from training.vision.tasks import Album  # it draws, which those who only write a tokenizer need not load

    album = Album("train", seed)
    for _ in range(pictures):
        for case in album.questions(album.group(), 4):
            yield from (m["content"] for m in case.messages)


def own_tokenizer(folder: Path, vocab_size: int) -> None:
    """Train a tokenizer in which colours, shapes and places are one token each; does nothing where there is one.

    With the text models' tokenizer, made for five languages, "circle" is four tokens and "at the bottom right" eleven.
    """
    if not (folder / "tokenizer.json").exists():
        train_tokenizer(folder, vocab_size - len(MORE_TOKENS), texts=questions_and_answers(), pieces=LETTERS_APART)
        write_tokenizer(folder, folder)


def write_tokenizer(source: Path, folder: Path) -> None:
    """Copy a text model's tokenizer and add the tokens of the vision model behind its own."""
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True, rstrip=True) for t in MORE_TOKENS])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = json.loads((source / "tokenizer_config.json").read_text(encoding="utf-8"))
    settings |= {"model_max_length": 4096, "processor_class": "Phi3VProcessor"}
    (folder / "tokenizer_config.json").write_text(
        json.dumps(settings, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def sequence(
    encoder: Encoder, messages, pictures: int, rows: int, shown: Sequence[Sequence[int]] | None = None
) -> tuple[list[int], list[int], list[int]]:
    r"""Ids, positions and loss mask of a conversation whose first turn shows pictures.

    The first turn reads "<|user|>\n<|image_1|>\n<|image_2|>\nquestion". The processor encodes the text after each tag
    by itself and drops its first token, the dummy space, so a newline stands directly after the rows of a picture.

    Args:
        rows: of a picture; they are written as negative ids. shown: which rows of each picture stand in the context,
            ascending; left out, all. The others' positions stay free.
    """
    ids, positions, mask, free = [], [], [], 0  # free: the next position

    def add(new: list[int], learn: int = 0, offsets: Sequence[int] | None = None, room: int | None = None) -> None:
        nonlocal free
        ids.extend(new)
        positions.extend(free + offset for offset in (range(len(new)) if offsets is None else offsets))
        mask.extend([learn] * len(new))
        free += len(new) if room is None else room

    for turn, message in enumerate(messages):
        add([encoder.id[f"<|{message['role']}|>"]])
        if turn == 0 and pictures:
            for i in range(pictures):
                there = range(rows) if shown is None else shown[i]
                add([-1 - i] * len(there), 0, there, rows)
                text = "\n" + (message["content"] if i == pictures - 1 else "")
                add(encoder.tokenizer.encode(text, add_special_tokens=False).ids[1:])
            add([encoder.id["<|end|>"]])
            continue
        learn = int(message["role"] == "assistant")
        add([*encoder.tokenizer.encode(message["content"], add_special_tokens=False).ids, encoder.id["<|end|>"]], learn)
    return ids, positions, mask


def side_by_side(
    encoder: Encoder, conversations, pictures: int, rows: int, shown: Sequence[Sequence[int]] | None = None
):
    """Several conversations about the same pictures, which stand in the context once: ids, positions, loss mask, and to
    which each token belongs.

    Each goes on where the pictures end, as if it were alone; attention has to keep them apart (`model.apart`). One
    after the other, later answers could be copied from earlier ones, and less is learned of pictures.

    Returns:
        Four lists of one length. Of the last: 0 for what all see, 1 and up for the tokens of each conversation.
    """
    whole: tuple[list[int], ...] = ([], [], [], [])
    for number, messages in enumerate(conversations, 1):
        ids, positions, mask = sequence(encoder, messages, pictures, rows, shown)
        start = max(i for i, token in enumerate(ids) if token < 0) + 1
        whose = [0] * start + [number] * (len(ids) - start)
        for all_of_them, new in zip(whole, (ids, positions, mask, whose)):
            all_of_them.extend(new if number == 1 else new[start:])
    return whole
