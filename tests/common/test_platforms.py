"""What differs between systems: the branches for Windows run here as well, in a process that takes itself for it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from labs_helper.common import nvidia, platforms
from labs_helper.store import manifest

TESTS = Path(__file__).resolve().parent.parent

AS_ON_WINDOWS = """
import json, os, sys
from pathlib import Path
import filelock  # which takes what this system has
from as_on_windows import become_windows
become_windows()
from labs_helper.common import connections, files, platforms, timeouts
from labs_helper import corrections, doctor
from labs_helper.corrections import blas
folder, said = Path(sys.argv[1]), {}

files.write_whole(folder / "a.txt", b"new")
with files.collecting(folder / "model", resume=False) as part:
    (part / "config.json").write_bytes(b"{}")
    files.finish(part, folder / "model")
said["there"] = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))

with platforms.open_plain(folder / "a.txt") as file:
    said["read"] = file.read().decode()
os.symlink(folder / "a.txt", folder / "link")
try:
    platforms.open_plain(folder / "link")
except OSError as error:
    said["link"] = str(error)

tries = []
def busy():  # a scanner has the file open for a moment
    tries.append(1)
    if len(tries) < 3:
        raise PermissionError
platforms._patiently(busy)
said["tries"] = len(tries)

corrections.before_mlx()
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (2048, 4096))
said["compile"] = os.environ["MLX_DISABLE_COMPILE"]
said["blas"] = blas.preload().library
said["room"] = connections.room(400)
said["sum"] = timeouts.interrupt_after(1, sum, [1, 2])
said["command"] = platforms.command("setup")
said["paths"] = [row.advice for row in doctor.windows_rows()]
try:
    import fcntl
except ModuleNotFoundError as error:
    said["fcntl"] = str(error)
print(json.dumps(said))
"""


def test_files_limits_and_rows_as_on_windows(tmp_path):
    environment = {**os.environ, "LABS_HOME": str(tmp_path / ("course" * 20))}
    environment.pop("MLX_DISABLE_COMPILE", None)
    environment["PYTHONPATH"] = os.pathsep.join((str(TESTS), str(TESTS.parent)))
    done = subprocess.run(
        [sys.executable, "-c", AS_ON_WINDOWS, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["there"] == ["a.txt", "model", "model/config.json"], "no lock and no part is left"
    assert said["read"] == "new" and "is a link" in said["link"]
    assert said["tries"] == 3
    assert said["compile"] == "1" and said["blas"] == "OpenBLAS from MLX's own package"
    assert said["room"] == 400 and said["sum"] == 3
    assert said["command"] == "python start.py setup"
    assert said["fcntl"] == "No module named 'fcntl'", "what is missing on Windows is missing in this test"
    assert len(said["paths"]) == 1 and "C:\\labs" in said["paths"][0]


def test_a_plain_file_is_opened_and_a_link_is_not(tmp_path):
    (tmp_path / "file").write_bytes(b"\r\n\x1a")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with platforms.open_plain(tmp_path / "file") as file:
        assert file.read() == b"\r\n\x1a"
    with pytest.raises(OSError):
        platforms.open_plain(tmp_path / "link")


@pytest.mark.parametrize("name", ["aux.json", "CON", "nul.safetensors", "com1.md", "Lpt9.tar.gz", "name.", "aux .json"])
def test_names_that_windows_keeps(name):
    assert platforms.is_reserved(name) and not manifest.is_plain(name) and not manifest.is_data(name)


@pytest.mark.parametrize("name", ["auxiliary.json", "config.json", "com10.json", "console.json", "prn_model"])
def test_names_that_only_look_like_those(name):
    assert not platforms.is_reserved(name)


def test_a_console_that_is_not_utf_8_loses_letters_and_ends_no_command(monkeypatch):
    console = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", console)
    platforms.tolerant_output()
    print("한국어 → done", flush=True)
    assert console.buffer.getvalue() == b"??? ? done\n"


# --- NVIDIA ----------------------------------------------------------------------------------------------------------

L4 = "NVIDIA L4, 580.65.06, 23034, 22000, 8.9\n"


def test_what_nvidia_smi_says_is_read():
    card = nvidia.parse(L4 + "NVIDIA T4, 580.65.06, 15360, 15000, 7.5\n")
    assert card == nvidia.Card("NVIDIA L4", "580.65.06", 23034 * 2**20, 22000 * 2**20, (8, 9))
    assert card.release == (580, 65)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NVIDIA-SMI has failed\n",
        "No devices were found\n",
        "L4, 580.65, [N/A], 1, 8.9\n",
        "a,b,c,d,e\n",
        "²,²,²,²,²",
    ],
)
def test_anything_else_is_no_card(text):
    assert nvidia.parse(text) is None


@pytest.mark.parametrize(
    ("text", "installed", "trouble"),
    [
        (L4, ("mlx-cuda-13",), None),
        (L4, ("mlx-cpu",), None),
        (None, ("mlx-cpu",), None),
        (L4, ("mlx-cpu", "mlx-cuda-13"), "both"),
        (None, ("mlx-cuda-12",), "card"),
        (L4.replace("580.65.06", "570.10"), ("mlx-cuda-13",), "driver"),
        (L4.replace("580.65.06", "570.10"), ("mlx-cuda-12",), None),
        (L4.replace("580.65.06", "550.40"), ("mlx-cuda-12",), "driver"),
        (L4.replace("8.9", "6.1"), ("mlx-cuda-12",), "old"),
    ],
)
def test_what_keeps_mlx_from_the_card(text, installed, trouble):
    assert nvidia.trouble(nvidia.parse(text) if text else None, installed) == trouble


@pytest.mark.parametrize(
    ("driver", "capability", "extra"),
    [("580.65.06", "8.9", "cuda"), ("550.54.14", "7.5", "cuda12"), ("545.1", "8.9", None), ("580.65", "6.1", None)],
)
def test_the_extra_that_suits_a_card(driver, capability, extra):
    assert nvidia.fitting(nvidia.parse(f"A card, {driver}, 8192, 8000, {capability}")) == extra


@pytest.mark.parametrize(
    ("machine", "told", "lacks"),
    [
        ("x86_64", "model name\t: Old\nflags\t\t: fpu sse4_2 avx\n", True),
        ("x86_64", "flags\t\t: fpu sse4_2 avx avx2\n", False),
        ("x86_64", "nothing that names flags\n", False),
        ("x86_64", None, False),
        ("aarch64", "flags\t\t: fp asimd\n", False),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows is asked in another way")
def test_a_processor_without_avx2(tmp_path, monkeypatch, machine, told, lacks):
    monkeypatch.setattr(platforms.platform, "machine", lambda: machine)
    file = tmp_path / "cpuinfo"
    if told is not None:
        file.write_text(told)
    assert platforms.lacks_avx2(file) is lacks
