"""What `check_setup` says about a machine."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from pathlib import Path

import pytest

from labs_helper import catalog, corrections, doctor
from labs_helper.catalog import find_lab
from labs_helper.common import nvidia
from labs_helper.errors import BadRequest


def test_a_good_machine_is_ready(course):
    report = doctor.check_setup("01")
    assert report.ok, str(report)
    names = [row.name for row in report.rows]
    assert names[:8] == ["Python", "machine", "memory", "disk", "MLX", "BLAS", "compiler", "ipykernel"]
    assert {"instruct-tiny", "instruct-previous-tiny", "role instruct", "role instruct-previous"} <= set(names)
    answers = {row.name: row.detail for row in report.rows}
    assert answers["role instruct"].startswith("instruct-tiny answers: ")
    assert str(report).startswith("Ready for lab 01.")
    for part in ("labs_helper", "Python", "mlx ", "mlx-lm", "transformers", "cores"):
        assert part in report.versions


def test_it_is_quick(course):
    doctor.check_setup("01")
    start = time.process_time()
    doctor.check_setup("01")
    assert time.process_time() - start < 2


def test_lab_00_needs_one_model_only(course):
    shutil.rmtree(course / "data/checkpoints/instruct-previous-tiny")
    assert doctor.check_setup("00").ok
    report = doctor.check_setup("01")
    assert not report.ok and "fix instruct-previous-tiny" in report.conclusion
    row = next(row for row in report.rows if row.name == "instruct-previous-tiny")
    # The zip and an installed package have no history to restore from, and no training.
    assert row.status == "FIX" and "LABS_HOME" in row.advice and "git" not in row.advice
    (course / ".git").mkdir()
    report = doctor.check_setup("01")
    row = next(row for row in report.rows if row.name == "instruct-previous-tiny")
    assert "git checkout" in row.advice and "make checkpoints" in row.advice


def test_a_damaged_checkpoint_is_seen(course):
    weights = course / "data/checkpoints/instruct-tiny/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    report = doctor.check_setup("00")
    (row,) = [row for row in report.rows if row.status == "FIX"]
    assert not report.ok and row.name == "instruct-tiny" and "model.safetensors" in row.detail


def test_unknown_labs(course):
    with pytest.raises(BadRequest, match="00, 01"):
        doctor.check_setup("99")


def test_the_report_as_html_is_a_table_and_escaped():
    rows = (doctor.Row("a", "OK", "<b>"), doctor.Row("c", "FIX", "broken", "mend & try"))
    report = doctor.SetupReport(None, rows, "v < 2")
    shown = report._repr_html_()
    assert "&lt;b&gt;" in shown and "mend &amp; try" in shown and "v &lt; 2" in shown
    assert shown.count("<tr>") == 3 and 'scope="col"' in shown and 'scope="row"' in shown
    assert not report.ok and report.conclusion == "Not ready: fix c."
    assert "-> mend & try" in str(report) and repr(report) == str(report)


@pytest.mark.parametrize(
    ("version", "status"),
    [
        ((3, 10, 9), "FIX"),
        ((3, 11, 0), "OK"),
        ((3, 12, 1), "OK"),
        ((3, 13, 0), "NOTE"),
        ((3, 13, 5), "NOTE"),
        ((3, 14, 0), "OK"),
    ],
)
def test_versions_of_python(monkeypatch, version, status):
    monkeypatch.setattr(sys, "version_info", (*version, "final", 0))
    row = doctor.python_row()
    assert row.status == status and bool(row.advice) is (status != "OK")
    assert ("calls itself" in row.detail) is (status == "NOTE")


@pytest.mark.parametrize(("version", "status"), [("7.0.1", "FIX"), ("7.4.0", "OK"), ("6.29.5", "OK"), (None, "NOTE")])
def test_ipykernel_versions(monkeypatch, version, status):
    monkeypatch.setattr(doctor, "version", lambda package: version)
    assert doctor.kernel_row().status == status


def test_a_machine_without_mlx(monkeypatch):
    monkeypatch.setattr(doctor, "version", lambda package: None)
    assert doctor.mlx_row().status == "FIX"


@pytest.mark.posix
def test_mlx_that_does_not_start_is_a_row_and_not_a_crash(monkeypatch, tmp_path):
    """A broken MLX may end the process that imports it; the kernel must survive that."""
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'ImportError: libmlx.so' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    monkeypatch.delitem(sys.modules, "mlx.core", raising=False)
    row = doctor.mlx_row()
    assert row.status == "FIX" and "ImportError: libmlx.so" in row.detail


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")
def test_mlx_compiles_nothing_on_linux_unless_the_user_wants_it(monkeypatch):
    monkeypatch.delenv("MLX_DISABLE_COMPILE")
    corrections.before_mlx()
    assert os.environ["MLX_DISABLE_COMPILE"] == "1" and doctor.compiler_row().status == "OK"
    monkeypatch.setenv("MLX_DISABLE_COMPILE", "0")
    corrections.before_mlx()
    assert os.environ["MLX_DISABLE_COMPILE"] == "0"


def test_little_memory_is_a_note(monkeypatch):
    monkeypatch.setenv("LABS_MEMORY_GB", "0.5")
    row = doctor.memory_row()
    assert row.status == "NOTE" and row.detail.startswith("500 MB free") and "1 GB free" in row.advice


def programs(folder: Path, monkeypatch, **said: str) -> None:
    """A system whose only programs are these, with what each prints."""
    for name, text in said.items():
        program = folder / name.replace("_", "-")
        program.write_text(f"#!/bin/sh\necho '{text}'\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="what a small Linux system lacks")


@linux_only
def test_an_empty_system_is_told_what_it_lacks_and_what_that_costs(monkeypatch, tmp_path):
    programs(tmp_path, monkeypatch, ldconfig="libc.so.6 => /lib/libc.so.6", fc_list="")
    rows = {row.name: row for row in doctor.missing_rows()}
    assert list(rows) == ["libGL", "libgomp", "browser", "fonts"]
    assert {row.status for row in rows.values()} == {"OK"}, "no lab needs them"
    assert "no lab needs it" in rows["libGL"].detail and "libgl1" in rows["libGL"].advice
    assert "llama.cpp" in rows["libgomp"].detail and "libgomp1" in rows["libgomp"].advice
    assert "BROWSER=0" in rows["browser"].detail and "browser tests" in rows["browser"].detail
    assert "boxes" in rows["fonts"].detail and "fonts-noto-cjk" in rows["fonts"].advice


@linux_only
def test_a_browser_without_fonts_is_worth_a_note(monkeypatch, tmp_path):
    programs(tmp_path, monkeypatch, ldconfig="libGL.so.1, libgomp.so.1", fc_list="", firefox="")
    (row,) = doctor.missing_rows()
    assert (row.name, row.status) == ("fonts", "NOTE")


@linux_only
def test_a_complete_system_has_no_such_rows(monkeypatch, tmp_path):
    programs(tmp_path, monkeypatch, ldconfig="libGL.so.1, libgomp.so.1", fc_list="Noto Sans CJK KR", xdg_open="")
    assert doctor.missing_rows() == []


@linux_only
def test_without_the_programs_that_tell_nothing_is_claimed(monkeypatch, tmp_path):
    """No ldconfig: nothing about libGL. No fontconfig: the names of the font files tell."""
    programs(tmp_path, monkeypatch, firefox="")
    monkeypatch.setattr(doctor, "_asked", lambda *command: "")
    fonts = tmp_path / ".local/share/fonts"
    fonts.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path))
    (fonts / "NotoSansCJK-Regular.ttc").touch()
    assert doctor.missing_rows() == []


@linux_only
def test_opencv_without_a_screen_needs_no_libgl(monkeypatch, tmp_path):
    programs(tmp_path, monkeypatch, ldconfig="libc.so.6", fc_list="x", firefox="")
    monkeypatch.setattr(doctor, "version", lambda package: None)  # opencv-python-headless, or none at all
    assert doctor.missing_rows() == []


def test_other_systems_are_not_asked(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert doctor.missing_rows() == []


def test_what_benchmarks_record():
    status = corrections.blas.preload()
    row = doctor.blas_row()
    assert (row.status == "OK") == status.fast and row.detail == status.library


@pytest.mark.parametrize(
    ("named", "status", "words"),
    [
        ("mlx", "NOTE", doctor.MLX_SERVER_BOUND),
        ("http://192.168.1.20:8080/v1", "OK", "192.168.1.20:8080"),
        ("http://me:hunter2@host", "NOTE", "more than an address"),
    ],
)
def test_the_model_server_is_named_and_the_memory_of_mlx_lms_is_warned_of(monkeypatch, named, status, words):
    monkeypatch.setenv("LABS_ENDPOINT", named)
    (row,) = doctor.endpoint_rows()
    assert row.status == status and words in f"{row.detail} {row.advice}" and "hunter2" not in str(row)
    monkeypatch.delenv("LABS_ENDPOINT")
    assert doctor.endpoint_rows() == []


def test_every_place_that_recommends_mlx_lms_server_bounds_it():
    root = Path(__file__).resolve().parents[1]
    config = (root / "docs/hub/jupyterhub_config.py").read_text("utf-8")
    assert ", ".join(f'"{word}"' for word in doctor.MLX_SERVER_BOUND.split()) in config
    for name in ("docs/hub.md", "docs/instructors.md"):
        assert doctor.MLX_SERVER_BOUND in " ".join((root / name).read_text("utf-8").split())


# --- NVIDIA ----------------------------------------------------------------------------------------------------------

L4 = nvidia.parse("NVIDIA L4, 580.65.06, 23034, 22000, 8.9")
OLD_DRIVER = nvidia.parse("NVIDIA L4, 570.10, 23034, 22000, 8.9")
OLD_CARD = nvidia.parse("NVIDIA GTX 1080, 580.65.06, 8192, 8000, 6.1")


@pytest.mark.parametrize(
    ("card", "installed", "status", "said"),
    [
        (None, ("mlx-cpu",), None, ""),
        (L4, ("mlx-cpu",), "NOTE", "make setup GPU=cuda "),
        (OLD_DRIVER, ("mlx-cpu",), "NOTE", "GPU=cuda12"),
        (OLD_CARD, ("mlx-cpu",), "OK", "compute capability 7.5"),
        (L4, ("mlx-cuda-13",), "OK", ""),
        (L4, ("mlx-cpu", "mlx-cuda-13"), "FIX", "both installed"),
        (None, ("mlx-cuda-13",), "FIX", "GPU=cpu"),
        (OLD_DRIVER, ("mlx-cuda-13",), "FIX", "needs driver 580.0"),
        (OLD_CARD, ("mlx-cuda-12",), "FIX", "compute capability 7.5"),
    ],
)
def test_what_the_card_is_good_for(monkeypatch, card, installed, status, said):
    monkeypatch.setattr(nvidia, "card", lambda: card)
    monkeypatch.setattr(nvidia, "backends", lambda: installed)
    rows = doctor.nvidia_rows()
    assert [row.status for row in rows] == ([status] if status else [])
    for row in rows:
        assert said in row.advice
        if card:
            assert card.name in row.detail and f"driver {card.driver}" in row.detail and "free of" in row.detail
        if status == "OK" and not said:
            assert "MLX computes on it (mlx-cuda-13)" in row.detail


def test_arm_windows_needs_another_python(monkeypatch):
    monkeypatch.setattr(doctor.sysconfig, "get_platform", lambda: "win-arm64")
    row = doctor.machine_row()
    assert row.status == "FIX" and "x86 Python" in row.advice


@pytest.mark.parametrize(
    ("gpu", "lab", "name"),
    [
        (False, "01", "phi-3.5-mini-instruct-q4-gguf"),
        (True, "01", "phi-3.5-mini-instruct-4bit"),
        (False, "02", "phi-3.5-vision-instruct-onnx"),
        (True, "02", "phi-3.5-vision-instruct-4bit"),
        (True, "03", "phi-3.5-moe-instruct-4bit"),
        (False, "03", ""),
        (False, "07", "phi-3.5-moe-instruct-q4-gguf"),
    ],
)
def test_one_command_names_the_real_model_of_this_machine(tmp_path, monkeypatch, gpu, lab, name):
    monkeypatch.setenv("LABS_MODELS_DIR", str(tmp_path))
    monkeypatch.setattr("labs_helper.common.platforms.has_mlx_gpu", lambda: gpu)
    role = find_lab(lab).roles[0]
    row = next(row for row in doctor.answer_rows([role], find_lab(lab)))
    if name:
        assert f"labs models fetch {name} (download" in row.advice
        assert ("than it was trained with" in row.advice) == (name == "phi-3.5-moe-instruct-q4-gguf")
    else:
        assert "only MLX reports experts" in row.advice and "fetch" not in row.advice
    assert doctor.answer_rows([role])[0].advice == "", "the check of all labs stays short"


def test_an_old_processor_is_offered_what_it_can_run(tmp_path, monkeypatch):
    monkeypatch.setenv("LABS_MODELS_DIR", str(tmp_path))
    monkeypatch.setattr("labs_helper.common.platforms.has_mlx_gpu", lambda: False)
    monkeypatch.setattr("labs_helper.common.platforms.lacks_avx2", lambda: True)
    said = {number: doctor.answer_rows(find_lab(number).roles, find_lab(number))[0].advice for number in ("01", "02")}
    assert "AVX2" in said["01"] and "fetch" not in said["01"]
    assert "labs models fetch phi-3.5-vision-instruct-onnx" in said["02"], "ONNX Runtime does without AVX2"


@pytest.mark.parametrize("lab", ["04", "05", "06", "08"])
def test_a_lab_of_bundled_models_offers_no_real_one(tmp_path, monkeypatch, lab):
    monkeypatch.setenv("LABS_MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("LABS_MODELS", "real")
    source = (catalog.course_folder() / "notebooks" / "src" / f"{find_lab(lab).stem}.py").read_text("utf-8")
    asked = re.findall(r'^[^#\n]*load\("([^"]+)"([^)]*)\)', source, re.M)
    own = [name for name, rest in asked if "tier=" not in rest and "-tiny" not in name and name != "endpoint"]
    assert asked and not own
    rows = doctor.answer_rows(find_lab(lab).roles, find_lab(lab))
    assert all("on every machine" in row.detail and "-tiny" in row.detail and not row.advice for row in rows)
