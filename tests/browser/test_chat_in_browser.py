"""A chat as people use one: input methods, JupyterLab's own keys, editing, what the file keeps, a lost kernel."""

from __future__ import annotations

import json

import pytest
from lab import as_written_down, axe_findings, outline, until
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from test_restart_in_browser import NEW_KERNEL, SAVE, finish
from test_widgets_in_browser import SLOW_MODEL

pytestmark = pytest.mark.browser

CELLS = [
    SLOW_MODEL + "from labs_helper.widgets import chat, compare\n",
    "talk = chat(slow, max_tokens=99)\ntalk",
    "print('the last cell')",
]
TITLE = "Chat with slow"
LONG = " ".join(["slowly"] * 15)  # answered in twenty seconds: time to act in between


@pytest.fixture
def page(open_cells, request):
    page = open_cells(f"chat-{request.node.name[5:25]}.ipynb", CELLS)
    until(lambda: page.boxes(TITLE), 60, "the chat is drawn")
    page.file = request.getfixturevalue("server").folder / f"chat-{request.node.name[5:25]}.ipynb"
    page.driver.set_script_timeout(60)
    return page


def part(box, name):
    return box.find_element(By.CSS_SELECTOR, f".labs-{name}")


def seen(page):
    """What the model was asked, from the kernel, through a file: nothing of it is on the page."""
    place = page.file.with_suffix(".json")
    asked = "json.dumps([messages[-1]['content'] for messages in slow.seen])"
    page.in_kernel(f"import json, pathlib; pathlib.Path({str(place)!r}).write_text({asked})")
    return json.loads(place.read_text())


def turns(box):
    return box.find_elements(By.CSS_SELECTOR, ".labs-past > .labs-turn")


def ask(page, text, *, wait=True):
    """Send a message with Enter, and wait for its answer."""
    box = page.boxes(TITLE)[0]
    before = len(turns(box))
    part(box, "message").send_keys(text, Keys.ENTER)
    if wait:
        until(lambda: len(turns(box)) > before and page.status(box) == "Done.", 60, f"{text} is answered")
    return box


def stop(page, box):
    until(lambda: page.status(box).startswith("Generating"), 30, "words come")
    page.button(box, "Stop").click()
    until(lambda: page.status(box) == "Stopped.", 30, "it has stopped")


def kept_in_file(page):
    """The outputs of the chat's cell as the saved file has them, as text."""
    cells = json.loads(page.file.read_text("utf-8"))["cells"]
    return ["".join(output["data"]["text/plain"]) for output in cells[1]["outputs"]]


# -- typing ----------------------------------------------------------------------------------------------------------


def test_korean_is_sent_once_and_whole(page):
    """Typed through composition: Enter that ends a syllable sends nothing, the next one sends all of it."""
    box, driver = page.boxes(TITLE)[0], page.driver
    field = part(box, "message")
    page.show(field)
    field.click()

    def compose(*steps):
        for text in steps:
            key(229, "Process")
            driver.execute_cdp_cmd(
                "Input.imeSetComposition", {"text": text, "selectionStart": len(text), "selectionEnd": len(text)}
            )

    def key(code, name, **more):
        for kind in ("rawKeyDown", "keyUp"):
            event = {"type": kind, "windowsVirtualKeyCode": code, "key": name, "code": name, **more}
            driver.execute_cdp_cmd("Input.dispatchKeyEvent", event)

    driver.execute_script(
        "window.labsHeard = []; for (const kind of ['compositionstart', 'compositionend', 'keydown'])"
        " arguments[0].addEventListener(kind, e => labsHeard.push([kind, e.key, e.isComposing, e.keyCode]), true);",
        field,
    )
    compose("ㅎ", "하", "한")
    key(229, "Enter")  # ends the syllable, as browsers report it
    driver.execute_cdp_cmd("Input.insertText", {"text": "한"})
    compose("ㄱ", "구", "국")
    key(13, "Enter")  # a browser that does not say 229, in the middle of a composition
    assert field.get_attribute("value") == "한국"
    driver.execute_cdp_cmd("Input.insertText", {"text": "국"})
    heard = driver.execute_script("return window.labsHeard")
    assert ["compositionstart"] in [event[:1] for event in heard]
    assert [event for event in heard if event[0] == "keydown" and event[2] and event[3] == 13], heard
    assert seen(page) == [] and "Question" not in part(box, "past").text
    field.send_keys(Keys.ENTER)
    until(lambda: page.status(box) == "Done.", 60, "it is answered")
    assert seen(page) == ["한국"]
    assert part(box, "you").text == "You\n한국" and field.get_attribute("value") == ""


