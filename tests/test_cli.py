"""The `labs` command: what it prints, what it does, and how it ends."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import labs_helper
from labs_helper import cli
from labs_helper.exercises import all_exercises, progress

ROOT = Path(__file__).resolve().parent.parent
SOURCE = "# %% [markdown] minutes=5\n# # Count\n\n# %%\n6 * 7\n"
HEAVY = ["mlx", "numpy", "transformers", "huggingface_hub", "httpx", "rich", "psutil", "tornado", "labs_helper.store"]
COMMANDS = {
    "doctor": "",
    "reset": "",
    "progress": "",
    "update": "",
    "models": "list fetch remove export import verify convert serve",
    "notebooks": "build check new",
    "workshop": "run-sheet preflight zip slides link board",
    "board": "join leave",
}


def in_a_shell(*words, stdout=subprocess.PIPE, **environment):
    return subprocess.run(
        [sys.executable, "-m", "labs_helper.cli", *words],
        stdout=stdout,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, **environment},
        text=True,
        timeout=60,
        check=False,
    )


# --- Commands ------------------------------------------------------------------------------------------------------


def test_doctor(course, capsys):
    assert cli.main(["doctor", "--lab", "01"]) == 0
    assert "Ready for lab 01." in capsys.readouterr().out
    shutil.rmtree(course / "data/checkpoints/instruct-tiny")
    assert cli.main(["doctor"]) == 1
    assert "Not ready" in capsys.readouterr().out


def test_doctor_for_a_lab_that_does_not_exist(course, capsys):
    assert cli.main(["doctor", "--lab", "77"]) == 1
    shown = capsys.readouterr()
    assert "BadRequest" in shown.err and "What to do" in shown.err and "Traceback" not in shown.err
    assert shown.out == "" and len(shown.err.splitlines()) == 2


@pytest.mark.parametrize("words", [["models"], ["models", "list"]])
def test_models(course, capsys, words):
    (course / "data/checkpoints/instruct-previous-tiny/evil.py").write_text("")
    assert cli.main(words) == 0
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert lines["instruct-tiny"][3] == "yes"
    assert lines["instruct-previous-tiny"][3] == "broken"
    assert lines["phi-3.5-mini-instruct-4bit"][3] == "no"


def test_notebooks_are_built_and_checked(course, capsys):
    source = course / "notebooks/src/01-sample.py"
    source.parent.mkdir(parents=True)
    source.write_text(SOURCE, "utf-8")
    assert cli.main(["notebooks", "check"]) == 1
    assert "01-sample.ipynb is missing" in capsys.readouterr().err
    assert cli.main(["notebooks", "build", "01"]) == 0
    assert "01-sample: 2 learner cells" in capsys.readouterr().out
    assert "42" in (course / "notebooks/solutions/01-sample.ipynb").read_text("utf-8")
    assert cli.main(["notebooks", "check", "01"]) == 0
    assert cli.main(["notebooks", "build", "02"]) == 1
    assert "There is no lab '02'" in capsys.readouterr().err


# --- How commands end ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["fly"],
        ["reset"],
        ["workshop"],
        ["workshop", "fly"],
        ["models", "fetch"],
        ["models", "fetch", "instruct", "--speed", "9"],
        ["models", "serve", "--port", "many"],
        ["notebooks"],
        ["board", "join", "http://192.168.1.20:8765"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_says_how_it_is_used(capsys, words):
    assert cli.main(words) == 2
    shown = capsys.readouterr()
    assert "Usage: labs" in shown.out + shown.err and "Traceback" not in shown.err


def test_a_misspelt_command_is_guessed(capsys):
    assert cli.main(["docter"]) == 2
    assert "Did you mean 'doctor'?" in capsys.readouterr().err


def test_an_interruption_is_one_word(capsys, monkeypatch):
    def interrupted(lab=None):
        raise KeyboardInterrupt

    monkeypatch.setattr("labs_helper.doctor.check_setup", interrupted)
    assert cli.main(["doctor"]) == 130
    assert capsys.readouterr().err.strip() == "Stopped."


def test_a_bug_is_not_hidden(monkeypatch):
    def broken(lab=None):
        raise ZeroDivisionError

    monkeypatch.setattr("labs_helper.doctor.check_setup", broken)
    with pytest.raises(ZeroDivisionError):
        cli.main(["doctor"])


@pytest.mark.parametrize("words", [[], ["models"], ["progress"], ["--help"]], ids=" ".join)
def test_a_reader_that_has_enough_is_no_error(words, tmp_path):
    """What `labs progress | head -0` does: nobody reads the pipe."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = in_a_shell(*words, stdout=writing, LABS_DATA_DIR=str(tmp_path))
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the device that is always full")
@pytest.mark.parametrize("buffered", ["", "1"])
@pytest.mark.parametrize("words", [["models", "list"], ["progress"], ["doctor", "--lab", "00"]], ids=" ".join)
def test_a_full_disk_behind_the_output_is_told_in_our_words(words, buffered, tmp_path):
    with Path("/dev/full").open("w") as full:
        done = in_a_shell(*words, stdout=full, PYTHONUNBUFFERED=buffered, LABS_DATA_DIR=str(tmp_path))
    assert done.returncode == 1 and "No space left" in done.stderr and "free space" in done.stderr
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


