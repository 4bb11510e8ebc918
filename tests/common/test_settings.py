"""Every setting: what it reads, what it refuses, and that the package has no other and documents each."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from labs_helper.common import personal, settings
from labs_helper.errors import BadRequest

ROOT = Path(__file__).resolve().parents[2]
SWITCHES = [setting for setting in settings.SETTINGS if isinstance(setting.default, bool)]


@pytest.mark.parametrize("setting", SWITCHES, ids=lambda setting: setting.name)
def test_one_spelling_of_off_for_every_switch(setting, monkeypatch):
    for text in ("0", "off", "no", "false", "OFF", " False "):
        monkeypatch.setenv(setting.name, text)
        assert setting.get() is False and settings.is_off(text)
    for text in ("1", "on", "yes", "true", "ON"):
        monkeypatch.setenv(setting.name, text)
        assert setting.get() is True and not settings.is_off(text)
    for text in ("", "  "):
        monkeypatch.setenv(setting.name, text)
        assert setting.get() is setting.default


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        (settings.BLAS, "maybe"),
        (settings.PROGRESS, "2"),
        (settings.DEQUANTIZE, "sometimes"),
        *((settings.MEMORY_GB, text) for text in ("lots", "-1", "nan", "inf", "1e12", "8 GB")),
        *((settings.ENDPOINT_TIMEOUT, text) for text in ("soon", "0", "-5", "nan", "1e9")),
    ],
)
def test_a_value_that_means_nothing_is_refused_with_what_is_valid(setting, text, monkeypatch):
    monkeypatch.setenv(setting.name, text)
    with pytest.raises(BadRequest, match=re.escape(f"{setting.name} is {text!r}.")) as caught:
        setting.get()
    assert setting.valid in caught.value.do


def test_values(monkeypatch):
    for setting, text, value in (
        (settings.MEMORY_GB, "0", 0.0),
        (settings.MEMORY_GB, " 7.5 ", 7.5),
        (settings.ENDPOINT_TIMEOUT, "30", 30.0),
        (settings.DEQUANTIZE, "auto", None),
        (settings.DEQUANTIZE, "no", False),
        (settings.MODELS_DIR, "~/models", Path.home() / "models"),
        (settings.ENDPOINT_MODEL, "phi", "phi"),
    ):
        monkeypatch.setenv(setting.name, text)
        assert setting.get() == value
        monkeypatch.delenv(setting.name)
        assert setting.get() == setting.default


def test_the_folder_of_a_person(monkeypatch, tmp_path):
    monkeypatch.setenv("LABS_DATA_DIR", str(tmp_path / "mine"))
    assert personal.folder() == tmp_path / "mine" and personal.board_file().parent == personal.folder()
    monkeypatch.delenv("LABS_DATA_DIR")
    assert personal.folder().is_absolute() and personal.folder().name == "phi35-labs"


def test_the_package_has_no_other_settings():
    names = {setting.name for setting in settings.SETTINGS}
    assert len(names) == len(settings.SETTINGS)
    for file in [*ROOT.glob("labs_helper/**/*.py"), *ROOT.glob("labs_helper/**/*.toml")]:
        mentioned = set(re.findall(r"LABS_[A-Z][A-Z_]*", file.read_text("utf-8")))
        assert mentioned <= names, file


def test_every_setting_is_read_somewhere():
    code = "\n".join(file.read_text("utf-8") for file in ROOT.glob("labs_helper/**/*.py"))
    # `translate` reads LABS_LANGUAGE itself, because the messages of `settings` come through it.
    constants = {name for name, value in vars(settings).items() if isinstance(value, settings.Setting)} - {"LANGUAGE"}
    assert {name for name in constants if not re.search(rf"\bsettings\.{name}\b", code)} == set()


def test_nothing_reads_a_setting_past_this_module():
    past = re.compile(r"""environ(\.\w+\(|\[)\s*["']LABS_|getenv\(\s*["']LABS_""")
    code = {
        file: re.sub(r'""".*?"""', "", file.read_text("utf-8"), flags=re.S) for file in ROOT.glob("labs_helper/**/*.py")
    }
    reading = {file.relative_to(ROOT).as_posix() for file, text in code.items() if past.search(text)}
    assert reading == {"labs_helper/common/translate.py"}  # see above


def default(setting) -> str:
    if setting.default in (None, ""):
        return "not set"
    if isinstance(setting.default, bool):
        return "on" if setting.default else "off"
    return f"{setting.default:g}" if isinstance(setting.default, float) else f"`{setting.default}`"


def test_the_table_in_the_documents_is_this_one():
    """After a change: copy the lines that the failure shows into docs/settings.md."""
    rows = [
        f"| `{setting.name}` | {setting.valid} | {default(setting)} | {setting.meaning} |"
        for setting in settings.SETTINGS
    ]
    documented = (ROOT / "docs" / "settings.md").read_text("utf-8").splitlines()
    assert [line for line in documented if line.startswith("| `LABS_")] == rows
