"""start.py: the same commands without make. No package is installed here: a folder takes the place of the index."""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from jupyter_server.services.config import ConfigManager

from labs_helper.common import platforms
from labs_helper.course import wheelhouse
from labs_helper.errors import BadRequest, CheckpointRefused, LabError, ModelNotHere
from labs_helper.store import lan, manifest, wheels

ROOT = Path(__file__).resolve().parent.parent
HERE = f"{platforms.system()}/{sys.version_info[0]}.{sys.version_info[1]}"

_spec = importlib.util.spec_from_file_location("start", ROOT / "start.py")
assert _spec is not None and _spec.loader is not None
start = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(start)


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("PIP_", "CONDA_"))]:
        monkeypatch.delenv(name)


def options(*words: str):
    return start.parser().parse_args(["setup", *words])


def wheel(folder: Path, name: str, files: dict[str, str]) -> None:
    with zipfile.ZipFile(folder / name, "w") as opened:
        for path, text in files.items():
            opened.writestr(path, text)


def house(folder: Path, sets: dict[str, list[str]] | None = None) -> Path:
    """A wheelhouse of two tiny wheels."""
    folder.mkdir(parents=True)
    info = "one-1.0.dist-info/"
    texts = {
        "METADATA": "Metadata-Version: 2.1\nName: one\nVersion: 1.0\n",
        "WHEEL": "Wheel-Version: 1.0\n",
        "RECORD": "",
    }
    texts["WHEEL"] += "Generator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    wheel(folder, "one-1.0-py3-none-any.whl", {"one.py": "NUMBER = 1\n", **{info + key: texts[key] for key in texts}})
    wheel(folder, "other-1.0-py3-none-any.whl", {"other.py": ""})
    names = sorted(path.name for path in folder.glob("*.whl"))
    files = tuple(manifest.File(name, (folder / name).stat().st_size, manifest.sha256(folder / name)) for name in names)
    listing = wheels.Wheelhouse(files, {key: tuple(value) for key, value in (sets or {HERE: names[:1]}).items()})
    (folder / manifest.NAME).write_text(listing.text(), encoding="utf-8")
    return folder


# --- The commands ----------------------------------------------------------------------------------------------------


def dry(capsys, *words: str) -> list[str]:
    assert start.main([*words, "--dry-run"]) == 0
    return capsys.readouterr().out.splitlines()


def test_with_pip_the_environment_is_made_as_make_did(capsys, tmp_path):
    lines = dry(capsys, "setup", "--no-uv", "--venv", str(tmp_path / "env"))
    assert lines[0].endswith(f"-m venv {tmp_path / 'env'}")
    assert "one to three minutes, about 1.8 GB" in lines[1]
    assert lines[2].endswith("--constraint constraints.txt --editable .[dev]") and " -m pip install " in lines[2]
    assert "announcements" in lines[3] and len(lines) == 4


