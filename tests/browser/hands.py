"""The same hands on two browsers: open, run JavaScript, press keys, click, take a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import firefox
from selenium import webdriver
from selenium.webdriver.common.keys import Keys

_HELD = (Keys.SHIFT, Keys.CONTROL)  # at the beginning of a press, it is held during the rest
_TO_THE_MIDDLE = "element => { element.scrollIntoView({block: 'center'}); return element; }"


def presses(text: str) -> list[tuple[str, ...]]:
    """What is pressed together, one after the other: a letter of a word, or a key with those that are held.

    Example:
        presses(Keys.SHIFT + Keys.TAB), presses("ab")      # [(SHIFT, TAB)], [("a",), ("b",)]
    """
    return [tuple(text)] if text.startswith(_HELD) else [(letter,) for letter in text]


class InFirefox:
    """Hands in Firefox, which is started here and ended by `quit`."""

    def __init__(self, profile: Path) -> None:
        self._browser = firefox.Firefox(profile)
        self.open, self.run, self.quit = self._browser.open, self._browser.run, self._browser.quit

    def press(self, *texts: str) -> None:
        """Press keys where the focus is; `Keys.SHIFT + Keys.TAB` is one press, and a word is typed."""
        for text in texts:
            for together in presses(text):
                self._browser.press(*together)

    def click(self, element: str) -> None:
        """Click what a function of JavaScript gives."""
        found = self.run(f"() => ({_TO_THE_MIDDLE})(({element})())")
        self._browser.call("WebDriver:ElementClick", {"id": next(iter(found.values()))})

    def picture(self, path: Path) -> None:
        """Write what the window shows."""
        self._browser.picture(path)


class InChromium:
    """Hands in Chromium, which somebody else starts and ends."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self._driver, self.open = driver, driver.get
        driver.set_script_timeout(120)

    def run(self, function: str, *given: Any) -> Any:
        """Call a function of JavaScript in the page and return what it returns."""
        return self._driver.execute_script(f"return ({function})(...arguments);", *given)

    def press(self, *texts: str) -> None:
        """Press keys where the focus is; `Keys.SHIFT + Keys.TAB` is one press, and a word is typed."""
        for text in texts:
            for together in presses(text):
                self._driver.switch_to.active_element.send_keys(*together)

    def click(self, element: str) -> None:
        """Click what a function of JavaScript gives."""
        self.run(f"() => ({_TO_THE_MIDDLE})(({element})())").click()

    def picture(self, path: Path) -> None:
        """Write what the window shows."""
        self._driver.save_screenshot(str(path))

    def quit(self) -> None:
        """Leave it as it is."""
