"""`look` without a browser: buttons are clicked, files come as the front end sends them, the model is a fake."""

from __future__ import annotations

import datetime
import io
import json
import re
import time

import ipywidgets
import pytest
from PIL import Image
from test_widgets import FakeModel, press_enter

from labs_helper import catalog
from labs_helper.errors import BadImage, BadRequest
from labs_helper.widgets import look
from labs_helper.widgets.shown import course_choices

VISION = catalog.course_folder() / "images" / "vision"
EVIL = '<img src=x onerror="alert(1)">.png'


@pytest.fixture
def model(tmp_path):
    """A stand-in that knows its num_crops as a checkpoint does, from its file."""
    fake = FakeModel(name="eyes", reply="A **red** star.")
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"num_crops": 4}))
    fake.path = tmp_path
    return fake


def picture(width=336, height=336, colour="red") -> Image.Image:
    return Image.new("RGB", (width, height), colour)


def png(image=None) -> bytes:
    buffer = io.BytesIO()
    (image or picture()).save(buffer, "PNG")
    return buffer.getvalue()


def send_files(widget, *files) -> None:
    """What the front end does: all files of one choice in one message."""
    widget.upload.value = tuple(
        {
            "name": name,
            "type": "image/png",
            "size": len(data),
            "content": memoryview(data),
            "last_modified": datetime.datetime.now(datetime.UTC),
        }
        for name, data in files
    )


def names(widget) -> list[str]:
    return [shown.name for shown in widget.pictures]


def row(widget, number):
    return widget.rows.children[number - 1].children


# -- pictures ------------------------------------------------------------------------------------------------------


def test_choosing_a_course_picture_shows_it_with_its_alt_text_and_adding_lists_it(model):
    widget = look(model)
    widget.choice.value = "sign.png"
    alt = re.search(r'alt="([^"]+)"', widget.preview.value)[1]
    assert "ZEBRA" in alt and f"<small>{alt}</small>" in widget.preview.value, "in sight too"
    assert names(widget) == []
    widget.add_button.click()
    assert names(widget) == ["sign.png"] and alt in row(widget, 1)[0].value
    assert "1: sign.png" in row(widget, 1)[0].value and "757 tokens" in row(widget, 1)[0].value
    assert widget.message.value == "Can you read the sign?"
    widget.choice.value = "pie.png"
    widget.add_button.click()
    assert widget.message.value == "Can you read the sign?", "a question that is there stays"


@pytest.mark.parametrize("name", course_choices())
def test_every_course_picture_can_be_chosen_and_added(model, name):
    widget = look(model)
    widget.choice.value = name
    assert 'alt="' in widget.preview.value
    widget.add_button.click()
    assert widget.pictures and "added" in widget.status.value and all(shown.alt for shown in widget.pictures)


def test_a_set_comes_in_its_order_and_a_clip_as_keyframes(model):
    widget = look(model).add_course("village")
    assert names(widget) == ["village-1.png", "village-2.png"]
    widget.clear_button.click()
    assert names(widget) == [] and "No pictures yet." in widget.cost.value
    widget.add_course("slides.mp4")
    assert len(widget.pictures) == 4 and names(widget)[0] == "slides.mp4, frame 0"
    assert "Choose a course picture first." in widget.add_course("../../README.md").status.value


def test_pictures_are_numbered_and_moved_by_buttons(model):
    widget = look(model, [picture(colour="red"), picture(colour="blue"), picture(colour="green")])
    assert names(widget) == ["picture 1", "picture 2", "picture 3"]
    first = row(widget, 1)
    assert first[1].disabled and not first[2].disabled and row(widget, 3)[2].disabled
    first[2].click()
    assert names(widget) == ["picture 2", "picture 1", "picture 3"]
    assert "1: picture 2" in row(widget, 1)[0].value and "picture 1 is now picture 2." in widget.status.value
    assert row(widget, 1) is first, "the pressed button stays where it is"
    row(widget, 3)[1].click()
    row(widget, 1)[3].click()
    assert names(widget) == ["picture 3", "picture 1"] and len(widget.rows.children) == 2
    widget.move(1, -1).move(2, 1).move(9, 1).remove(0)
    assert names(widget) == ["picture 3", "picture 1"]


