"""Which class board this person has joined, if any: a small file, or LABS_BOARD."""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
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
        learner: a random number, a new one for each joining.
        alias: the name that the page shows.
    """

    address: str
    code: str
    learner: str
    alias: str


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
    try:
        joined = Membership(**kept)
    except TypeError:  # nothing there, or not ours
        joined = None
    if not named:
        return joined
    address, code = parse(*[*named.split(), "", ""][:2])
    if joined is None or (joined.address, joined.code) != (address, code):
        joined = Membership(address, code, secrets.token_hex(16), rules.random_alias())
        keep(joined)
    return joined


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
        raise BadRequest(
            _("The join code is missing."), _("Write it behind the address: labs board join ADDRESS CODE.")
        )
    return str(parsed), rules.plain_code(code)


def _read() -> dict[str, Any]:
    try:
        with personal.board_file().open(encoding="utf-8") as opened:
            kept = json.loads(opened.read(10_000))
    except (OSError, ValueError, RecursionError):
        return {}
    return kept if isinstance(kept, dict) else {}
