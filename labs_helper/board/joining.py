"""How a room joins the class board: the commands to type, and a QR code that opens a page with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import segno

from labs_helper.common import addresses

PATH = "/join"  # the page with the command, for everybody; the code comes after the #, which browsers send to no server


@dataclass(frozen=True)
class Joining:
    """What learners need.

    Args:
        addresses: of the board, one for each network.
        code: the join code.
        only_here: nobody but this computer reaches the board.

    Example:
        Joining(["http://192.168.1.20:8765"], "K7MQ-3XHD", only_here=False).commands
    """

    addresses: Sequence[str]
    code: str
    only_here: bool

    @property
    def commands(self) -> list[str]:
        """What learners type, for each network."""
        return [f"labs board join {address} {self.code}" for address in self.addresses]

    @property
    def link(self) -> str:
        """The page that shows the command, as the QR code has it."""
        return f"{self.addresses[0]}{PATH}#{self.code}"

    @property
    def picture(self) -> str:
        """The QR code of `link`, as the address of a picture: black on white in the dark as well, for cameras."""
        code = segno.make(self.link, error="m", micro=False)
        return str(code.svg_data_uri(scale=8, border=4, dark="black", light="white"))

    def to_page(self) -> dict[str, object]:
        """All of it, for the instructor's page."""
        return {
            "code": self.code,
            "commands": self.commands,
            "link": self.link,
            "picture": self.picture,
            "only_here": self.only_here,
        }


def at(host: str, port: int, code: str) -> Joining:
    """How to join a board that listens at an address.

    Example:
        at("0.0.0.0", 8765, "K7MQ-3XHD")
    """
    return Joining(addresses.reachable(host, port), code, addresses.is_local(host))
