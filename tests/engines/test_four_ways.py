"""instruct-tiny in four ways: MLX in this process, the llama.cpp engine, llama.cpp's server, mlx_lm.server.
And vision-tiny in two: MLX in this process, mlx_vlm.server.

The same prompt tokens everywhere. Greedy answers differ only where a number is rounded otherwise, and at mlx_lm.server,
which takes LongRoPE's long table at every length. Run with `-s` to see the shares.
"""

from __future__ import annotations

import json
import re
from urllib.request import Request as Get
from urllib.request import urlopen

import pytest
from PIL import Image

from labs_helper import catalog
from labs_helper.models.load import load
from labs_helper.serving.gguf_model import convert

TINY = catalog.course_folder() / "data/checkpoints/instruct-tiny"
QUESTIONS = (
    "Where is Changsha?",
    "长沙在哪里?",
    "서울은 어디에 있나요?",
    "¿Dónde está Madrid?",
    "東京はどこにありますか。",
    "What is 47 + 38?",
    "What is 90 - 27?",
    "Who are you?",
    "List three colours.",
    "Translate into Spanish: water",
    "What is the capital of Kenya?",
    "Where is Lima?",
    "Count from 1 to 15.",
    "Give me Peru as JSON.",
    "Tell me about Paris.",
    "Hello!",
)
PICTURES = ("bars", "one-shape", "four-shapes", "curve", "floor-plan", "note", "everyday-things", "crowd")
KEY = "classroom"


def ask(model, text: str):
    answer = model.ask(text, max_tokens=60)
    return answer.prompt_tokens, answer.text.strip()


def in_this_process(most: int) -> dict:
    """((prompt tokens, answer), prompt ids) of each question. `most` tokens decide LongRoPE's table."""
    model = load(str(TINY))
    found = {}
    for text in QUESTIONS:
        begins = "".join(token.text for token, _ in zip(model.stream(text, max_tokens=most), range(60))).strip()
        found[text] = ((model.last.prompt_tokens, begins), model.prompt(text).ids)
        assert model.last.rope_table == ("short" if most == 60 else "long")
    model.release()
    return found


@pytest.fixture(scope="module")
def mlx():
    """Each question with the short table, which is the right one here."""
    return in_this_process(60)


def share(found: dict, mlx: dict, name: str) -> float:
    assert {text: answer[0] for text, answer in found.items()} == {text: mlx[text][0][0] for text in QUESTIONS}
    same = sum(found[text][1] == mlx[text][0][1] for text in QUESTIONS)
    print(f"{name}: {same} of {len(QUESTIONS)} greedy answers as MLX in this process gives them")
    return same / len(QUESTIONS)


@pytest.mark.parametrize(("kind", "least"), [("f32", 0.9), ("q8_0", 0.75)])
def test_the_llama_cpp_engine(mlx, tmp_path, kind, least):
    """f32 holds the very numbers of the 4-bit file; q8_0 rounds them a second time."""
    pytest.importorskip("xllamacpp", exc_type=ImportError)
    model = load(str(convert(TINY, tmp_path / kind, kind=kind).parent))
    for text in QUESTIONS:
        assert model.prompt(text).ids == mlx[text][1]
    found = {text: ask(model, text) for text in QUESTIONS}
    model.release()
    assert share(found, mlx, f"llama.cpp engine, {kind}") >= least


def through(monkeypatch, url: str, model: str, key: str) -> dict:
    for name, value in (("", url), ("_MODEL", model), ("_KEY", key)):
        monkeypatch.setenv(f"LABS_ENDPOINT{name}", value)
    remote = load("endpoint")
    return {text: ask(remote, text) for text in QUESTIONS}


def test_llama_cpps_own_server(mlx, tiny_gguf, monkeypatch):
    """It applies its template and its tokenizer; both are asked for, to compare the ids themselves."""
    xllamacpp = pytest.importorskip("xllamacpp", exc_type=ImportError)
    options = xllamacpp.CommonParams()
    options.model.path = str(next(tiny_gguf.glob("*.gguf")))
    options.n_ctx, options.n_parallel, options.verbosity = 256, 1, 0
    options.cpuparams.n_threads = options.cpuparams_batch.n_threads = 1
    options.fit_params = options.warmup = False
    options.hostnames, options.api_keys = ["127.0.0.1"], [KEY]
    server = xllamacpp.Server(options)

    def post(path: str, **values) -> dict:
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        wanted = Get(server.listening_address + path, json.dumps(values).encode(), headers)
        with urlopen(wanted, timeout=30) as answer:
            return json.load(answer)

    for text in QUESTIONS:
        prompt = post("/apply-template", messages=[{"role": "user", "content": text}])["prompt"]
        assert tuple(post("/tokenize", content=prompt, parse_special=True)["tokens"]) == mlx[text][1], text
    found = through(monkeypatch, server.listening_address, "", KEY)
    assert share(found, mlx, "llama.cpp's server") >= 0.9


@pytest.mark.slow
def test_mlx_lms_server(mlx, mlx_server, monkeypatch):
    """What differs from ours is the table (corrections/longrope.py): with the long one ours answers as the server."""
    url, folder = mlx_server
    assert re.match(r"http://127\.0\.0\.1:\d+/v1$", url)
    found = through(monkeypatch, url, folder, "")
    assert share(found, mlx, "mlx_lm.server") >= 0.75
    assert share(found, in_this_process(900), "mlx_lm.server, long table in both") >= 0.9


@pytest.mark.slow
def test_mlx_vlms_server(mlx_vision_server, monkeypatch):
    """Pictures as data URLs. The server writes no newline after a picture's tag: its prompt has one "What" where ours
    has a newline, a "W" and a "hat"."""
    for name, value in zip(("LABS_ENDPOINT", "LABS_ENDPOINT_MODEL"), mlx_vision_server):
        monkeypatch.setenv(name, value)
    remote, here, same = load("endpoint"), load("vision-tiny"), 0
    for name in PICTURES:
        image = Image.open(catalog.course_folder() / "images/vision" / f"{name}.png")
        theirs, ours = (model.ask("What is in this picture?", images=image, max_tokens=60) for model in (remote, here))
        assert theirs.prompt_tokens == ours.prompt_tokens - 2 and theirs.text
        same += theirs.text.strip() == ours.text.strip()
    here.release()
    print(f"mlx_vlm.server: {same} of {len(PICTURES)} greedy answers about pictures as MLX in this process gives them")
    assert same >= 0.6 * len(PICTURES)