def test_the_field_has_its_keys_and_jupyterlab_has_the_rest(page):
    box, driver = page.boxes(TITLE)[0], page.driver
    field = part(box, "message")
    page.show(field)
    field.click()
    before = page.cells()
    height = field.size["height"]
    field.send_keys("one", Keys.SHIFT + Keys.ENTER)
    field.send_keys("two", Keys.SHIFT + Keys.ENTER)
    field.send_keys("dd three")
    assert field.get_attribute("value") == "one\ntwo\ndd three" and field.size["height"] > height
    field.send_keys(Keys.CONTROL + "a")
    assert driver.execute_script("return arguments[0].selectionEnd - arguments[0].selectionStart", field) == 16
    field.send_keys(Keys.CONTROL + "z")
    field.send_keys(Keys.CONTROL + "a")
    field.send_keys("kept")
    # Ctrl+S saves, Ctrl+Shift+C opens the commands: from inside the field.
    saved = page.file.stat().st_mtime_ns
    field.send_keys(Keys.CONTROL + "s")
    until(lambda: page.file.stat().st_mtime_ns != saved, 20, "Ctrl+S saves")
    field.send_keys(Keys.CONTROL + Keys.SHIFT + "c")
    palette = until(
        lambda: [e for e in driver.find_elements(By.CSS_SELECTOR, ".lm-CommandPalette") if e.is_displayed()],
        20,
        "commands",
    )
    assert palette
    driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert page.cells() == before, "no cell was run, added or deleted"
    assert field.get_attribute("value") == "kept" and seen(page) == []
    # Up brings the last message into the empty field only.
    field.click()
    field.send_keys(Keys.ARROW_UP)
    assert field.get_attribute("value") == "kept"
    field.send_keys(Keys.CONTROL + Keys.ENTER)
    until(lambda: page.status(box) == "Done.", 60, "Ctrl+Enter sends too")
    field.send_keys(Keys.ARROW_UP)
    assert field.get_attribute("value") == "kept"


def test_the_focus_returns_to_the_field(page):
    box, driver = page.boxes(TITLE)[0], page.driver
    field = part(box, "message")
    page.show(field)
    field.send_keys(LONG)
    page.click(page.button(box, "Send"))
    driver.switch_to.active_element.send_keys("typed meanwhile")
    stop(page, box)
    driver.switch_to.active_element.send_keys(", and after")
    assert field.get_attribute("value") == "typed meanwhile, and after"
    assert seen(page) == [LONG]


def test_what_is_refused_stays_and_says_why(page):
    box = page.boxes(TITLE)[0]
    field = part(box, "message")
    page.show(field)
    page.click(part(box, "fold").find_element(By.TAG_NAME, "summary"))
    number = page.field(box, "Max tokens (1 to 1024)")
    number.send_keys(Keys.CONTROL + "a")
    number.send_keys("abc", Keys.TAB)
    words = "Max tokens: type a whole number from 1 to 1,024, not 'abc'."
    until(lambda: words in part(box, "numbers").text, 20, "what is wrong is beside the field")
    assert number.get_attribute("value") == "abc"
    field.send_keys(LONG, Keys.ENTER)
    until(lambda: words in part(box, "wrong").text, 20, "the reason is beside the text")
    assert field.get_attribute("value") == LONG
    assert box.text.count(words) == 2 and seen(page) == []
    number.send_keys(Keys.CONTROL + "a")
    number.send_keys("9", Keys.TAB)
    until(lambda: words not in part(box, "numbers").text, 20, "the number is right")
    field.send_keys(Keys.ENTER)
    stop(page, box)
    # While it answers, what is sent is refused and stays.
    field.send_keys(LONG, Keys.ENTER)
    until(lambda: page.status(box).startswith("Generating"), 30, "words come")
    field.send_keys("too early", Keys.ENTER)
    until(lambda: "Still answering." in box.text, 20, "refused")
    assert field.get_attribute("value") == "too early"
    page.button(box, "Stop").click()


