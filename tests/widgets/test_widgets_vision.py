"""`look` without a browser: messages come as the page sends them, the model is a fake."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import threading
import time

import pytest
from PIL import Image
from test_widgets import FakeModel

from labs_helper import catalog
from labs_helper.errors import BadImage, BadRequest
from labs_helper.widgets import look
from labs_helper.widgets.picture_list import MOST_PICTURES
from labs_helper.widgets.shown import MOST_UPLOAD, course_choices
from labs_helper.widgets.view import FOLDER

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


def press(widget, kind, data=None, **fields) -> str:
    """What the page does: one message, and the reason in its acknowledgement."""
    told = []
    widget.tell = lambda kind, **content: told.append(content) if kind == "ack" else None
    widget.receive({"kind": kind, "id": 1, **fields}, [] if data is None else [memoryview(data)])
    del widget.tell
    assert len(told) == 1, "each message is acknowledged once"
    return told[0]["refused"]


def send_files(widget, *files, batch=1) -> None:
    """Files that were chosen together, as the page sends them: one after the other."""
    for name, data in files:
        assert press(widget, "file", data, batch=batch, name=name) == ""


def names(widget) -> list[str]:
    return [shown.name for shown in widget.pictures]


def arrived(widget) -> list[str]:
    return [one["words"] for one in widget.arrived]


def number(widget, place) -> int:
    """The number that the page knows a picture by; place from 1."""
    return widget.cards[place - 1]["id"]


# -- pictures ------------------------------------------------------------------------------------------------------


def test_pressing_a_course_picture_adds_it_with_its_alt_text_and_its_question(model):
    widget = look(model)
    press(widget, "course", name="sign.png")
    assert names(widget) == ["sign.png"] and arrived(widget) == ["sign.png: added."]
    card = widget.cards[0]
    assert "ZEBRA" in card["alt"] and card["facts"] == "336 x 336 pixels, 757 tokens"
    assert widget.small[str(card["id"])].startswith("data:image/")
    assert widget.question == "Can you read the sign?"
    press(widget, "course", name="pie.png")
    assert widget.question == "Can you read the sign?", "a question that is there stays"
    assert widget.suggestions == ["Which one has the minimum?"]


@pytest.mark.parametrize("name", course_choices())
def test_every_course_picture_can_be_added(model, name):
    widget = look(model)
    press(widget, "course", name=name)
    assert widget.pictures and "added" in arrived(widget)[0] and not widget.arrived[0]["refused"]
    assert all(card["alt"] for card in widget.cards) and widget.question


def test_a_set_comes_in_its_order_and_a_clip_as_keyframes(model):
    widget = look(model).add_course("village")
    assert names(widget) == ["village-1.png", "village-2.png"] and arrived(widget) == ["village: 2 pictures added."]
    press(widget, "clear")
    assert names(widget) == [] and widget.total == "No pictures yet."
    press(widget, "undo")
    assert names(widget) == ["village-1.png", "village-2.png"]
    widget.clear().add_course("slides.mp4")
    assert len(widget.pictures) == 4 and names(widget)[0] == "slides.mp4, frame 0"
    assert widget.add_course("../../README.md").arrived == [
        {"words": "../../README.md: The course has no such picture.", "refused": True}
    ]


def test_the_strip_has_every_choice_with_words_and_small_pictures_follow(model):
    widget, told, done = look(model), [], threading.Event()

    def tell(kind, **content):
        told.append((kind, content))
        if sum(kind == "thumb" for kind, _content in told) == len(course_choices()):
            done.set()

    widget.tell = tell
    widget.receive({"kind": "strip", "id": 1})
    assert done.wait(60)
    strip = next(content for kind, content in told if kind == "strip")
    assert [one["name"] for one in strip["pictures"]] == list(course_choices())
    assert {one["kind"] for one in strip["pictures"]} == set(strip["kinds"]) and len(strip["kinds"]) > 3
    words = {one["name"]: one["about"] for one in strip["pictures"]}
    assert words["sign.png"] == "A sign with one red word: ZEBRA." and words["village"].startswith("2 pictures: ")
    assert words["crossing.mp4"].startswith("A clip: ")
    sizes = [len(content["small"]) for kind, content in told if kind == "thumb"]
    assert max(sizes) < 12_000 and told[0][0] == "strip", "names first: a page waits for no picture"


def test_pictures_move_and_keep_their_numbers(model):
    widget = look(model, [picture(colour="red"), picture(colour="blue"), picture(colour="green")])
    first, second, third = (number(widget, place) for place in (1, 2, 3))
    press(widget, "move", picture=first, by=1)
    assert names(widget) == ["picture 2", "picture 1", "picture 3"]
    assert widget.list_said == "picture 1 is now picture 2." and number(widget, 2) == first
    press(widget, "move", picture=third, by=-1)
    press(widget, "remove", picture=second)
    assert names(widget) == ["picture 3", "picture 1"] and widget.can_undo
    assert set(widget.small) == {str(first), str(third)}
    for kind, fields in (("move", {"by": 1}), ("remove", {}), ("describe", {"text": "x"})):
        press(widget, kind, picture=second, **fields)  # pressed twice: it is gone already
    assert names(widget) == ["picture 3", "picture 1"]
    widget.move(1, -1).move(2, 1).move(9, 1).remove(0)
    assert names(widget) == ["picture 3", "picture 1"]
    assert names(widget.undo()) == ["picture 2", "picture 3", "picture 1"]


def test_what_a_person_says_of_a_picture_is_in_the_static_form(model):
    widget = look(model, picture())
    assert widget.cards[0]["alt"] == ""
    press(widget, "describe", picture=number(widget, 1), text="A <b>red</b> wall.")
    assert widget.cards[0]["alt"] == "A <b>red</b> wall." and "A <b>red</b> wall." in widget.static().text
    assert 'alt="A &lt;b&gt;red&lt;/b&gt; wall."' in widget.static().html
    press(widget, "describe", picture=number(widget, 1), text="x" * 5000)
    assert len(widget.pictures[0].alt) == 500


def test_cost_follows_num_crops(model):
    widget = look(model, [picture(400, 400), picture(1600, 400)])
    assert widget.total == "2 pictures: 1,502 tokens of the prompt (757 + 745)."
    press(widget, "crops", value=1)
    assert widget.tokens == [313, 313] and "313 tokens" in widget.cards[1]["facts"]
    assert "no such choice" in press(widget, "crops", value=7) and widget.crops == 1
    assert look(FakeModel(), picture()).tokens is None
    assert "choose num_crops" in look(FakeModel(), picture()).total
    own = look(FakeModel(), picture(), num_crops=2)
    assert own.crops == 2 and ["2", 2] in own.crop_choices
    with pytest.raises(BadRequest):
        look(model, num_crops=0)


def test_what_the_model_sees_is_drawn_only_while_it_is_open(model):
    widget = look(model, picture(640, 360), num_crops=4)
    assert widget.tiles == []
    press(widget, "tiles", on=True)
    assert "4 tiles (2 x 2)" in widget.tiles[0] and 'alt="What the model sees of 1: picture 1' in widget.tiles[0]
    press(widget, "crops", value=1)
    assert "1 tile" in widget.tiles[0]
    press(widget, "tiles", on=False)
    assert widget.tiles == []
    press(widget, "tiles", on=True)
    widget.clear()
    assert widget.tiles == []


# -- uploads and paths -----------------------------------------------------------------------------------------------


def test_of_several_files_every_one_is_named_and_no_error_is_lost(model):
    widget = look(model)
    send_files(widget, ("a.png", b"no picture"), ("good.png", png()), ("cut.png", png(picture(900, 900))[:300]))
    press(widget, "too_large", batch=1, name="large.png", tenths=81)
    press(widget, "unreadable", batch=1, name="folder")
    send_files(widget, ("last.png", png()))
    assert names(widget) == ["good.png", "last.png"]
    words = arrived(widget)
    assert [any(line.startswith(name) for line in words) for name in ("a.png", "good.png", "cut.png")] == [True] * 3
    assert "large.png has 8.1 MB" in words[3] and words[4].startswith("folder: The browser cannot read it.")
    assert words[5] == "last.png: added." and len(words) == 6
    assert [one["refused"] for one in widget.arrived] == [True, False, True, True, True, False]
    assert "a.png" not in widget.status, "what is said of a file is beside the files"
    send_files(widget, ("next.png", png()), batch=2)
    assert arrived(widget) == ["next.png: added."], "what came together is told together"


def test_a_file_above_the_limit_is_refused_here_too(model):
    widget = look(model)
    send_files(widget, ("large.png", b"\0" * (MOST_UPLOAD + 1)))
    assert names(widget) == [] and "large.png has 7.0 MB" in arrived(widget)[0]
    assert widget.most_bytes == MOST_UPLOAD and "7 MB" in widget.words["limits"]


def test_a_list_that_is_full_names_what_did_not_come_in(model):
    widget = look(model, [picture(20, 20)] * MOST_PICTURES)
    send_files(widget, ("more.png", png()))
    assert arrived(widget)[0].startswith("more.png: The list is full")
    assert len(look(model, [picture(20, 20)] * (MOST_PICTURES + 1)).pictures) == MOST_PICTURES + 1, "a call may"


def test_names_are_text_and_never_html(model):
    widget = look(model)
    send_files(widget, (EVIL, png()), ("b.png", png(picture(50, 50))), ("b.png", png()))
    assert names(widget) == [EVIL, "b.png", "b.png"], "the same name again"
    press(widget, "tiles", on=True)
    widget.ask("What is it?").wait(5)
    for html in (*widget.tiles, widget.shown[0]["html"], widget.static().html):
        assert "<img src=x" not in html
    assert EVIL in widget.shown[0]["about"] and widget.cards[0]["name"] == EVIL, "the page writes these as text"


def test_a_message_that_has_not_its_form_changes_nothing(model):
    widget = look(model, picture())
    for content, buffers in (
        ({"kind": "file", "batch": 1, "name": "a.png"}, []),
        ({"kind": "file", "batch": "1", "name": "a.png"}, [png()]),
        ({"kind": "file", "batch": 1, "name": ["a.png"]}, [png()]),
        ({"kind": "move", "picture": 1, "by": "1"}, []),
        ({"kind": "remove", "picture": None}, []),
        ({"kind": "crops", "value": True}, []),
        ({"kind": "ask", "text": 3}, []),
        ({"kind": "__init__"}, []),
        ("file", [png()]),
    ):
        widget.receive(content, buffers)
    assert names(widget) == ["picture 1"] and widget.arrived == [] and model.requests == []


@pytest.mark.parametrize("name", ["traffic.gif", "crossing.mp4"])
def test_an_uploaded_clip_gives_its_keyframes(model, name):
    widget = look(model)
    send_files(widget, (name, (VISION / name).read_bytes()))
    assert len(widget.pictures) == 4 and names(widget)[0] == f"{name}, frame 0"
    assert arrived(widget) == [f"{name}: 4 pictures added."]


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_an_animation_is_a_clip_whatever_its_name_says(model, tmp_path, suffix):
    path = tmp_path / "a.bin"
    picture(30, 20).save(path, suffix, save_all=True, append_images=[Image.new("RGB", (30, 20), "blue")])
    widget = look(model)
    send_files(widget, ("sent.jpg", path.read_bytes()))
    assert press(widget, "path", text=str(path)) == ""
    assert names(widget) == ["sent.jpg, frame 0", "sent.jpg, frame 1", "a.bin, frame 0", "a.bin, frame 1"]


def test_a_pasted_picture_joins_the_list_and_other_things_are_refused_in_words(model):
    widget = look(model)
    send_files(widget, ("", png(picture(50, 50))))
    assert names(widget) == ["pasted picture"]
    press(widget, "no_file", batch=2)
    assert widget.arrived == [
        {"words": "There is no picture in what was pasted. Copy a picture first, or drop a file.", "refused": True}
    ]


def test_a_typed_path_is_opened_and_a_refused_one_has_its_reason_beside_it(model, tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    widget = look(model)
    assert press(widget, "path", text=f" {tmp_path / 'a.png'} ") == "" and names(widget) == ["a.png"]
    assert press(widget, "path", text=str(VISION / "crossing.mp4")) == ""
    assert len(widget.pictures) == 5 and widget.pictures[1].alt.startswith("Frame 0. A clip of ten frames")
    assert widget.pictures[2].alt == "Frame 4 of the same clip."
    assert "not a file" in press(widget, "path", text="nowhere/b.png") and len(widget.pictures) == 5
    assert "Type the path" in press(widget, "path", text=" ")


@pytest.mark.posix
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
        press(widget, "course", name=name)
        assert names(widget) == [] and "not inside" in arrived(widget)[0] and widget.question == ""


def test_without_the_repository_there_are_uploads_and_paths(model, tmp_path, monkeypatch):
    monkeypatch.setenv("LABS_HOME", str(tmp_path))
    widget, told = look(model), []
    widget.tell = lambda kind, **content: told.append((kind, content))
    widget.receive({"kind": "strip", "id": 1})
    assert ("strip", {"pictures": [], "kinds": []}) in told
    del widget.tell
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
    press(widget, "move", picture=number(widget, 1), by=1)
    assert press(widget, "ask", text="What changed?") == ""
    widget.wait(5)
    prompt, request = model.requests[0]
    sent = [image.getpixel((0, 0)) for image in request.pop("images")]
    assert prompt == "What changed?" and sent == [(0, 0, 255), (255, 0, 0)]
    assert request == {"num_crops": 9, "temperature": 0.3, "top_p": 0.8, "max_tokens": 40}
    turn = widget.shown[0]
    assert "A <strong>red</strong> star." in turn["html"] and widget.asked == {} and widget.growing == ""
    assert turn["about"] == "About 1: picture 2; 2: picture 1" and "20.0 tokens/s" in turn["facts"]
    assert widget.last.text == "A **red** star." and widget.running == "" and widget.status == "Done."


def test_num_crops_of_the_model_is_left_to_the_model(model):
    widget = look(model, picture()).ask("x").wait(5)
    assert model.requests[0][1]["num_crops"] is None and "4" in widget.crop_choices[0][0]


def test_a_question_leaves_the_field_when_it_is_asked_and_is_not_suggested_again(model):
    widget = look(model, prompt="Which word?").add_course("sign.png")
    assert widget.question == "Which word?" and widget.suggestions == ["Can you read the sign?"]
    press(widget, "ask", text="Which word?")
    widget.wait(5)
    assert widget.question == "" and widget.suggestions == ["Can you read the sign?"]
    press(widget, "ask", text="Can you read the sign?")
    widget.wait(5)
    assert widget.suggestions == [] and len(widget.shown) == 2
    widget.clear().add_course("pie.png")
    assert widget.question == "Which one has the minimum?", "a new picture brings its question"
    widget.clear()
    assert widget.question == "", "and takes it along"


def test_a_question_without_an_answer_comes_back_into_the_field(model):
    model.error = BadRequest("This model <b>reads</b> text only.", 'Use load("vision").')
    widget = look(model, picture()).ask("What?").wait(5)
    turn = widget.shown[0]
    assert turn["failed"] and "&lt;b&gt;reads&lt;/b&gt; text only." in turn["html"]
    assert "Error: This model" in widget.static().text and widget.question == "What?"
    assert "you can go on" in widget.status
    assert widget.ask().wait(5).last.text == "A **red** star." and widget.question == ""


def test_what_happens_until_the_first_word_is_said(model):
    model.loaded, model.delay = False, 0.05
    said = []
    widget = look(model, [picture(400, 400), picture(1600, 400)])
    widget.observe(lambda change: said.append(change["new"]), "status")
    widget.ask("What?").wait(5)
    assert any("Loading" in words for words in said)
    said.clear()
    widget.ask("And now?").wait(5)
    assert said[0] == "Reading 2 pictures, 1,502 tokens…" and said[-1] == "Done."


def test_stop_keeps_the_words_so_far(model):
    model.reply, model.delay = " ".join(map(str, range(1000))), 0.01
    widget = look(model, picture()).ask("Count.")
    end = time.monotonic() + 20
    while not widget.growing and time.monotonic() < end:
        time.sleep(0.005)
    press(widget, "stop")
    widget.wait(5)
    assert widget.last.finish_reason == "cancelled" and widget.shown[0]["note"] == "(stopped)"


def test_words_of_a_model_reach_the_page_as_text_or_escaped(model):
    model.reply, model.delay = " ".join(["<script>x</script>"] * 40), 0.005
    widget = look(model, picture()).ask("go").wait(5)
    assert "<script" not in widget.shown[0]["html"] and "<script" not in widget.static().html


def test_nothing_to_ask_and_asking_twice_are_said(model):
    widget = look(model)
    assert "Type a question first." in widget.ask("  ").status
    assert "Choose a picture first." in press(widget, "ask", text="What?")
    widget.add(picture())
    press(widget, "set", name="max_tokens", text="abc")
    assert "Max tokens: type a whole number" in press(widget, "ask", text="What?") and model.requests == []
    press(widget, "set", name="max_tokens", text="9")
    model.delay = 0.2
    assert press(widget, "ask", text="one") == "" and "Still answering" in press(widget, "ask", text="two")
    widget.wait(5)
    assert len(model.requests) == 1 and model.requests[0][1]["max_tokens"] == 9


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


def test_one_model_a_widget(model):
    import ipywidgets

    before = len(ipywidgets.Widget._instances) if hasattr(ipywidgets.Widget, "_instances") else None
    from ipywidgets.widgets.widget import _instances

    before = len(_instances)
    widget = look(model, [picture(), picture()])
    assert len(_instances) == before + 1, "controls of ipywidgets would be some forty"
    widget.close()


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not here")
def test_every_sentence_of_the_page_is_there_and_the_page_is_sound(model, tmp_path):
    """The page names its sentences as `view.words.name`; a missing one would show "undefined"."""
    import re

    widget = look(model)
    used = set(re.findall(r"view\.words\.(\w+)", (FOLDER / "look.js").read_text("utf-8")))
    assert used and used <= set(widget.words)
    page = tmp_path / "look.mjs"
    page.write_text(widget._esm, encoding="utf-8")
    subprocess.run(["node", "--check", str(page)], check=True, timeout=60)
    sent = set(re.findall(r'(?:view\.send|act)\(\s*"(\w+)"', (FOLDER / "look.js").read_text("utf-8")))
    assert {"ask", "move", "file", "strip"} <= sent
    for kind in sent:
        assert kind in widget._handlers, f"the page sends {kind!r}, and nothing takes it"


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