def test_cost_follows_num_crops(model):
    widget = look(model, [picture(400, 400), picture(1600, 400)])
    assert "2 pictures: 1,502 tokens of the prompt (757 + 745)." in widget.cost.value
    widget.crops.value = 1
    assert widget.tokens == [313, 313] and "313 tokens" in row(widget, 2)[0].value
    assert look(FakeModel(), picture()).tokens is None
    assert "choose num_crops" in look(FakeModel(), picture()).cost.value
    assert look(FakeModel(), picture(), num_crops=2).crops.value == 2
    with pytest.raises(BadRequest):
        look(model, num_crops=0)


def test_what_the_model_sees_is_shown_when_asked_for(model):
    widget = look(model, picture(640, 360), num_crops=4)
    assert widget.views.value == ""
    widget.views_box.value = True
    assert "4 tiles (2 x 2)" in widget.views.value and 'alt="What the model sees of 1: picture 1' in widget.views.value
    widget.crops.value = 1
    assert "1 tile" in widget.views.value
    widget.clear()
    assert widget.views.value == ""


# -- uploads and paths -----------------------------------------------------------------------------------------------


def test_uploads_are_opened_and_their_names_escaped(model):
    widget = look(model)
    send_files(widget, (EVIL, png()), ("b.png", png(picture(50, 50))))
    assert names(widget) == [EVIL, "b.png"] and widget.upload.value == ()
    send_files(widget, ("b.png", png()))
    assert len(widget.pictures) == 3, "the same name again"
    widget.views_box.value = True
    widget.ask("What is it?").wait(5)
    for html in (
        widget.rows.children[0].children[0].value,
        widget.views.value,
        widget.past.value,
        widget.status.value,
        widget.static().html,
    ):
        assert "<img src=x" not in html


def test_uploads_that_are_no_pictures_are_refused_in_words_and_the_others_stay(model):
    widget = look(model)
    said = []
    widget.status.observe(lambda change: said.append(change["new"]), "value")
    send_files(
        widget,
        ("a.png", b"no picture"),
        ("good.png", png()),
        ("cut.png", png(picture(900, 900))[:300]),
        ("large.png", b"\0" * 7_000_001),
    )
    assert names(widget) == ["good.png"]
    words = " ".join(said)
    assert "a.png" in words and "cut.png" in words and "large.png has 7.0 MB" in words
    assert any("7 MB" in getattr(child, "value", "") for child in widget.children[3].children)


@pytest.mark.parametrize("name", ["traffic.gif", "crossing.mp4"])
def test_an_uploaded_clip_gives_its_keyframes(model, name):
    widget = look(model)
    send_files(widget, (name, (VISION / name).read_bytes()))
    assert len(widget.pictures) == 4 and names(widget)[0] == f"{name}, frame 0"


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_an_animation_is_a_clip_whatever_its_name_says(model, tmp_path, suffix):
    path = tmp_path / "a.bin"
    picture(30, 20).save(path, suffix, save_all=True, append_images=[Image.new("RGB", (30, 20), "blue")])
    widget = look(model)
    send_files(widget, ("sent.jpg", path.read_bytes()))
    widget.path.value = str(path)
    widget.path_button.click()
    assert names(widget) == ["sent.jpg, frame 0", "sent.jpg, frame 1", "a.bin, frame 0", "a.bin, frame 1"]


def paste(widget, content, *pictures: bytes) -> None:
    """What the browser sends when something is pasted or dropped; see `press_enter` for the private method."""
    widget.paste._handle_custom_msg(content, [memoryview(data) for data in pictures])


def test_a_pasted_picture_joins_the_list(model):
    widget = look(model)
    paste(widget, {"name": EVIL}, png())
    paste(widget, {"name": ""}, png(picture(50, 50)))
    assert names(widget) == [EVIL, "pasted picture"]
    assert "<img src=x" not in widget.rows.children[0].children[0].value
    assert widget.paste in widget.children