# -- turns -----------------------------------------------------------------------------------------------------------


def test_a_turn_can_be_copied_edited_asked_again_and_opened(page):
    box = ask(page, "one")
    ask(page, "two")
    assert seen(page) == ["one", "two"]
    first, second = turns(box)
    assert "33.0 tokens/s" in first.text
    page.show(second)
    page.click(page.button(second, "See its tokens"))
    until(lambda: second.find_elements(By.CSS_SELECTOR, ".labs-more figure"), 20, "the tokens")
    page.screenshot("chat-tokens", box)
    assert axe_findings(page.driver, ".labs-widget") == []
    page.click(page.button(second, "See its tokens"))
    until(lambda: not second.find_elements(By.CSS_SELECTOR, ".labs-more figure"), 20, "they are closed")
    page.click(page.button(second, "Copy"))
    until(lambda: "Copied." in box.text or "does not allow copying" in box.text, 20, "copying is answered")
    again = [button.is_displayed() for button in box.find_elements(By.XPATH, ".//button[text()='Again']")]
    assert again == [False, True]
    page.click(page.button(second, "Again"))
    until(lambda: seen(page) == ["one", "two", "two"], 30, "asked again")
    until(lambda: page.status(box) == "Done.", 60, "answered again")

    page.click(page.button(turns(box)[0], "Edit"))
    field = part(box, "message")
    assert field.get_attribute("value") == "one" and "You edit question 1." in box.text
    page.screenshot("chat-edit", box)
    field.send_keys(" more", Keys.ENTER)
    until(lambda: seen(page)[-1] == "one more", 30, "the edited question is asked")
    until(lambda: page.status(box) == "Done.", 60, "answered")
    assert len(turns(box)) == 1 and "one more" in turns(box)[0].text and "You edit" not in box.text
    assert page.complaints() == []


def test_the_first_answer_is_not_called_no_messages(page):
    box = page.boxes(TITLE)[0]
    assert "No messages yet." in box.text
    ask(page, LONG, wait=False)
    until(lambda: page.status(box).startswith("Generating"), 30, "words come")
    assert "No messages yet." not in box.text
    page.screenshot("chat-growing", box)


# -- what is kept ----------------------------------------------------------------------------------------------------


def test_the_file_keeps_the_conversation_by_itself(page):
    box = ask(page, "keep me")
    until(lambda: "it is in the file when you save" in box.text, 20, "the page says so")
    assert len(page.driver.find_elements(By.CSS_SELECTOR, "[data-labs-of]")) == 1
    assert not page.driver.find_element(By.CSS_SELECTOR, "[data-labs-of]").is_displayed()
    ask(page, "me too")
    finish(page.driver, SAVE)
    empty, kept = kept_in_file(page)
    assert "no messages yet" in empty
    assert "You: keep me\nslow: keep me keep me" in kept and "You: me too\nslow: me too" in kept
    # A new conversation leaves the old one where it can be read.
    page.click(page.button(box, "New conversation"))
    until(lambda: page.status(box) == "New conversation.", 20, "begun")
    assert page.driver.find_element(By.CSS_SELECTOR, "[data-labs-of]").is_displayed()
    ask(page, "the next one")
    finish(page.driver, SAVE)
    _empty, kept, new = kept_in_file(page)
    assert "keep me" in kept and "the next one" in new and "keep me" not in new


def test_a_page_that_is_loaded_again_in_mid_answer_loses_nothing(page):
    box = page.boxes(TITLE)[0]
    finish(page.driver, SAVE)
    ask(page, LONG, wait=False)
    until(lambda: page.status(box).startswith("Generating"), 30, "words come")
    part(box, "message").send_keys("not sent yet")
    page.driver.refresh()
    until(page._ready, 150, "the notebook is open again")
    box = until(lambda: page.boxes(TITLE), 60, "the chat is back")[0]
    until(lambda: page.status(box) == "Done.", 60, "the answer goes on")
    assert "slowly slowly" in part(box, "past").text
    assert part(box, "message").get_attribute("value") == "not sent yet"
    # The notebook does not take outputs of a cell that another page ran: the chat says so and gives the code.
    until(lambda: "talk.transcript()" in box.text, 20, "how to keep it")
    page.screenshot("chat-not-kept", box)
    assert page.complaints() == []


