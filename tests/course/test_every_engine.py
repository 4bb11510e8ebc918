"""Labs run to their end with other engines than MLX, and with a server: no cell fails.

Lab 00 runs so in `make test`. Whole labs take a minute and more each: `make engine-test` runs those, and so does the
workflow of each push. What their cells ask of an engine is tested engine by engine in tests/engines.

Small models of the course stand under the names of the real ones: as GGUF files, as an ONNX folder, and behind
llama.cpp's server. Labs 02 and 03 with a server of a text model take the bundled model at their first cell, which
test_able.py tests in place of a whole run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from labs_helper.catalog import course_folder

ROOT = course_folder()
CHECKPOINTS = ROOT / "data" / "checkpoints"


def run(lab: str, **settings: str) -> None:
    """Run the solution edition of a lab through nbval."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LABS_", "PYTEST_"))}
    options = ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=120", "-q", "-n0", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", f"notebooks/solutions/{lab}.ipynb", *options],
        cwd=ROOT,
        env=kept | {"LABS_PROGRESS": "off", "HF_HUB_OFFLINE": "1", "MLX_DISABLE_COMPILE": "1"} | settings,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


WHOLE = pytest.param("01-instruct", marks=pytest.mark.engines)


@pytest.mark.timeout(640)
@pytest.mark.parametrize("lab", ["00-start-here", WHOLE])
def test_a_lab_with_gguf_as_the_real_model(lab, tmp_path):
    pytest.importorskip("xllamacpp", exc_type=ImportError)
    from labs_helper import catalog
    from labs_helper.serving.gguf_model import convert

    for source, name in (
        ("instruct-tiny", "phi-3.5-mini-instruct-q4-gguf"),
        ("instruct-previous-tiny", "phi-3-mini-128k-instruct-q4-gguf"),
    ):
        file = convert(CHECKPOINTS / source, tmp_path / name)
        file.rename(file.with_name(str(catalog.find(name)[0].file)))
    run(lab, LABS_MODELS="real", LABS_MODELS_DIR=str(tmp_path))


@pytest.mark.engines
@pytest.mark.timeout(640)
def test_lab_02_with_onnx_as_the_real_model(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    from training.to_onnx import exported

    made = shutil.copytree(exported(CHECKPOINTS / "vision-tiny"), tmp_path / "phi-3.5-vision-instruct-onnx")
    run("02-vision", LABS_MODELS="real", LABS_MODELS_DIR=str(Path(made).parent))


@pytest.mark.timeout(640)
@pytest.mark.parametrize("lab", ["00-start-here", WHOLE])
def test_a_lab_with_llama_cpps_server(lab):
    pytest.importorskip("xllamacpp", exc_type=ImportError)
    from labs_helper.serving.server import serve

    server = serve("instruct", tier="tiny", engine="llama.cpp")
    try:
        run(lab, LABS_MODELS="endpoint", LABS_ENDPOINT=server.url)
    finally:
        server.close()