def test_without_an_output_a_command_still_ends_well():
    code = "import sys; sys.stdout = None; from labs_helper import cli; sys.exit(cli.main(['models', 'list']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_the_system_refuses_in_a_room_is_no_traceback(monkeypatch, capsys):
    def refused(lab=None):
        print("the first line")
        raise PermissionError(13, "Permission denied", "/mnt/stick")

    monkeypatch.setattr("labs_helper.doctor.check_setup", refused)
    assert cli.main(["doctor"]) == 1
    said = capsys.readouterr()
    assert (
        said.out == "the first line\n" and "/mnt/stick: Permission denied" in said.err and "who may write" in said.err
    )


# --- Help ----------------------------------------------------------------------------------------------------------


def test_help_names_every_command(capsys):
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert [name for name in COMMANDS if f"\n  {name} " not in shown] == []
    for group, names in COMMANDS.items():
        assert cli.main([group, "--help"]) == 0
        shown = capsys.readouterr().out
        assert [name for name in names.split() if f"\n  {name} " not in shown] == []
        for name in names.split():
            assert cli.main([group, name, "--help"]) == 0
            # Each says what it does between the usage and the options.
            assert capsys.readouterr().out.split("\n\n")[1].strip().endswith(".")


def test_alone_it_says_what_it_can_do_and_where_the_person_is(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("LABS_PROGRESS", "on")
    monkeypatch.setenv("LABS_DATA_DIR", str(tmp_path))
    first, second = list(all_exercises())[:2]
    assert cli.main([]) == 0
    shown = capsys.readouterr().out
    assert "\n  doctor " in shown and shown.splitlines()[-1].startswith("0 of ") and f"Next: {first}, " in shown
    assert progress.record(first, "passed") == ""
    assert cli.main([]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("1 of ") and f"Next: {second}, " in last
    (notebook,) = re.findall(r"\(notebooks/(\S+)\)", last)
    assert (ROOT / "notebooks" / notebook).is_file()


def test_alone_it_helps_although_the_progress_cannot_be_read(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("LABS_DATA_DIR", str(tmp_path))
    progress.progress_file().write_bytes(b"not a database, and long enough to be read as one" * 40)
    assert cli.main([]) == 1
    shown = capsys.readouterr()
    assert "\n  doctor " in shown.out and "cannot be read" in shown.err


def test_its_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == labs_helper.__version__


def test_help_comes_in_the_language_of_the_moment(capsys, monkeypatch):
    monkeypatch.setattr(cli, "_", lambda text: f"«{text}»")
    assert cli.main(["reset", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "«Restore a lab as it was handed out." in shown and "«For example 01.»" in shown


def test_help_is_plain_text():
    shown = in_a_shell("--help", FORCE_COLOR="1").stdout
    assert "\x1b" not in shown and "─" not in shown


@pytest.mark.posix
def test_help_is_quick_and_loads_nothing_heavy():
    import resource

    code = (
        "import sys; from labs_helper import cli; cli.main(['--help']); "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    seconds = []
    for _ in range(3):
        start = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
        seconds.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - start)
    assert done.stdout.splitlines()[-1] == "[]"
    # Of the processor, not of the clock, which counts other programs too: 0.15 on a machine with nothing else to do.
    assert min(seconds) < 0.5


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (
            "labs models fetch phi-3.5-v",
            [f"phi-3.5-vision-instruct-{kind}" for kind in ("4bit", "8bit", "onnx")],
        ),
        ("labs reset 0", ["00", "01", "02", "03", "04", "05", "06", "07", "08"]),
        ("labs doctor --lab 07", ["07"]),
        ("labs works", ["workshop"]),
    ],
)
def test_completion(typed, offered):
    position = str(len(typed.split()) - 1)
    done = in_a_shell(_LABS_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=position)
    assert done.stdout.split() == offered


@pytest.mark.posix
def test_completion_in_zsh_and_fish():
    zsh = in_a_shell(_LABS_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="labs models fetch phi-3.5-v").stdout
    assert re.findall(r"[\w.-]+bit", zsh) == ["phi-3.5-vision-instruct-4bit", "phi-3.5-vision-instruct-8bit"]
    asked = {"_LABS_COMPLETE": "complete_fish", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    fish = in_a_shell(**asked, _TYPER_COMPLETE_ARGS="labs up").stdout
    assert fish.split()[0] == "update"
    for shell in ("bash", "zsh", "fish"):  # what `labs --install-completion` writes for each
        assert "_LABS_COMPLETE" in in_a_shell(_LABS_COMPLETE=f"source_{shell}").stdout


@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_reader_that_has_enough(tmp_path, buffered):
    """`labs progress | head`: the end of a pipe is no error of ours, whether Python writes at once or at the end."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        done = in_a_shell("progress", stdout=closed, PYTHONUNBUFFERED=buffered, LABS_DATA_DIR=str(tmp_path))
    assert done.stderr == "" and done.returncode == 1


@pytest.mark.posix
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_an_export_that_is_ended_leaves_nothing(tmp_path, tiny_checkpoint, name):
    """The half-written pack of a command that `kill` or a closed terminal ends is gone."""
    model = "phi-3.5-mini-instruct-4bit"
    shutil.copytree(tiny_checkpoint, tmp_path / "models" / model)
    (tmp_path / "stick").mkdir()
    code = (
        "import os, signal\n"
        "from labs_helper import cli\n"
        "from labs_helper.store import packs\n"
        f"packs._copy = lambda *_args: os.kill(os.getpid(), signal.{name})\n"
        f"raise SystemExit(cli.main(['models', 'export', {model!r}, {str(tmp_path / 'stick')!r}]))"
    )
    environment = {**os.environ, "LABS_MODELS_DIR": str(tmp_path / "models")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert done.returncode == 128 + getattr(signal, name), done.stderr
    assert list((tmp_path / "stick").iterdir()) == [] and "Traceback" not in done.stderr