def test_two_tabs_show_one_conversation(page):
    finish(page.driver, SAVE)
    box, first = ask(page, "from the first"), page.driver.current_window_handle
    address = page.driver.current_url.replace("workspaces/test", "workspaces/second")
    page.driver.switch_to.new_window("tab")
    page.driver.get(address)
    other = until(lambda: page.boxes(TITLE), 120, "the chat is in the second tab")[0]
    until(lambda: "from the first from the first" in other.text, 30, "with what was said")
    part(other, "message").send_keys("from the second", Keys.ENTER)
    until(lambda: page.status(other) == "Done." and "from the second from" in other.text, 60, "it answers")
    page.driver.switch_to.window(first)
    until(lambda: "from the second from the second" in box.text, 30, "the first tab shows it too")
    assert seen(page) == ["from the first", "from the second"]


# -- the kernel is gone ----------------------------------------------------------------------------------------------

GONE = "The kernel was restarted. Run this cell again."


@pytest.mark.posix
@pytest.mark.parametrize("how", ["restart", "kill"])
def test_a_chat_whose_kernel_is_gone_says_so(page, how):
    box = page.boxes(TITLE)[0]
    ask(page, LONG, wait=False)
    until(lambda: page.status(box).startswith("Generating"), 30, "words come")
    part(box, "message").send_keys("half a question")
    if how == "restart":
        finish(page.driver, NEW_KERNEL)
    else:
        page.driver.execute_script(
            "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
            ".requestExecute({code: 'import os; os.kill(os.getpid(), 9)', silent: true});"
        )
    until(lambda: GONE in box.text, 60, "the chat says what happened")
    assert "Generating" not in box.text and page.button(box, "Copy conversation").is_enabled()
    page.screenshot(f"chat-{how}", box)
    icon = "return getComputedStyle(arguments[0], '::before').content"
    for element in [box, *box.find_elements(By.XPATH, ".//*")]:
        assert page.driver.execute_script(icon, element) in ("none", "normal"), "no broken link"
    field = part(box, "message")
    assert field.get_attribute("value") == "half a question" and not page.button(box, "Send").is_enabled()
    for dialog in page.driver.find_elements(By.CSS_SELECTOR, ".jp-Dialog button.jp-mod-accept"):
        dialog.click()
    until(page._ready, 60, "the new kernel is idle")
    page.run_all(60)
    assert page.errors() == []
    new = until(lambda: page.boxes(TITLE), 30, "a new chat")[0]
    until(lambda: GONE not in new.text, 10, "which is well")
    ask(page, "hello")


# -- for every reader ------------------------------------------------------------------------------------------------


def test_a_screen_reader_gets_a_turn_as_it_was_written_down(page):
    """LABS_STORE=1 writes the outline again; look at the difference before it is committed."""
    ask(page, "안녕")
    as_written_down(outline(page.driver, ".labs-view"), "chat_turn.txt")


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark", "forced colours"])
def test_it_can_be_read_in_every_theme_and_on_a_narrow_page(page, theme):
    driver, box = page.driver, ask(page, "a `code` **bold** question")
    page.click(part(box, "fold").find_element(By.TAG_NAME, "summary"))
    if theme == "forced colours":
        driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "forced-colors", "value": "active"}]}
        )
    else:
        finish(driver, f"window.jupyterapp.commands.execute('apputils:change-theme', {{theme: {theme!r}}})")
        until(
            lambda: driver.execute_script("return document.body.dataset.jpThemeName") == theme, 20, "the theme is there"
        )
    name = theme.split()[-1].lower()
    page.screenshot(f"chat-{name}", box)
    assert axe_findings(driver, ".labs-widget") == []
    # 320 pixels for the view itself, as on a phone where JupyterLab's sides are closed.
    driver.execute_script("arguments[0].style.width = '320px'", box)
    wide = driver.execute_script(
        "const view = arguments[0], edge = view.getBoundingClientRect().right + 1;"
        "return [...view.querySelectorAll('*')].filter(e => e.getBoundingClientRect().right > edge"
        " && !e.closest('.labs-answer')).map(e => e.className || e.tagName);",
        box,
    )
    page.screenshot(f"chat-{name}-narrow", box)
    assert wide == []
