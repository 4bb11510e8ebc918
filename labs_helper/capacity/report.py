"""Where the memory is, as a small table."""

from __future__ import annotations

from dataclasses import dataclass

from labs_helper.common.markup import columns, html_table, padded, printable
from labs_helper.common.translate import _
from labs_helper.common.units import size


@dataclass(frozen=True)
class MemoryReport:
    """Where the memory is, in bytes.

    Attributes:
        total: of this machine, or its container's limit.
        free: what is free now.
        models: (name, bytes of its weights) of each loaded model.
        active: what MLX uses; like the next two, None before MLX is used.
        peak: the most that MLX has used.
        cache: what MLX keeps for reuse.

    Example:
        MemoryReport(total=16 * 2**30, free=8 * 2**30).lines()
    """

    total: int
    free: int
    models: tuple[tuple[str, int], ...] = ()
    active: int | None = None
    peak: int | None = None
    cache: int | None = None

    def lines(self) -> list[tuple[str, str]]:
        """Each line of the report: a name and a size."""
        lines = [(_("this machine"), size(self.total)), (_("free now"), size(self.free))]
        lines += [(_("model {name}").format(name=name), size(count)) for name, count in self.models if count]
        if self.active is not None:
            lines += [
                (_("MLX, in use"), size(self.active)),
                (_("MLX, peak so far"), size(self.peak)),
                (_("MLX, kept for reuse"), size(self.cache)),
            ]
        return lines

    def __str__(self) -> str:
        lines = self.lines()
        width = max(columns(name) for name, _size in lines)
        return printable("\n".join(f"{padded(name, width)}  {amount:>10}" for name, amount in lines))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_table([_("Memory"), _("Size")], self.lines(), right=(1,))
