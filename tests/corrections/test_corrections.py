"""The corrections: each does what it says, and steps aside where it is not needed."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

import numpy as np
import pytest

from labs_helper import store
from labs_helper.corrections import blas, dequantize, longrope, open_files
from labs_helper.engines.mlx_text import MLXText
from labs_helper.engines.worker import WORKER
from labs_helper.errors import BadRequest

CONFIG = {
    "rope_scaling": {"type": "longrope", "short_factor": [1.0], "long_factor": [2.0]},
    "original_max_position_embeddings": 100,
}


# -- LongRoPE (the numbers are tested against transformers in tests/parity) ---------------------------------


@pytest.mark.parametrize(("tokens", "table"), [(1, "short"), (100, "short"), (101, "long"), (10**6, "long")])
def test_the_table_by_length(tokens, table):
    assert longrope.table_for(CONFIG, tokens) == table


def test_models_without_longrope_have_no_table():
    assert longrope.table_for({}, 5) is None
    assert longrope.table_for({"rope_scaling": None}, 5) is None
    assert longrope.table_for({"rope_scaling": {"type": "linear", "factor": 2.0}}, 5) is None


def test_without_a_number_the_original_length_is_phis():
    assert longrope.original_length({}) == 4096


def test_apply_changes_the_table_of_every_layer(tiny_checkpoint):
    engine = MLXText(tiny_checkpoint)
    WORKER.call(engine.load)

    def tables(total):
        name = longrope.apply(engine.model, engine.config, total)
        return name, [np.array(layer.self_attn.rope._freqs) for layer in engine.model.layers]

    half = np.arange(0, 32, 2) / 32
    for total, key in ((128, "short"), (129, "long"), (5, "short")):
        name, freqs = WORKER.call(tables, total)
        assert name == key and len(freqs) == 2
        expected = np.array(engine.config["rope_scaling"][f"{key}_factor"]) * 10000.0**half
        for table in freqs:
            np.testing.assert_allclose(table, expected, rtol=1e-5)


def test_apply_steps_aside_where_upstream_is_right(tiny_checkpoint, monkeypatch):
    engine = MLXText(tiny_checkpoint)
    WORKER.call(engine.load)
    monkeypatch.setattr(longrope, "upstream_is_right", lambda: True)

    def before_and_after():
        rope = engine.model.layers[0].self_attn.rope
        old = rope._freqs
        return longrope.apply(engine.model, engine.config, 5), rope._freqs is old

    assert WORKER.call(before_and_after) == ("short", True)


def test_the_probe_recognises_a_repaired_mlx_lm(monkeypatch):
    """With a RoPE that picks the short table itself, the probe says that upstream is right."""

    def probe():
        from mlx_lm.models import rope_utils

        original = rope_utils.SuScaledRoPE.__init__

        def repaired(self, dims, *args, short_factor=1.0, long_factor=1.0, **others):
            original(self, dims, *args, short_factor=short_factor, long_factor=short_factor, **others)

        with monkeypatch.context() as patch:
            patch.setattr(rope_utils.SuScaledRoPE, "__init__", repaired)
            return longrope.probe()

    assert WORKER.call(probe) is True
    assert WORKER.call(longrope.probe) is False


# -- BLAS -------------------------------------------------------------------------------------------------

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the wheel for Linux is concerned")


def status_in_a_fresh_python(before: str = "", **environment) -> str:
    import os

    code = (
        f"{before}\nfrom labs_helper.corrections import blas\ns = blas.preload(); print(s, s.fast, s.library, s.advice)"
    )
    kept = {key: value for key, value in os.environ.items() if key not in ("LD_PRELOAD", "LABS_BLAS")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=100, env={**kept, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@linux_only
def test_preload_before_and_after_mlx():
    assert "True OpenBLAS" in status_in_a_fresh_python(), "opencv-python brings one where the system has none"
    assert "Restart the kernel" in status_in_a_fresh_python("import mlx.core")
    assert "LABS_BLAS" in status_in_a_fresh_python(LABS_BLAS="0")


@linux_only
def test_a_machine_without_openblas_says_what_to_install(monkeypatch):
    monkeypatch.setattr(blas, "LIBRARY", "libnothere.so.0")
    monkeypatch.setattr(blas, "in_opencv", list)
    monkeypatch.delitem(sys.modules, "mlx.core", raising=False)
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    monkeypatch.setattr(blas, "_status", None)  # nothing was opened in this process yet
    status = blas.preload()
    assert not status.fast and "libnothere.so.0" in status.library and "libopenblas0-pthread" in status.advice


HIDDEN = "from labs_helper.corrections import blas; blas.LIBRARY = 'libnothere.so.0'\n"


@linux_only
def test_without_the_systems_openblas_the_one_in_opencv_is_opened():
    """In a root without it: no system package is needed for a fast MLX. cv2, which needs libGL, stays out."""
    said = status_in_a_fresh_python(HIDDEN)
    assert "True OpenBLAS from the package opencv-python" in said and "libopenblas0-pthread" in said
    no_import = HIDDEN + "import sys; blas.preload(); assert 'cv2' not in sys.modules"
    assert "opencv-python" in status_in_a_fresh_python(no_import)


@linux_only
def test_an_environment_without_opencv_has_none_to_offer(monkeypatch):
    monkeypatch.setattr(blas.importlib.util, "find_spec", lambda name: None)
    assert blas.in_opencv() == []

    def refuses(name):
        raise ImportError(name)

    monkeypatch.setattr(blas.importlib.util, "find_spec", refuses)
    assert blas.in_opencv() == []


@linux_only
def test_a_broken_copy_of_openblas_is_passed_over(monkeypatch, tmp_path):
    broken = tmp_path / "libopenblas.so"
    broken.write_bytes(b"no library")
    monkeypatch.setattr(blas, "LIBRARY", "libnothere.so.0")
    monkeypatch.setattr(blas, "in_opencv", lambda: [broken])
    monkeypatch.delitem(sys.modules, "mlx.core", raising=False)
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    monkeypatch.setattr(blas, "_status", None)
    assert blas.preload().outcome == "missing"


@linux_only
def test_a_library_that_was_preloaded_for_the_process_counts(monkeypatch):
    monkeypatch.setenv("LD_PRELOAD", "/usr/lib/libopenblas.so.0")
    monkeypatch.setattr(blas, "_status", None)
    assert blas.preload().fast and "LD_PRELOAD" in blas.preload().library


def test_every_outcome_has_a_name_and_a_slow_one_advice():
    for outcome in get_args(blas.Outcome):
        status = blas.BlasStatus(outcome)
        # The one inside opencv-python is fast, and the system's is faster still.
        assert status.library and bool(status.advice) == (not status.fast or outcome == "in opencv")


@linux_only
@pytest.mark.slow
@pytest.mark.parametrize("hidden", ["", HIDDEN], ids=["the system's", "opencv's"])
def test_mlx_really_uses_it(hidden):
    """A product of two 512 x 512 matrices: 100 to 180 ms with the reference BLAS on one core, 3 to 8 with OpenBLAS."""
    code = (
        "import time, mlx.core as mx\n"
        "a = mx.random.normal((512, 512)); mx.eval(a @ a); best = 9.0\n"
        "for _ in range(3):\n"
        "    start = time.perf_counter(); mx.eval(a @ a); best = min(best, time.perf_counter() - start)\n"
        "print(best)"
    )
    with_blas = hidden + "from labs_helper.corrections import before_mlx; before_mlx()\n"

    def seconds(code):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True)
        return float(done.stdout)

    assert seconds(with_blas + code) * 3 < seconds(code)


# -- dequantizing -----------------------------------------------------------------------------------------


def test_when_weights_are_expanded(monkeypatch):
    monkeypatch.delenv("LABS_DEQUANTIZE", raising=False)
    monkeypatch.setattr(blas, "preload", lambda: blas.BlasStatus("opened"))
    assert dequantize.wanted(10**7, on_cpu=True)
    assert not dequantize.wanted(10**7, on_cpu=False), "a GPU has good kernels for quantized weights"
    assert not dequantize.wanted(10**10, on_cpu=True), "the real model stays quantized"
    monkeypatch.setattr(blas, "preload", lambda: blas.BlasStatus("missing"))
    assert not dequantize.wanted(10**7, on_cpu=True), "without a fast BLAS it gains nothing"
    monkeypatch.setenv("LABS_DEQUANTIZE", "1")
    assert dequantize.wanted(10**10, on_cpu=False)
    monkeypatch.setenv("LABS_DEQUANTIZE", "0")
    assert not dequantize.wanted(1, on_cpu=True)
    monkeypatch.setenv("LABS_DEQUANTIZE", "maybe")
    with pytest.raises(BadRequest, match="LABS_DEQUANTIZE"):
        dequantize.wanted(1, on_cpu=True)


def test_expanded_weights_give_the_same_answers(tiny_checkpoint, monkeypatch):
    ids = [5, 200, 17, 33, 90, 4]
    logits, sizes = {}, {}
    for choice in ("0", "1"):
        monkeypatch.setenv("LABS_DEQUANTIZE", choice)
        engine = MLXText(tiny_checkpoint)
        logits[choice] = WORKER.call(engine.logits, ids)
        assert engine.expanded is (choice == "1")
        sizes[choice] = engine.weight_bytes
    assert np.abs(logits["0"] - logits["1"]).max() < 1e-4
    assert sizes["1"] == dequantize.expanded_bytes(store.weight_table(tiny_checkpoint), group_size=32)
    assert sizes["1"] > 4 * sizes["0"]


def test_unquantized_checkpoints_are_left_alone(tiny_unquantized, monkeypatch):
    monkeypatch.setenv("LABS_DEQUANTIZE", "1")
    engine = MLXText(tiny_unquantized)
    WORKER.call(engine.load)
    assert not engine.expanded


# -- the limit of open files ------------------------------------------------------------------------------


@pytest.mark.posix
def test_the_limit_cannot_be_lowered_and_may_be_raised():
    import resource

    which = resource.RLIMIT_NOFILE
    before = resource.getrlimit(which)
    real = resource.setrlimit
    try:
        with open_files.keep_file_limit():
            resource.setrlimit(which, (min(before[0], 64), min(before[1], 128)))
            assert resource.getrlimit(which) == before
            real(which, (min(before[0], 256), before[1]))
            resource.setrlimit(which, (min(before[1], 512), 512))
            assert resource.getrlimit(which) == (min(before[1], 512), before[1])
        assert resource.setrlimit is real
    finally:
        real(which, before)
