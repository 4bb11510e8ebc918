"""What both sides of the class board agree on: aliases, join codes, sizes."""

from __future__ import annotations

import re
import secrets
import unicodedata

from labs_helper.common.translate import _

PORT = 8765
STATUSES = ("passed", "try again")
BATCH = 50  # results in one message
BODY = 32_768  # bytes of a message
ALIAS = 24  # characters
TRIES = 100_000
AGE = 7 * 24 * 3600.0  # seconds that a result may have waited to be sent

# Without 0 and O, 1 and I and L: learners read a code from a wall and type it.
_SIGNS = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
_CODE = 8
# Letters and marks that are not drawn at all: names made of them look alike, or like nothing (Unicode's property
# Default_Ignorable_Code_Point, as far as `clean_alias` lets its members through).
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]")
_KINDS = (
    "Brave Bright Calm Cheerful Clever Curious Eager Fair Gentle Happy Honest Jolly Kind Lively Lucky "
    "Merry Mild Neat Nimble Patient Polite Proud Quick Quiet Ready Sharp Steady Sunny Swift Warm Wise "
    "Witty "
)
_ANIMALS = (
    "Badger Beaver Bee Bison Crane Deer Dolphin Eagle Falcon Finch Fox Gecko Hare Heron Ibis Koala Lark "
    "Lemur Lynx Marten Mole Newt Otter Owl Panda Penguin Raven Robin Seal Swan Tern Wren "
)


def new_code() -> str:
    """A join code, easy to read aloud.

    Example:
        new_code()      # 'K7MQ-3XHD'
    """
    signs = "".join(secrets.choice(_SIGNS) for _sign in range(_CODE))
    return f"{signs[:4]}-{signs[4:]}"


def plain_code(text: str) -> str:
    """A code in the form in which two are compared: capital letters and digits only.

    Example:
        plain_code(" k7mq 3xhd")      # 'K7MQ3XHD'
    """
    return "".join(sign for sign in text.upper() if sign.isascii() and sign.isalnum())[:64]


def random_alias() -> str:
    """A friendly name that says nothing about the learner.

    Example:
        random_alias()      # 'Calm Otter'
    """
    return f"{secrets.choice(_KINDS.split())} {secrets.choice(_ANIMALS.split())}"


def clean_alias(text: str) -> str:
    """An alias in its normal form: letters and digits of any script, spaces, and - . ' _ between them.

    Raises:
        ValueError: with a sentence, for anything else: markup, control characters, characters that reverse text or that
            nobody sees.

    Example:
        clean_alias("  Calm   Otter ")      # "Calm Otter"
    """
    if len(text) > 4 * ALIAS:  # before any work on it
        raise ValueError(_("An alias has {count} characters at most.").format(count=ALIAS))
    alias = " ".join(unicodedata.normalize("NFC", text).split(" ")).strip()
    alias = " ".join(part for part in alias.split(" ") if part)
    if not 1 <= len(alias) <= ALIAS:
        raise ValueError(_("An alias has 1 to {count} characters.").format(count=ALIAS))
    # L letters, M marks on them, N digits. Two marks in a row are enough for every living script.
    kinds = [unicodedata.category(sign)[0] for sign in alias]
    if _UNSEEN.search(alias):
        raise ValueError(_("An alias can hold visible characters only."))
    if any(kind not in "LMN" and sign not in " -.'_" for kind, sign in zip(kinds, alias)) or "MMM" in "".join(kinds):
        raise ValueError(_("An alias is made of letters, digits, spaces and - . ' _"))
    if kinds[0] not in "LN":
        raise ValueError(_("An alias begins with a letter or a digit."))
    return alias
