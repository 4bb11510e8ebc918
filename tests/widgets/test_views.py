"""The base of our own views: what a page may send, and what Python does with it."""

from __future__ import annotations

import shutil
import subprocess

import pytest
import traitlets

from labs_helper.errors import BadRequest
from labs_helper.figures.base import Figure
from labs_helper.widgets.numbers import Number, Sampling
from labs_helper.widgets.view import FOLDER, MOST_TEXT, View


class Box(View):
    """Keeps what the page sends."""

    PAGE = ("box",)
    last = traitlets.Unicode().tag(sync=True)

    def __init__(self) -> None:
        self.told: list[dict] = []
        self.taken: list[object] = []
        super().__init__(words={"hello": "Hello"})
        self.on_page("keep", self._keep, text=str)
        self.on_page("count", self._count, number=int)
        self.on_page("file", self._file, name=str, data=bytes)

    def _keep(self, text):
        if text == "no":
            return "Not this one."
        if text == "error":
            raise BadRequest("It is wrong.", "Mend it.")
        self.taken.append(text)
        return None

    def _count(self, number):
        self.taken.append(number)

    def _file(self, name, data):
        self.taken.append((name, data))

    def tell(self, kind, **content):
        self.told.append({"kind": kind, **content})

    def static(self):
        return Figure.of_words("A box.")


def test_a_message_of_a_known_form_is_taken_and_acknowledged():
    box = Box()
    box.receive({"kind": "keep", "id": 7, "text": "안녕"})
    box.receive({"kind": "file", "id": 8, "name": "a.png"}, [memoryview(b"abc")])
    box.receive({"kind": "keep", "id": 9, "text": "no"})
    box.receive({"kind": "keep", "id": 10, "text": "error"})
    box.receive({"kind": "ping", "id": 11})
    assert box.taken == ["안녕", ("a.png", b"abc")]
    assert [(one["id"], one["refused"]) for one in box.told] == [
        (7, ""),
        (8, ""),
        (9, "Not this one."),
        (10, "It is wrong. Mend it."),
        (11, ""),
    ]


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        "keep",
        {},
        {"kind": "nothing"},
        {"kind": ["keep"], "text": "x"},
        {"kind": "keep"},
        {"kind": "keep", "text": 3},
        {"kind": "keep", "text": None},
        {"kind": "keep", "text": "x" * (MOST_TEXT + 1)},
        {"kind": "count", "number": "3"},
        {"kind": "count", "number": True},
        {"kind": "count", "number": 3.0},
        {"kind": "count", "number": 10**12},
        {"kind": "file", "name": "a", "data": "text instead of bytes"},
    ],
)
def test_every_other_message_is_ignored(content):
    box = Box()
    box.receive(content)
    assert box.taken == [] and box.told == []


def test_one_widget_is_one_model_with_its_static_form_beside():
    import ipywidgets

    before = set(ipywidgets.widgets.widget._instances)
    box = Box()
    assert len(set(ipywidgets.widgets.widget._instances) - before) == 1
    bundle = box._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert data["text/plain"] == "A box." == repr(box) and data["text/html"] == "<p>A box.</p>"
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == box.key
    assert box.words["hello"] == "Hello" and box.words["gone"].startswith("The kernel was restarted.")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.js")), ids=lambda path: path.name)
def test_a_script_makes_html_of_nothing_but_what_python_made_safe(path):
    """`fill` is the one place; what it is given is looked at in a review, so it is rare."""
    text = path.read_text("utf-8")
    found = [line for line in text.splitlines() if "innerHTML" in line or "insertAdjacentHTML" in line]
    assert found == (["  element.innerHTML = html;"] if path.stem == "view" else [])
    assert "eval(" not in text and "new Function" not in text and "://" not in text


@pytest.mark.skipif(shutil.which("node") is None, reason="node reads the scripts")
@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.js")), ids=lambda path: path.name)
def test_a_script_can_be_read(path, tmp_path):
    module = tmp_path / f"{path.stem}.mjs"
    module.write_text(path.read_text("utf-8"), "utf-8")
    subprocess.run(["node", "--check", str(module)], check=True, timeout=30)


@pytest.mark.parametrize("text", ["", "abc", "1.5", "0", "1025", "nan", "inf", "1e9", "-3", "９x"])
def test_a_wrong_number_stays_and_says_what_is_wrong(text):
    number = Number("max_tokens", "Max tokens", "", 256, 1, 1024, 1)
    number.take(text)
    assert number.value == 256 and number.typed == text and text in number.problem
    assert "1 to 1,024" in number.problem
    number.take("9")
    assert number.value == 9 and number.problem == ""


def test_sampling_takes_what_is_typed():
    sampling = Sampling(temperature=0.0, top_p=1.0, max_tokens=256)
    sampling.take("temperature", "0,7")
    sampling.take("nothing", "3")
    sampling.take("max_tokens", "12")
    assert sampling.options() == {"temperature": 0.7, "top_p": 1.0, "max_tokens": 12} and not sampling.problem
    sampling.take("top_p", "7")
    assert sampling.problem == "Top-p: type a number from 0.05 to 1, not '7'."
    assert sampling.options()["top_p"] == 1.0
