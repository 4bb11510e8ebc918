"""`experts` without a browser: buttons are clicked, over a real small model and over a fake that fails."""

from __future__ import annotations

import ipywidgets
import pytest
from test_widgets import NASTY, FakeModel, press_enter

from labs_helper.errors import BadRequest, ModelNotHere
from labs_helper.widgets import experts


def test_a_prompt_is_asked_and_its_tokens_are_shown_with_their_experts(moe):
    view = experts(moe, max_tokens=5)
    assert "Type a prompt" in view.status.value and repr(view) == f"Experts of {moe.name}: no answer yet."
    view.message.value = "Where is Changsha?"
    view.run_button.click()
    view.wait(60)
    answer = view.answers[0]
    assert len(answer.routing) == answer.prompt_tokens + answer.generated_tokens and not view.run_button.disabled
    assert "Done." in view.status.value and "<strong>" in view.view.value and "In layer 0" in view.view.value
    assert [value for _, value in view.layer.options] == [0, 1]


def test_layer_and_view_change_the_picture_and_ask_nothing(moe):
    view = experts(moe, "Where is Changsha?", max_tokens=4).wait(60)
    answer = view.answers[0]
    view.layer.value = 1
    assert "In layer 1" in view.view.value and "In layer 1" in repr(view)
    view.choice.value = "map"
    assert "Heat map of 2 layers by 16 experts" in view.view.value
    view.choice.value = "load"
    assert "most uneven" in view.view.value
    assert view.answers[0] is answer, "the same record is drawn in another way"


def test_two_prompts_are_compared(moe):
    view = experts(moe, "Where is Changsha?", "서울은 어디에 있나요?", layer=1, max_tokens=4).wait(60)
    assert len(view.answers) == 2 and view.layer.value == 1
    assert "The two prompts share" in view.view.value and "서울은" in view.static().text
    assert "The two prompts share" in view.static().alt
    view.show("Hi").wait(60)
    assert len(view.answers) == 1 and "The two prompts" not in view.view.value and view.second.value == ""


def test_enter_asks(moe):
    view = experts(moe, max_tokens=2)
    press_enter(view.message, "Hi")
    view.wait(60)
    assert len(view.answers) == 1


def test_stop_in_the_first_of_two_keeps_what_there_is(moe):
    view = experts(moe, max_tokens=256)

    def stop_soon(change):
        if "Generating" in change["new"]:
            view.stop_button.click()

    view.status.observe(stop_soon, "value")
    view.show("Where is Changsha?", "Hi").wait(60)
    assert len(view.answers) == 1 and "Stopped." in view.status.value and "In layer 0" in view.view.value


def test_a_dense_model_says_so_in_words(model):
    view = experts(model, "Hi").wait(30)
    assert "dense model" in view.view.value and "dense model" in repr(view) and not view.run_button.disabled


def test_an_error_is_shown_escaped_and_the_widget_lives_on(moe):
    view = experts(FakeModel(error=BadRequest(NASTY, "Shorten it.")), "x").wait(5)
    assert "<script" not in view.view.value and "Shorten it." in view.view.value and "<script" not in view.static().html
    view.model = moe
    view.show("x").wait(60)
    assert len(view.answers) == 1


def test_reader_text_cannot_become_html(moe):
    view = experts(moe, NASTY, max_tokens=2).wait(60)
    for name in ("tokens", "map", "load"):
        view.choice.value = name
        assert "<script" not in view.view.value and "<img src=x" not in view.view.value


def test_nothing_typed_and_a_busy_widget_are_refused_in_words(moe):
    view = experts(moe)
    view.message.value = "  "
    assert "Type a prompt first." in view.show().status.value
    view.show("Hi")
    assert view.show("again").wait(60) is view and len(view.answers) == 1


@pytest.mark.parametrize("arguments", [{"view": "pie"}, {"layer": -1}, {"layer": "a"}])
def test_unknown_views_and_layers_are_refused(moe, arguments):
    with pytest.raises(BadRequest):
        experts(moe, **arguments)


def test_a_layer_beyond_the_last_becomes_the_last(moe):
    assert experts(moe, "Hi", layer=7, max_tokens=2).wait(60).layer.value == 1


def test_without_a_model_on_this_machine_it_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("LABS_HOME", str(tmp_path))
    monkeypatch.setenv("LABS_MODELS", "tiny")
    with pytest.raises(ModelNotHere):
        experts()


def test_every_control_has_a_visible_description_and_the_static_form_is_there(moe):
    view = experts(moe, "Hi", max_tokens=2).wait(60)

    def walk(widget):
        yield widget
        for child in getattr(widget, "children", ()):
            yield from walk(child)

    kinds = (ipywidgets.Button, ipywidgets.Text, ipywidgets.Dropdown, ipywidgets.BoundedIntText)
    found = [widget for widget in walk(view) if isinstance(widget, kinds)]
    assert len(found) == 7 and all(widget.description.strip() for widget in found)
    bundle = view._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "application/vnd.jupyter.widget-view+json" in data and "tokens/s" not in data["text/plain"]
    assert "In layer 0" in data["text/plain"] and "<figure" in data["text/html"]
