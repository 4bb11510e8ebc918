"""Numbers as people read them."""

from __future__ import annotations

from labs_helper.common.translate import _


def size(count: float | None) -> str:
    """Bytes in words; 1 GB is 10^9 bytes.

    Example:
        size(2_150_000_000)      # '2.15 GB'
    """
    if count is None:
        return _("unknown")
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return _("{count} bytes").format(count=int(count))
