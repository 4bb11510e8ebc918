"""In Korean the commands and the errors have no English sentence: what goes wrong is said in the learner's language."""

from __future__ import annotations

import english
import pytest

from labs_helper import check, cli, hint, load, predict, reveal
from labs_helper.common import settings
from labs_helper.common.translate import speaking
from labs_helper.errors import LabError

GROUPS = ("", "notebooks", "translate", "workshop", "models", "board")
# Names and what one types: options, placeholders, commands, addresses, menus.
NAMES = (
    r"--?[a-z][\w-]*",
    r"\b[A-Z][A-Z._]+\b",
    r"`[^`]*`",
    r"labs [a-z-]+(?: [a-z-]+)*",
    r"https?://\S+",
    r"\[[a-z ]+\]",
)
# The package that reads the command line says these in English: help, and completion of a shell.
OF_OTHERS = (r"Show this message and exit", r"(?:Install|Show) completion for the current shell.*", r"installation\.")


@pytest.fixture(autouse=True)
def korean(monkeypatch):
    monkeypatch.setenv("LABS_LANGUAGE", "ko")
    monkeypatch.setenv("COLUMNS", "200")


@pytest.mark.parametrize("group", GROUPS)
def test_the_help_of_the_commands(group, capsys):
    cli.main([group, "--help"] if group else ["--help"])
    said = capsys.readouterr().out
    assert any("가" <= letter <= "힣" for letter in said)
    assert english.found(said.splitlines(), (*OF_OTHERS, *NAMES)) == []


@pytest.mark.parametrize(
    "go_wrong",
    [
        lambda: load("nobody"),
        lambda: load("instruct", tier="large"),
        lambda: check("99.9", 1),
        lambda: hint("99.9"),
        lambda: reveal("nowhere", 3),
        lambda: predict("nowhere", 3),
        lambda: load("instruct").ask("Where is Lima?", temperature=-1),
        lambda: load("instruct").ask("Where is Lima?", max_tokens=0),
        lambda: load("instruct").ask([]),
        lambda: load("instruct").ask("Where is Lima?", images=["a.png"]),
    ],
)
def test_errors_and_refusals(go_wrong):
    with speaking("ko"):
        try:
            said = str(go_wrong())
        except LabError as error:
            said = str(error)
    assert any("가" <= letter <= "힣" for letter in said), said
    assert english.found(said.splitlines(), NAMES) == []


@pytest.mark.parametrize("setting", [settings.MEMORY_GB, settings.KEEP_MODELS], ids=lambda setting: setting.name)
def test_what_a_setting_may_hold(setting, monkeypatch):
    monkeypatch.setenv(setting.name, "what nobody knows")
    with pytest.raises(LabError) as refused:
        setting.get()
    assert english.found(str(refused.value).splitlines(), (r"'what nobody knows'", *NAMES)) == []


@pytest.mark.parametrize("answer", [..., "China", "Kenya", 3, None, ["China"], ""])
def test_checks(answer):
    with speaking("ko"):
        said = str(check("0.1", answer))
    assert any("가" <= letter <= "힣" for letter in said)
    assert english.found(said.splitlines(), NAMES) == []
