"""The package as a whole: light to import, thirteen public names, readable errors."""

from __future__ import annotations

import subprocess
import sys

import pytest

import labs_helper
from labs_helper import errors

HEAVY = ("mlx", "transformers", "torch", "ipywidgets", "matplotlib", "pandas", "numpy", "huggingface_hub")


def in_a_fresh_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_is_fast_and_light():
    code = (
        # The time of the processor, not of the clock, which counts other programs too.
        "import sys, time; start = time.process_time(); import labs_helper; "
        f"print(time.process_time() - start, [m for m in {HEAVY!r} if m in sys.modules])"
    )
    seconds, heavy = in_a_fresh_python(code).split(" ", 1)
    assert float(seconds) < 0.3
    assert heavy == "[]"


def test_making_a_model_loads_neither_mlx_nor_transformers(tiny_checkpoint):
    code = (
        f"import sys, labs_helper; model = labs_helper.load({str(tiny_checkpoint)!r}); print(model); "
        "print([m for m in ('mlx', 'transformers', 'torch', 'ipywidgets') if m in sys.modules])"
    )
    shown, heavy = in_a_fresh_python(code).splitlines()
    assert shown == "Model(tiny, phi3, custom, not loaded yet)"
    assert heavy == "[]"


def test_the_public_names():
    assert set(labs_helper.__all__) == {
        "able",
        "check_setup",
        "load",
        "chat",
        "look",
        "compare",
        "experts",
        "benchmarks",
        "check",
        "hint",
        "memory",
        "predict",
        "reveal",
    }
    assert set(labs_helper.__all__) <= set(dir(labs_helper))
    assert labs_helper.load.__module__ == "labs_helper.models.load"
    with pytest.raises(AttributeError, match="check_setup"):
        _ = labs_helper.no_such_name


def test_an_error_shows_two_sentences_and_no_stack():
    error = errors.BadRequest("The prompt is empty.", "Write a question.")
    assert str(error) == "The prompt is empty. Write a question."
    assert error._render_traceback_() == ["BadRequest: The prompt is empty.", "What to do: Write a question."]
    assert errors.LabError("Only this.")._render_traceback_() == ["LabError: Only this."]


@pytest.mark.parametrize(
    "name",
    [
        "ModelNotHere",
        "NotEnoughMemory",
        "CheckpointRefused",
        "BadImage",
        "BadRequest",
        "EndpointFailed",
        "DownloadFailed",
    ],
)
def test_all_errors_are_one_family(name):
    assert issubclass(getattr(errors, name), errors.LabError)