def test_uv_is_taken_where_it_is(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(start, "find_uv", lambda *_: "/opt/uv")
    monkeypatch.setattr(start, "pip_has_an_index_of_its_own", lambda _python: False)
    lines = dry(capsys, "setup", "--venv", str(tmp_path / "env"))
    assert lines[0].startswith("/opt/uv venv --quiet --seed --python")
    assert lines[2].startswith("/opt/uv pip install") and lines[2].endswith(
        "--constraint constraints.txt --editable .[dev]"
    )


def test_uv_is_not_asked_where_pip_has_an_index_of_its_own(monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "https://packages.example.org/simple")
    assert start.pip_has_an_index_of_its_own(sys.executable)


@pytest.mark.parametrize("gpu", ["cuda", "cuda12"])
def test_cuda_leaves_one_package_that_computes(capsys, tmp_path, gpu):
    lines = dry(capsys, "setup", "--no-uv", "--gpu", gpu, "--venv", str(tmp_path / "env"))
    assert f".[dev,{gpu}]" in lines[2]
    removed = [line.split()[-1] for line in lines if " uninstall " in line]
    assert sorted([*removed, start.BACKENDS[gpu]]) == sorted(start.BACKENDS.values())
    again = next(line for line in lines if "--force-reinstall" in line)
    assert again.endswith(start.BACKENDS[gpu]) and "--no-deps" in again


def test_back_to_the_cpu(tmp_path, capsys):
    env = ready(tmp_path / "env", {"extras": ["x86"], "gpu": "cuda"})
    lines = dry(capsys, "setup", "--no-uv", "--gpu", "cpu", "--venv", str(env))
    assert ".[dev,x86]" in lines[1] and any(line.endswith("--force-reinstall mlx-cpu") for line in lines)


def ready(folder: Path, state: object) -> Path:
    python = start.python_of(folder)
    python.parent.mkdir(parents=True)
    python.write_text("", encoding="utf-8")
    (folder / start.MARKER).write_text(json.dumps(state) if state else "", encoding="utf-8")
    return folder


@pytest.mark.parametrize("state", [{"extras": [], "gpu": "cpu"}, None])
def test_what_is_installed_is_not_installed_again(tmp_path, capsys, state):
    assert dry(capsys, "setup", "--venv", str(ready(tmp_path / "env", state))) == []


@pytest.mark.parametrize("words", [["--extra", "hub"], ["--gpu", "cuda"]])
def test_more_than_is_installed_is(tmp_path, capsys, words):
    env = ready(tmp_path / "env", {"extras": [], "gpu": "cpu"})
    assert any(".[dev," in line for line in dry(capsys, "setup", "--no-uv", "--venv", str(env), *words))


def test_newer_lists_of_packages_are_installed(tmp_path, capsys):
    env = ready(tmp_path / "env", {"extras": ["hub"], "gpu": "cpu"})
    os.utime(env / start.MARKER, (0, 0))
    assert any(".[dev,hub]" in line for line in dry(capsys, "setup", "--no-uv", "--venv", str(env)))


def test_lab_speaks_a_language_that_the_course_has(tmp_path, capsys, monkeypatch):
    env = ready(tmp_path / "env", {"extras": [], "gpu": "cpu"})
    *_setup, lab = dry(capsys, "lab", "--venv", str(env), "--no-uv", "--language", "ko")
    assert any(".[dev,ko]" in line for line in _setup) and "jupyterlab" in lab
    spoken = start.in_language(argparse.Namespace(language="ko", extra=[]))
    assert spoken["LABS_LANGUAGE"] == "ko"
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", spoken["JUPYTER_CONFIG_PATH"])
    # Where JupyterLab looks for defaults (jupyterlab_server.settings_utils).
    overrides = ConfigManager(config_dir_name="labconfig").get("default_setting_overrides")
    assert overrides["@jupyterlab/translation-extension:plugin"] == {"locale": "ko_KR"}
    assert start.main(["lab", "--venv", str(env), "--dry-run", "--language", "eo"]) == 1
    assert "There is: en, ko. " in capsys.readouterr().err


def test_lab_and_test_run_what_make_runs(tmp_path, capsys):
    env = ready(tmp_path / "env", {"extras": [], "gpu": "cpu"})
    (lab,) = dry(capsys, "lab", "--venv", str(env), "--port", "9000", "--no-browser")
    made = (ROOT / "Makefile").read_text("utf-8")
    for word in re.findall(r"--\S+", lab):
        assert word.split("=")[0] in made, word
    assert "--ServerApp.port=9000" in lab and "--no-browser" in lab and "00-start-here.ipynb" in lab
    (tests,) = dry(capsys, "test", "--venv", str(env), "tests/models")
    assert " -m pytest tests/models -n 2 " in tests
    (marks,) = re.findall("not browser[^\"']*", tests)
    for word in (marks, *re.findall(r"--nbval\S+|--dist \S+", tests)):
        assert word in made
    assert all(f"{name}={value}" in made for name, value in start.OFFLINE.items())
    (doctor,) = dry(capsys, "doctor", "--venv", str(env), "--lab", "01")
    assert doctor.endswith("labs_helper.cli doctor --lab 01")


@pytest.mark.posix
@pytest.mark.skipif(shutil.which("make") is None, reason="make is not here")
def test_make_says_the_same_and_calls_it():
    asked = subprocess.run(
        ["make", "-n", "setup", "VENV=/tmp/none"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert "start.py setup" in asked.stdout
    asked = subprocess.run(
        ["make", "-n", "setup", "VENV=/tmp/none", "GPU=cuda"], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert "--gpu cuda" in asked.stdout


@pytest.mark.parametrize("version", ["3.8", "3.9"])
def test_an_old_python_can_read_it(version):
    """Its syntax is that of Python 3.8, and what it needs of typing is never evaluated."""
    import ast

    text = (ROOT / "start.py").read_text("utf-8")
    ast.parse(text, feature_version=tuple(map(int, version.split("."))))
    assert "from __future__ import annotations" in text and ":=" not in text


# --- What cannot work ------------------------------------------------------------------------------------------------


def refused(capsys, *words: str) -> str:
    assert start.main(list(words)) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2, "what is wrong, and what to do"
    return said[0]


def test_a_card_that_is_not_there(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(start.shutil, "which", lambda _name: None)
    assert "no NVIDIA card" in refused(capsys, "setup", "--gpu", "cuda", "--venv", str(tmp_path / "env"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"platform": "win-arm64"}, "ARM64"),
        ({"long": True}, "too long"),
        ({"runtime": False}, "Visual C++"),
        ({"bits": 2**31}, "32-bit"),
    ],
)
def test_what_windows_lacks_is_said_first(monkeypatch, tmp_path, change, said):
    monkeypatch.setattr(start, "WINDOWS", True)
    monkeypatch.setattr(start.sysconfig, "get_platform", lambda: change.get("platform", "win-amd64"))
    monkeypatch.setattr(start, "long_paths", lambda: False)
    monkeypatch.setattr(start.sys, "maxsize", change.get("bits", 2**63))

    def library(_name: str) -> None:
        if not change.get("runtime", True):
            raise OSError

    monkeypatch.setattr(start.ctypes, "CDLL", library)
    folder = Path("C:/" + "x" * 100 if change.get("long") else "C:/labs")
    with pytest.raises(start.Refused, match=re.escape(said)):
        start.check_system(folder)


def test_windows_with_everything(monkeypatch):
    monkeypatch.setattr(start, "WINDOWS", True)
    monkeypatch.setattr(start, "long_paths", lambda: False)
    monkeypatch.setattr(start.sysconfig, "get_platform", lambda: "win-amd64")
    monkeypatch.setattr(start.ctypes, "CDLL", lambda _name: None)
    start.check_system(Path("C:/labs"))
    assert start.python_of(Path("C:/labs/.venv")).as_posix() == "C:/labs/.venv/Scripts/python.exe"


def test_no_python_that_the_course_can_use(monkeypatch):
    monkeypatch.setattr(start, "version_of", lambda _python: (3, 9))
    with pytest.raises(start.Refused, match=r"Python 3\.11 or newer is needed"):
        start.find_python(options(), start.Packages(), with_uv=False)
    assert start.find_python(options(), start.Packages(), with_uv=True) == start.UV_BRINGS


# --- A wheelhouse ----------------------------------------------------------------------------------------------------


def test_the_two_readers_agree_on_the_form():
    assert (start.FORMAT, start.MANIFEST, start.WHEELHOUSE) == (wheels.FORMAT, manifest.NAME, wheels.FOLDER)
    assert start.WHEEL.pattern == wheels.WHEEL.pattern and start.system() == platforms.system()
    assert set(start.BACKENDS.values()) >= {"mlx-cpu", "mlx-cuda-13", "mlx-cuda-12"}


def test_packages_come_from_a_wheelhouse_without_a_network(tmp_path, monkeypatch):
    """The wheel is installed by pip with no index, into an environment of its own."""
    found = house(tmp_path / "wheelhouse")
    env = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", str(env)], check=True, timeout=100)
    chosen = options("--no-uv", "--wheelhouse", str(tmp_path))  # the folder around it will do
    with start.packages(chosen) as packages:
        assert packages.pip_options()[:2] == ["--no-index", "--find-links"] and packages.uv() is None
        assert sorted(path.name for path in packages.wheels.iterdir()) == ["one-1.0-py3-none-any.whl"]
        start.Installer(env, packages, chosen)(["one"])
    said = subprocess.run([start.python_of(env), "-c", "import one; print(one.NUMBER)"], capture_output=True, text=True)
    assert said.stdout.strip() == "1", found


def test_it_is_found_beside_the_course(tmp_path, monkeypatch):
    monkeypatch.setattr(start, "ROOT", tmp_path / "course")
    assert start.nearby() == [] or tmp_path not in start.nearby()[0].parents
    house(tmp_path / "wheelhouse")
    assert start.nearby()[0] == tmp_path / "wheelhouse"
    with start.packages(options("--wheelhouse", "off")) as packages:
        assert packages.wheels is None


def test_it_comes_from_the_instructors_computer(tmp_path):
    found = house(tmp_path / "wheelhouse")
    with lan.serve(port=0, wheelhouse=found) as server, start.packages(options("--wheelhouse", server.url)) as packages:
        assert packages.wheels is not None
        assert [path.name for path in packages.wheels.iterdir()] == ["one-1.0-py3-none-any.whl"]


def test_any_file_server_will_do(tmp_path):
    house(tmp_path / "wheelhouse")
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.func.log_message = lambda *_: None  # type: ignore[attr-defined]
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with start.packages(options("--wheelhouse", f"http://127.0.0.1:{server.server_port}")) as packages:
            assert packages.wheels is not None and len(list(packages.wheels.iterdir())) == 1
        server.shutdown()


def test_a_changed_wheel_installs_nothing(tmp_path):
    found = house(tmp_path / "wheelhouse")
    (wheel_file,) = found.glob("one-*.whl")
    wheel_file.write_bytes(wheel_file.read_bytes()[:-1] + b"!")
    with (
        pytest.raises(start.Refused, match="damaged or was changed"),
        start.packages(options("--wheelhouse", str(found))),
    ):
        pass
    with pytest.raises(CheckpointRefused, match="damaged or was changed"):
        wheels.Wheelhouse.read(found).check(found)
    with pytest.raises(CheckpointRefused):
        lan.serve(port=0, wheelhouse=found)


def test_one_for_other_computers(tmp_path, capsys):
    found = house(tmp_path / "wheelhouse", {"windows-arm64/3.9": []} if os.name != "nt" else {"linux-x86_64/3.9": []})
    with (
        pytest.raises(start.Refused, match="is for other computers: it has"),
        start.packages(options("--wheelhouse", str(found))),
    ):
        pass


def test_one_for_another_python(tmp_path, monkeypatch):
    found = house(tmp_path / "wheelhouse", {f"{platforms.system()}/3.10": []})
    chosen = options("--no-uv", "--wheelhouse", str(found))
    monkeypatch.setattr(start, "version_of", lambda _python: (3, 12))
    with (
        start.packages(chosen) as packages,
        pytest.raises(start.Refused, match=r"are for Python 3\.10, and there is none"),
    ):
        start.find_python(chosen, packages, with_uv=False)
    with (
        pytest.raises(start.Refused, match="other computers"),
        start.packages(options("--python", sys.executable, "--wheelhouse", str(found))),
    ):
        pass


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": "phi35-labs-pack-1", "files": [], "sets": {}}',
        json.dumps(
            {"format": wheels.FORMAT, "files": [{"name": "../a.whl", "size": 1, "sha256": "0" * 64}], "sets": {}}
        ),
        json.dumps({"format": wheels.FORMAT, "files": [], "sets": {HERE: ["missing.whl"]}}),
        json.dumps({"format": wheels.FORMAT, "files": [{"name": "a.whl", "size": 1, "sha256": None}], "sets": {}}),
    ],
)
def test_a_list_that_is_none(tmp_path, text):
    (tmp_path / manifest.NAME).write_text(text, encoding="utf-8")
    with pytest.raises(start.Refused, match="is not the list of a wheelhouse"):
        start.Wheelhouse(str(tmp_path))
    with pytest.raises(CheckpointRefused, match="is not the list of a wheelhouse"):
        wheels.Wheelhouse.read(tmp_path)


def test_no_wheelhouse_at_all(tmp_path):
    with pytest.raises(start.Refused, match="There is no wheelhouse"):
        start.Wheelhouse(str(tmp_path))
    with pytest.raises(start.Refused, match="No wheelhouse answers"):
        start.Wheelhouse("http://127.0.0.1:9")
    with pytest.raises(ModelNotHere, match="There is no wheelhouse"):
        wheels.Wheelhouse.read(tmp_path)


def test_uv_comes_out_of_its_wheel(tmp_path):
    program = "uv.exe" if os.name == "nt" else "uv"
    wheel(tmp_path, "uv-0.1.0-py3-none-any.whl", {f"uv-0.1.0.data/scripts/{program}": "#!/bin/sh\necho uv 0.1.0\n"})
    found = start.Packages(tmp_path).uv()
    assert found == str(tmp_path / program) and os.access(found, os.X_OK)


# --- Making one ------------------------------------------------------------------------------------------------------


def locked(folder: Path, *names: str) -> dict:
    """A pylock.toml with wheels of one package, on this disk."""
    offered = []
    for name in names:
        content = name.encode()
        (folder / name).write_bytes(content)
        url = (folder / name).as_uri()
        offered.append({"url": url, "size": len(content), "hashes": {"sha256": hashlib.sha256(content).hexdigest()}})
    return {"packages": [{"name": "numpy", "wheels": offered}]}


@pytest.mark.parametrize(
    ("names", "best"),
    [
        (["a-1-cp312-cp312-win_amd64.whl", "a-1-py3-none-any.whl"], 0),
        (["a-1-py39-none-any.whl", "a-1-py312-none-any.whl", "a-1-py310-none-any.whl"], 1),
        (["a-1-cp39-abi3-manylinux_2_34_x86_64.whl", "a-1-cp39-abi3-manylinux_2_28_x86_64.whl"], 1),
        (["a-1-cp39-abi3-win_amd64.whl", "a-1-cp311-abi3-win_amd64.whl", "a-1-cp312-cp312-win_amd64.whl"], 2),
    ],
)
def test_one_wheel_a_package(tmp_path, names, best):
    (chosen,) = wheelhouse.wheels_of(locked(tmp_path, *names), "3.12")
    assert chosen.name == names[best]


def test_a_wheelhouse_is_collected_and_its_size_said_first(tmp_path, monkeypatch, capsys):
    index, stick = tmp_path / "index", tmp_path / "stick"
    index.mkdir()
    stick.mkdir()
    lock = locked(index, "numpy-2-cp312-cp312-win_amd64.whl")
    monkeypatch.setattr(wheelhouse, "_resolve", lambda _system, python: wheelhouse.wheels_of(lock, python))
    folder, listing = wheelhouse.collect(stick, ["windows-x86_64"], ["3.12"])
    assert folder == stick / "wheelhouse" and listing == wheels.Wheelhouse.read(folder)
    listing.check(folder)
    assert "1 packages" in capsys.readouterr().out.splitlines()[0]
    (folder / "old-1-py3-none-any.whl").write_bytes(b"")
    wheelhouse.collect(stick, ["windows-x86_64"], ["3.12", "3.13"], progress=False)
    assert sorted(path.name for path in folder.iterdir()) == [manifest.NAME, "numpy-2-cp312-cp312-win_amd64.whl"]


@pytest.mark.parametrize(
    ("systems", "pythons"),
    [(["windows-arm64"], ["3.12"]), ([], ["3.12"]), (["macos-arm64"], ["2.7"]), (["macos-arm64"], [])],
)
def test_systems_and_pythons_that_there_are_no_packages_for(tmp_path, systems, pythons):
    with pytest.raises(BadRequest):
        wheelhouse.collect(tmp_path, systems, pythons)


def test_a_stick_that_is_not_there(tmp_path):
    with pytest.raises(BadRequest, match="There is no folder"):
        wheelhouse.collect(tmp_path / "STICK", ["macos-arm64"], ["3.12"])


def test_uv_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(wheelhouse.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(wheelhouse.shutil, "which", lambda _name: None)
    with pytest.raises(LabError, match="uv is missing"):
        wheelhouse.collect(tmp_path, ["macos-arm64"], ["3.12"])


def test_preflight_knows_a_wheelhouse(tmp_path):
    from labs_helper.course.preflight import _wheelhouse_problems

    assert _wheelhouse_problems(house(tmp_path / "a")) == []
    (problem,) = _wheelhouse_problems(house(tmp_path / "b", {"macos-arm64/3.9": []}))
    assert "macos-arm64/3.9" in problem and platform.system() is not None
    (problem,) = _wheelhouse_problems(tmp_path)
    assert "There is no wheelhouse" in problem
