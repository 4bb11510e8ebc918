"""`experts` without a browser: buttons are clicked, over a real small model and over a fake that fails."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from test_widgets import NASTY, FakeModel

from labs_helper.errors import BadRequest, ModelNotHere
from labs_helper.widgets import experts, tokens
from labs_helper.widgets.view import FOLDER


def press(view, kind, **fields) -> str:
    """What the page does: one message, and the reason in its acknowledgement."""
    told = []
    view.tell = lambda kind, **content: told.append(content) if kind == "ack" else None
    view.receive({"kind": kind, "id": 1, **fields})
    del view.tell
    return told[0]["refused"]


def choice(view, name):
    """A list to choose from, as the page gets it."""
    return next(one for one in view.choices if one["name"] == name)


def test_a_prompt_is_asked_and_its_tokens_are_shown_with_their_experts(moe):
    view = experts(moe, max_tokens=5)
    assert "Type a prompt" in view.status and repr(view) == f"Experts of {moe.name}: no answer yet."
    press(view, "set", name="prompt", text="Where is Changsha?")
    assert press(view, "show") == ""
    view.wait(60)
    answer = view.answers[0]
    assert len(answer.routing) == answer.prompt_tokens + answer.generated_tokens and view.running == ""
    assert "Done." in view.status and "<strong>" in view.drawing and "In layer 0" in view.drawing
    assert [value for _words, value in choice(view, "layer")["options"]] == ["0", "1"]


def test_layer_and_view_change_the_picture_and_ask_nothing(moe):
    view = experts(moe, "Where is Changsha?", max_tokens=4).wait(60)
    answer = view.answers[0]
    press(view, "set", name="layer", text="1")
    assert "In layer 1" in view.drawing and "In layer 1" in repr(view)
    press(view, "set", name="view", text="map")
    assert "Heat map of 2 layers by 16 experts" in view.drawing
    press(view, "set", name="view", text="load")
    assert "most uneven" in view.drawing
    press(view, "set", name="view", text="pie")
    press(view, "set", name="nothing", text="load")
    assert "most uneven" in view.drawing, "what there is not changes nothing"
    assert view.answers[0] is answer, "the same record is drawn in another way"


def test_the_layer_can_be_chosen_only_where_it_acts(moe):
    view = experts(moe, max_tokens=2)
    assert not choice(view, "layer")["acts"] and not choice(view, "view")["acts"], "nothing is drawn yet"
    view.show("Hi").wait(60)
    assert choice(view, "layer")["acts"] and choice(view, "view")["acts"]
    for name in ("map", "load"):
        view.choose("view", name)
        assert not choice(view, "layer")["acts"], f"the {name} shows all layers"
    view.choose("view", "tokens")
    assert choice(view, "layer")["acts"]


def test_two_prompts_are_compared(moe):
    view = experts(moe, "Where is Changsha?", "서울은 어디에 있나요?", layer=1, max_tokens=4).wait(60)
    assert len(view.answers) == 2 and view.layer == 1
    assert "The two prompts share" in view.drawing and "서울은" in view.static().text
    assert "The two prompts share" in view.static().alt
    view.show("Hi").wait(60)
    assert len(view.answers) == 1 and "The two prompts" not in view.drawing and view.text("second") == ""


def test_stop_in_the_first_of_two_keeps_what_there_is(moe):
    view = experts(moe, max_tokens=256)

    def stop_soon(change):
        if "Generating" in change["new"]:
            press(view, "stop")

    view.observe(stop_soon, "status")
    view.show("Where is Changsha?", "Hi").wait(60)
    assert len(view.answers) == 1 and "Stopped." in view.status and "In layer 0" in view.drawing


def test_a_dense_model_says_so_in_words(model):
    view = experts(model, "Hi").wait(30)
    assert "dense model" in view.drawing and "dense model" in repr(view) and view.running == ""


def test_an_error_is_shown_escaped_and_the_widget_lives_on(moe):
    view = experts(FakeModel(error=BadRequest(NASTY, "Shorten it.")), "x").wait(5)
    assert "<script" not in view.drawing and "Shorten it." in view.drawing and "<script" not in view.static().html
    view.model = moe
    view.show("x").wait(60)
    assert len(view.answers) == 1


def test_reader_text_cannot_become_html(moe):
    view = experts(moe, NASTY, max_tokens=2).wait(60)
    for name in ("tokens", "map", "load"):
        view.choose("view", name)
        assert "<script" not in view.drawing and "<img src=x" not in view.drawing


def test_nothing_typed_and_a_busy_widget_are_refused_in_words(moe):
    view = experts(moe)
    press(view, "set", name="prompt", text="  ")
    assert "Type a prompt first." in view.show().status and press(view, "show") == "Type a prompt first."
    press(view, "set", name="max_tokens", text="abc")
    press(view, "set", name="prompt", text="Hi")
    assert "Max tokens: type a whole number" in press(view, "show") and view.answers == []
    press(view, "set", name="max_tokens", text="2")
    view.show("Hi")
    assert view.show("again").wait(60) is view and len(view.answers) == 1


@pytest.mark.parametrize("arguments", [{"view": "pie"}, {"layer": -1}, {"layer": "a"}])
def test_unknown_views_and_layers_are_refused(moe, arguments):
    with pytest.raises(BadRequest):
        experts(moe, **arguments)


def test_a_layer_beyond_the_last_becomes_the_last(moe):
    assert experts(moe, "Hi", layer=7, max_tokens=2).wait(60).layer == 1


def test_without_a_model_on_this_machine_it_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("LABS_HOME", str(tmp_path))
    monkeypatch.setenv("LABS_MODELS", "tiny")
    with pytest.raises(ModelNotHere):
        experts()


def test_the_static_form_is_there_beside_the_live_one(moe):
    view = experts(moe, "Hi", max_tokens=2).wait(60)
    bundle = view._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "application/vnd.jupyter.widget-view+json" in data and "tokens/s" not in data["text/plain"]
    assert "In layer 0" in data["text/plain"] and "<figure" in data["text/html"]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not here")
@pytest.mark.parametrize("make", [experts, tokens])
def test_the_page_is_sound_and_has_its_sentences(make, tmp_path):
    view = make(FakeModel())
    used = set(re.findall(r"view\.words\.(\w+)", (FOLDER / "explorer.js").read_text("utf-8")))
    assert used and used <= set(view.words)
    (tmp_path / "page.mjs").write_text(view._esm, encoding="utf-8")
    subprocess.run(["node", "--check", str(tmp_path / "page.mjs")], check=True, timeout=60)
