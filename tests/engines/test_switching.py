"""Switching models gives the old one back first: measured in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tiny_checkpoint import make_tiny_checkpoint

from labs_helper.models.load import load

# Ask each of the models in turn; say what MLX and the system saw as the most memory. resets are left out, so that
# MLX's peak is that of the whole run and not of the last answer.
CYCLE = """
import json, resource, sys
from pathlib import Path
from labs_helper.corrections import before_mlx
before_mlx()
import mlx.core as mx
from labs_helper import load
mx.reset_peak_memory = lambda: None
answers, models = [], [load(path) for path in sys.argv[1:]]
def peak():
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # On Linux ru_maxrss begins at the peak of the process that started this one.
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
start = peak()
for model in models:
    answers.append(model.ask("Hello", max_tokens=3).text)
loaded = sum(model.loaded for model in models)
print(json.dumps({"mlx": mx.get_peak_memory(), "process": peak() - start, "loaded": loaded, "answers": answers}))
"""


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Three models of 42, 63 and 84 MB, as "custom" ones: nothing says that they are small."""
    folder = tmp_path_factory.mktemp("three")
    return [
        str(make_tiny_checkpoint(folder / f"m{layers}", quantized=False, hidden=512, heads=8, layers=layers))
        for layers in (4, 6, 8)
    ]


def cycle(paths, **environment):
    import os

    done = subprocess.run(
        [sys.executable, "-c", CYCLE, *paths],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
        env={**os.environ, **environment},
    )
    return json.loads(done.stdout)


def test_the_peak_of_a_cycle_is_that_of_the_largest(three):
    small, middle, large = three
    alone, all_three = cycle([large]), cycle([large, small, middle, large])
    assert all_three["loaded"] == 2 and all_three["answers"][0] == all_three["answers"][3] == alone["answers"][0]
    assert all_three["mlx"] < 1.02 * alone["mlx"]
    assert 0 < all_three["process"] < 1.25 * alone["process"]
    kept = cycle([large, small, middle, large], LABS_KEEP_MODELS="1")
    assert kept["loaded"] == 4 and kept["mlx"] > 2 * alone["mlx"], "the measurement sees what it is about"


def test_bundled_models_stay_and_so_does_a_model_that_is_answering(three):
    bundled, first, second = load("instruct", tier="tiny"), load(three[0]), load(three[1])
    bundled.ask("Hi", max_tokens=1)
    first.ask("Hello", max_tokens=1)
    inner = []

    def on_token(token):
        if not inner:
            inner.append(second.ask("Hello", max_tokens=2))

    answer = first.submit("Hello", max_tokens=4, on_token=on_token).wait(timeout=60)
    assert bundled.loaded and first.loaded and second.loaded and answer.generated_tokens == 4
    assert first.ask("Hello", max_tokens=4).tokens == answer.tokens
    first.release()
    first.ask("Hello", max_tokens=1)
    assert bundled.loaded and first.loaded and not second.loaded
    for model in (bundled, first, second):
        model.release()
