"""Which class board this person has joined, if any: a small file, or LABS_BOARD."""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import asdict, dataclass, replace
from typing import Any

from labs_helper.board import rules
from labs_helper.common import addresses, files, personal, settings
from labs_helper.common.translate import _
from labs_helper.errors import BadRequest, LabError

_LEFT = {"left": True}


@dataclass(frozen=True)
class Membership:
    """The board that results go to.

    Attributes:
        address: such as "http://192.168.1.20:8765".
        code: the join code, in its plain form.
        learner: a random number, another one for each board.
        alias: the name that the page shows.
        board: what the board calls itself, by which it is known at another address; empty if it has not said it.
    """

    address: str
    code: str
    learner: str
    alias: str
    board: str = ""


def current() -> Membership | None:
    """The board that results go to, or None.

    LABS_BOARD="http://192.168.1.20:8765 CODE" joins as well, with a random alias; LABS_BOARD=off sends nothing. After
    `labs board leave` nothing is sent until the next `labs board join`, whatever LABS_BOARD says.

    Raises:
        BadRequest: LABS_BOARD holds something else.

    Example:
        current() is None      # on a new machine
    """
    named = settings.BOARD.get()
    kept = _read()
    if settings.is_off(named) or kept == _LEFT:
        return None
    joined = _checked(kept)
    if not named:
        return joined
    address, code = parse(*[*named.split(), "", ""][:2])
    if joined is not None and (joined.address, joined.code) == (address, code):
        return joined
    if joined is not None and joined.code == code:
        # Codes are random: this is the same board at another address. If not, it refuses what names another board.
        joined = replace(joined, address=address)
    else:
        joined = Membership(address, code, secrets.token_hex(16), rules.random_alias())
    keep(joined)
    return joined


def is_damaged() -> bool:
    """Whether the file is there and makes no sense, so that nothing is sent.

    Example:
        is_damaged()      # False
    """
    kept = _read()
    return personal.board_file().exists() and kept != _LEFT and _checked(kept) is None


def keep(membership: Membership | None) -> None:
    """Note the board that was joined; None notes that the person has left.

    Raises:
        LabError: the file cannot be written.

    Example:
        keep(None)
    """
    target = personal.board_file()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        content = _LEFT if membership is None else asdict(membership)
        files.write_whole(target, json.dumps(content).encode(), private=True)
    except OSError as error:
        raise LabError(
            _("{file} cannot be written ({reason}).").format(file=target, reason=error.strerror),
            _("LABS_DATA_DIR names another folder."),
        ) from error


def parse(address: str, code: str) -> tuple[str, str]:
    """The address and the join code as they are kept, from what somebody typed.

    Raises:
        BadRequest: one of them is missing or makes no sense.

    Example:
        parse("192.168.1.20:8765", "k7mq-3xhd")      # ('http://192.168.1.20:8765', 'K7MQ3XHD')
    """
    example = f"http://192.168.1.20:{rules.PORT}"
    parsed = addresses.parse(
        address, name=_("The address of the board"), example=example, scheme="http", with_path=False
    )
    if not rules.plain_code(code):
        raise BadRequest(_("The join code is missing."), _("Write it after the address: labs board join ADDRESS CODE."))
    return str(parsed), rules.plain_code(code)


def _checked(kept: dict[str, Any]) -> Membership | None:
    """A membership from what the file holds; None for anything that `keep` does not write."""
    try:
        joined = Membership(**kept)
        if not all(isinstance(value, str) for value in asdict(joined).values()):
            return None
        if parse(joined.address, joined.code) != (joined.address, joined.code):
            return None
        if rules.clean_alias(joined.alias) != joined.alias:
            return None
    except (TypeError, ValueError, BadRequest):
        return None
    hexadecimal = re.fullmatch(r"[0-9a-f]{32}", joined.learner) and re.fullmatch(r"([0-9a-f]{32})?", joined.board)
    return joined if hexadecimal else None


def _read() -> dict[str, Any]:
    try:
        with personal.board_file().open(encoding="utf-8") as opened:
            kept = json.loads(opened.read(10_000))
    except (OSError, ValueError, RecursionError):
        return {}
    return kept if isinstance(kept, dict) else {}
