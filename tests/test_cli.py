"""The `labs` command."""

from __future__ import annotations

import shutil
import sys
from types import SimpleNamespace

import pytest

from labs_helper import cli


@pytest.fixture
def course(tmp_path, tiny_checkpoint, monkeypatch):
    for name in ("instruct-tiny", "instruct-previous-tiny"):
        shutil.copytree(tiny_checkpoint, tmp_path / "data/checkpoints" / name)
    monkeypatch.setenv("LABS_HOME", str(tmp_path))
    monkeypatch.setenv("LABS_MODELS_DIR", str(tmp_path / "models"))
    monkeypatch.delenv("LABS_MODELS", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


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


def test_models(course, capsys):
    (course / "data/checkpoints/instruct-previous-tiny/evil.py").write_text("")
    assert cli.main(["models"]) == 0
    lines = {line.split()[0]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert lines["instruct-tiny"][3] == "yes"
    assert lines["instruct-previous-tiny"][3] == "broken"
    assert lines["phi-3.5-mini-instruct-4bit"][3] == "no"


def test_notebooks_hand_over_to_authoring(monkeypatch, capsys):
    calls = []
    fake = SimpleNamespace(
        build=lambda names: calls.append(("build", names)),
        check=lambda names: calls.append(("check", names)) or ["01-instruct is out of date"],
    )
    monkeypatch.setitem(sys.modules, "labs_helper.course.authoring", fake)
    monkeypatch.setattr("labs_helper.course.authoring", fake, raising=False)
    assert cli.main(["notebooks", "build"]) == 0
    assert cli.main(["notebooks", "check", "01-instruct"]) == 1
    assert calls == [("build", None), ("check", ["01-instruct"])]
    assert "out of date" in capsys.readouterr().err
    fake.check = lambda names: []
    assert cli.main(["notebooks", "check"]) == 0


def test_a_wrong_command_says_so(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["fly"])
    assert caught.value.code == 2
