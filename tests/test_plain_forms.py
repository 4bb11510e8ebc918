"""Texts that models, servers and people have written, where they are shown as plain text."""

from __future__ import annotations

import json
import shutil

import pytest

from labs_helper.capacity.report import MemoryReport
from labs_helper.common.markup import escape, printable
from labs_helper.course.preflight import Preflight
from labs_helper.doctor import Row, SetupReport
from labs_helper.engines.base import Token
from labs_helper.errors import LabError
from labs_helper.exercises.results import CheckResult, Hint
from labs_helper.figures import token_view
from labs_helper.figures.base import Figure
from labs_helper.models.load import load

CONTROLS = "\x00\x07\x08\x1b\x7f\x85\x9b"
BIDIRECTIONAL = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@pytest.mark.parametrize("sign", [*CONTROLS, *BIDIRECTIONAL, "\ud83d", "\ude00", "\uffff"])
def test_what_acts_instead_of_being_seen_becomes_visible(sign):
    assert printable(f"a{sign}b") == "a\ufffdb"
    assert escape(f"a{sign}b") == "a\ufffdb"


ORDINARY = ["a\tb\nc\r\nd", "\U0001f469\u200d\U0001f467", "שלום", "مرحبا", "né"]
ORDINARY += ["안녕", "\u200f", "\u00a0", "\U0001f1f0"]


@pytest.mark.parametrize("text", ORDINARY)
def test_what_people_write_stays(text):
    assert printable(text) == text


def test_a_return_does_not_write_over_the_line():
    assert printable("FAILED\rPASSED") == "FAILED\ufffdPASSED"


EVIL = "Ann\x1b[2J\u202enn\u2066 \x9b31m"


@pytest.mark.parametrize(
    "shown",
    [
        CheckResult("1.1", "First", "try again", f"You gave {EVIL!s}."),
        Figure(html="", text=EVIL, alt=EVIL, takeaway=EVIL),
        token_view([Token(EVIL, -1, -0.5, (), EVIL)], title=EVIL),
        LabError(f"The server says {EVIL}.", EVIL),
        # Names of exercises as they are typed, and names and kinds of models as folders have them.
        CheckResult(EVIL, "First", "try again", "There is no such exercise."),
        Hint(EVIL, 0, 0, f"There is no exercise {EVIL}."),
        Hint(EVIL, 1, 2, "Count."),
        MemoryReport(2**30, 2**29, models=((EVIL, 2**20),)),
        SetupReport(None, (Row(EVIL, "FIX", EVIL, EVIL),), EVIL),
        Preflight(host=EVIL, ready=EVIL, problems=(EVIL,)),
    ],
    ids=lambda shown: type(shown).__name__,
)
def test_every_plain_form_shows_them(shown):
    forms = [str(shown), repr(shown), *getattr(shown, "_render_traceback_", list)()]
    if hasattr(shown, "_repr_mimebundle_"):
        forms += [shown._repr_mimebundle_()["text/plain"], shown.alt, shown.takeaway]
    assert any("\ufffd" in form for form in forms)
    assert not set("".join(forms)) & set(CONTROLS + BIDIRECTIONAL)


def test_a_model_in_a_folder_names_itself_plainly(tiny_checkpoint, tmp_path):
    """The settings of a checkpoint are text from somebody else."""
    folder = shutil.copytree(tiny_checkpoint, tmp_path / f"a{EVIL.replace('/', '')}")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": EVIL}))
    shown = repr(load(str(folder)))
    assert "\ufffd" in shown and not set(shown) & set(CONTROLS + BIDIRECTIONAL)
