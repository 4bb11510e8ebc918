"""The page's tokenizer and options in node, against the package: no browser and no model. Skipped without node."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "docs/site/static/labs"
TOKENIZER = ROOT / "data/checkpoints/instruct-tiny/tokenizer.json"

ODD = [
    "<|end|> hi <|user|>\n",
    "  \n x  y\t z",
    "\u1109\u1165\u110b\u116e\u11af",  # Hangul in pieces
    "a\ud800b",
    "\U0001f600\U0001f44d\U0001f3fd x",
    "\u2581a\u2581",
    "<s></s><unk>",
    "",
    "   ",
    "é e\u0301 Ω ß İ",
    "\u3000全角",
    "\x00\x01",
    "ー カタカナ",
    "अक्षर العربية",
    "a\u200bb\r\nc\n\n d",
    "½²①Ⅷ",
]


@pytest.fixture(scope="module")
def node():
    """A function that runs a module with {name: value} as JSON on stdin and returns what it prints, as JSON."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("node is needed: apt install nodejs")

    modules = json.dumps([(SCRIPTS / name).as_uri() for name in ("tokenizer.js", "requests.js", "text.js")])
    before = (
        'import { readFileSync } from "node:fs"; const given = JSON.parse(readFileSync(0));'
        f"const [{{ Tokenizer }}, requests, text] = await Promise.all({modules}.map((name) => import(name)));"
        f"const tokenizer = new Tokenizer(JSON.parse(readFileSync({json.dumps(str(TOKENIZER))})));"
        "const say = (value) => console.log(JSON.stringify(value));"
    )

    def run(source: str, given: object) -> object:
        code = before + source
        done = subprocess.run(
            [found, "--no-warnings", "--experimental-default-type=module", "--input-type=module", "-e", code],
            input=json.dumps(given),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def texts() -> list[str]:
    """Odd texts, and 60 at random from many scripts, spaces and line breaks."""
    draw = random.Random(3)
    ranges = [(32, 127), (0xA0, 0x500), (0x3000, 0x3100), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0x1F300, 0x1F700)]
    drawn = [
        "".join(chr(draw.choice([draw.randrange(*draw.choice(ranges)), 9, 10, 32])) for _letter in range(30))
        for _text in range(60)
    ]
    return ODD + drawn


def test_prompts_are_those_of_the_package(node):
    from labs_helper.engines.base import Message, Request
    from labs_helper.engines.mlx_text import MLXText

    engine = MLXText(TOKENIZER.parent)
    engine.load_tokenizer()
    conversations = [[{"role": "user", "content": text}] for text in texts()]
    conversations += [
        [
            {"role": "system", "content": text[:5]},
            {"role": "user", "content": text},
            {"role": "assistant", "content": text[::-1]},
            {"role": "user", "content": text[7:]},
        ]
        for text in texts()
    ]
    source = "say(given.map((messages) => tokenizer.prompt(messages)));"
    for messages, mine in zip(conversations, node(source, conversations), strict=True):
        theirs = engine.render(Request(tuple(Message(**message) for message in messages)))
        assert mine == {"text": theirs.text, "ids": list(theirs.ids), "pieces": list(theirs.pieces)}


def test_an_answer_is_put_together_as_the_package_does(node):
    from labs_helper.engines.mlx_text import MLXText

    engine = MLXText(TOKENIZER.parent)
    engine.load_tokenizer()
    draw = random.Random(5)
    sequences = [engine.encoder.plain(text) for text in texts() if "\ud800" not in text]
    sequences += [[draw.randrange(2560) for _token in range(20)] for _sequence in range(40)]
    source = "say(given.map((ids) => { const add = tokenizer.stream(); return ids.map((id) => add(id)).join(''); }));"
    for ids, mine in zip(sequences, node(source, sequences), strict=True):
        stream = engine.pieces.stream()
        assert mine == "".join(stream.add(token_id) for token_id in ids)


def test_options_stay_within_their_bounds(node):
    given = [{}, {"temperature": "9", "topP": 0, "seed": -3, "maxTokens": "1e9"}, {"temperature": "x", "maxTokens": ""}]
    found = node("say(given.map(requests.options));", given)
    usual = {"temperature": 0, "topP": 1, "seed": 1, "maxTokens": 128, "alternatives": 5}
    assert found == [usual, {**usual, "temperature": 5, "topP": 0.01, "seed": 0, "maxTokens": 512}, usual]


def test_the_context_is_chosen_for_prompt_and_answer_together(node):
    source = "say(given.map((tokens) => requests.room(tokens, {original: 256, most: 1024}) ?? null));"
    assert node(source, [1, 256, 257, 1024, 1025]) == [256, 256, 1024, 1024, None]


def test_seeds_of_neighbouring_places_differ(node):
    source = "say(given.map(([seed, place]) => requests.seedAt(seed, place)));"
    pairs = [[seed, place] for seed in range(20) for place in range(20)]
    found = node(source, pairs)
    assert len(set(found)) == len(pairs)
    assert found == node(source, pairs)
    assert all(0 <= value < 2**32 for value in found)


def test_probabilities_are_written_as_in_the_package(node):
    from labs_helper.figures.text import percent

    values = [0.0, -0.0004, -0.1, -1.0, -5.0, -7.0, -100.0]
    assert node("say(given.map(text.percent));", values) == [percent(value) for value in values]