def test_what_is_pasted_and_is_no_picture_is_refused_in_words(model):
    widget = look(model)
    for content, data, words in (
        ({"name": "", "nothing": True}, (), "no picture"),
        ({"name": "big.png", "refused": 9_000_000}, (), "big.png has 9.0 MB"),
        ({"name": "a.png"}, (b"no picture",), "a.png"),
        ("nonsense", (), "no picture"),
    ):
        paste(widget, content, *data)
        assert words in widget.status.value and names(widget) == []


def test_a_typed_path_is_opened_by_button_and_by_enter(model, tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    widget = look(model)
    widget.path.value = f" {tmp_path / 'a.png'} "
    widget.path_button.click()
    assert names(widget) == ["a.png"] and widget.path.value == ""
    widget.path.value = str(VISION / "crossing.mp4")
    press_enter(widget.path)
    end = time.monotonic() + 20
    while widget.path.value and time.monotonic() < end:
        time.sleep(0.01)
    assert len(widget.pictures) == 5 and widget.pictures[1].alt.startswith("Frame 0. A clip of ten frames")
    assert widget.pictures[2].alt == "Frame 4 of the same clip."
    widget.path.value = "nowhere/b.png"
    widget.path_button.click()
    assert len(widget.pictures) == 5 and "not a file" in widget.status.value and widget.path.value == "nowhere/b.png"
    widget.path.value = " "
    widget.path_button.click()
    assert "Type the path" in widget.status.value


def test_a_course_list_cannot_lead_out_of_its_folder(model, tmp_path, monkeypatch):
    folder = tmp_path / "images" / "vision"
    folder.mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(png())
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    head = "file,set,scenario,models,alt,question,answer\n"
    (folder / "pictures.csv").write_text(head + "../../secret.png,,ocr,both,a,q?,x\nlink.png,,ocr,both,a,q?,x\n")
    monkeypatch.setenv("LABS_HOME", str(tmp_path))
    widget = look(model)
    for name in ("../../secret.png", "link.png"):
        widget.choice.value = name
        assert "not inside" in widget.preview.value
        widget.add_button.click()
        assert names(widget) == [] and "not inside" in widget.status.value


def test_without_the_repository_there_are_uploads_and_paths(model, tmp_path, monkeypatch):
    monkeypatch.setenv("LABS_HOME", str(tmp_path))
    widget = look(model)
    assert len(widget.choice.options) == 1
    widget.add_button.click()
    assert "Choose a course picture first." in widget.status.value
    send_files(widget, ("a.png", png()))
    assert names(widget) == ["a.png"]


def test_pictures_given_in_the_call_raise_at_once(model, tmp_path):
    assert names(look(model, VISION / "sign.png")) == ["sign.png"]
    assert "ZEBRA" in look(model, str(VISION / "sign.png")).pictures[0].alt
    with pytest.raises(BadImage):
        look(model, tmp_path / "nowhere.png")


# -- asking ----------------------------------------------------------------------------------------------------------


def test_asking_sends_the_pictures_in_their_order_with_the_settings(model):
    red, blue = picture(colour="red"), picture(colour="blue")
    widget = look(model, [red, blue], "What changed?", num_crops=9, temperature=0.3, top_p=0.8, max_tokens=40)
    row(widget, 1)[2].click()
    widget.ask_button.click()
    widget.wait(5)
    prompt, request = model.requests[0]
    sent = [image.getpixel((0, 0)) for image in request.pop("images")]
    assert prompt == "What changed?" and sent == [(0, 0, 255), (255, 0, 0)]
    assert request == {"num_crops": 9, "temperature": 0.3, "top_p": 0.8, "max_tokens": 40}
    assert "A <strong>red</strong> star." in widget.past.value and widget.live.value == ""
    assert "About 1: picture 2; 2: picture 1" in widget.past.value and "20.0 tokens/s" in widget.statistics.value
    assert widget.last.text == "A **red** star." and not widget.ask_button.disabled and widget.stop_button.disabled


def test_num_crops_of_the_model_is_left_to_the_model(model):
    widget = look(model, picture()).ask("x").wait(5)
    assert model.requests[0][1]["num_crops"] is None and "4" in widget.crops.options[0][0]


def test_stop_keeps_the_words_so_far(model):
    model.reply, model.delay = " ".join(map(str, range(1000))), 0.01
    widget = look(model, picture()).ask("Count.")
    while "Generating" not in widget.status.value:
        time.sleep(0.005)
    widget.stop_button.click()
    widget.wait(5)
    assert widget.last.finish_reason == "cancelled" and "(stopped)" in widget.past.value


def test_streamed_words_are_escaped(model):
    model.reply, model.delay = " ".join(["<script>x</script>"] * 40), 0.005
    seen = []
    widget = look(model, picture())
    widget.live.observe(lambda change: seen.append(change["new"]), "value")
    widget.ask("go").wait(5)
    assert any("&lt;script&gt;" in value for value in seen)
    assert not any("<script" in value for value in [*seen, widget.past.value, widget.static().html])


def test_nothing_to_ask_and_asking_twice_are_said(model):
    widget = look(model)
    assert "Type a question first." in widget.ask("  ").status.value
    assert "Choose a picture first." in widget.ask("What?").status.value
    model.delay = 0.05
    widget.add(picture()).ask("one").ask("two")
    assert "Still answering" in widget.status.value or len(model.requests) == 1
    widget.wait(5)
    assert len(model.requests) == 1


def test_an_error_is_shown_and_the_widget_lives_on(model):
    model.error = BadRequest("This model <b>reads</b> text only.", 'Use load("vision").')
    widget = look(model, picture()).ask("What?").wait(5)
    assert "&lt;b&gt;reads&lt;/b&gt; text only." in widget.past.value and "Error: This model" in widget.static().text
    widget.ask("Again?").wait(5)
    assert widget.last.text == "A **red** star."


def test_static_form_has_pictures_alt_text_costs_and_answers(model):
    widget = look(model, [VISION / "sign.png", picture()])
    assert widget.static().text.startswith("Look with eyes. 2 pictures: 1,514 tokens of the prompt (757 + 757).")
    widget.ask("What does it say?").wait(5)
    bundle = widget._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert "application/vnd.jupyter.widget-view+json" in data
    lines = data["text/plain"].splitlines()
    assert lines[1] == "1: sign.png, 336 x 336 pixels, 757 tokens. A sign with one red word: ZEBRA."
    assert lines[3:] == ["You (about sign.png, picture 2): What does it say?", "eyes: A **red** star."]
    assert data["text/html"].count("<img") == data["text/html"].count('alt="') == 2
    assert list(widget.static().frame()["answer"]) == ["A **red** star."]


def test_every_control_has_a_visible_description(model):
    def walk(widget):
        yield widget
        for child in getattr(widget, "children", ()):
            yield from walk(child)

    kinds = (
        ipywidgets.Button,
        ipywidgets.Text,
        ipywidgets.Dropdown,
        ipywidgets.BoundedFloatText,
        ipywidgets.BoundedIntText,
        ipywidgets.Checkbox,
        ipywidgets.FileUpload,
    )
    found = [widget for widget in walk(look(model, [picture(), picture()])) if isinstance(widget, kinds)]
    buttons = [widget.description for widget in found if isinstance(widget, ipywidgets.Button)]
    assert len(found) > 15 and all(widget.description.strip() for widget in found) and len(set(buttons)) == len(buttons)


@pytest.mark.parametrize("content", ["", "no json", "[]", '{"num_crops": "many"}', '{"num_crops": 0}'])
def test_a_strange_processor_file_only_hides_the_cost(model, content):
    (model.path / "preprocessor_config.json").write_text(content)
    widget = look(model, picture())
    assert widget.tokens is None and widget.ask("x").wait(5).last is not None


def test_the_cost_that_is_shown_is_what_the_real_engine_pays(tiny_vision):
    from labs_helper.models.load import load

    real = load(str(tiny_vision))
    try:
        widget = look(real, [picture(640, 360), picture(100, 100)], "What?", num_crops=4, max_tokens=3)
        assert not real.loaded and widget.ask().wait(60).last is not None, widget.static().text
        assert list(widget.last.image_tokens) == widget.tokens == [757, 757]
    finally:
        real.release()
