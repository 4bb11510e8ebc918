"""Check this machine for the labs: `check_setup()` and `labs doctor`."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from labs_helper import catalog, corrections, store
from labs_helper.capacity import limits
from labs_helper.catalog import find_lab, labs
from labs_helper.common.markup import escape, html_table
from labs_helper.common.platforms import has_apple_gpu
from labs_helper.common.translate import _
from labs_helper.common.units import size
from labs_helper.corrections import blas
from labs_helper.errors import LabError
from labs_helper.models.selection import choose

OK, NOTE, FIX = "OK", "NOTE", "FIX"


@dataclass(frozen=True)
class Row:
    """One line of the report. status: "OK", "NOTE" (works, but read it) or "FIX" (has to be repaired)."""

    name: str
    status: str
    found: str
    advice: str = ""


@dataclass(frozen=True)
class SetupReport:
    """What `check_setup` found. Shows as a table; `ok` is False if something has to be fixed."""

    lab: str | None
    rows: tuple[Row, ...]
    versions: str

    @property
    def ok(self) -> bool:
        """Whether the labs can run: no row says FIX."""
        return all(row.status != FIX for row in self.rows)

    @property
    def conclusion(self) -> str:
        """The report in one sentence."""
        bad = [row.name for row in self.rows if row.status == FIX]
        if bad:
            return f"Not ready: fix {', '.join(bad)}."
        return "Ready." if self.lab is None else f"Ready for lab {self.lab}."

    def __str__(self) -> str:
        width = max(len(row.name) for row in self.rows)
        lines = [self.conclusion]
        for row in self.rows:
            lines.append(f"  {row.status:<4}  {row.name:<{width}}  {row.found}")
            if row.advice:
                lines.append(f"  {'':<4}  {'':<{width}}  -> {row.advice}")
        lines.append(f"For a bug report: {self.versions}")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = [(row.status, row.name, f"{row.found} {row.advice}".strip()) for row in self.rows]
        table = html_table([_("Status"), _("What"), _("Found, and what to do")], rows, header=1)
        report = _("For a bug report: {versions}").format(versions=self.versions)
        return f"<p><strong>{escape(self.conclusion)}</strong></p>{table}<p>{escape(report)}</p>"


def check_setup(lab: str | None = None) -> SetupReport:
    """Check this machine for the labs, in about a second, and say what to do where something is wrong.

    lab: the number of a lab, "01"; None checks the models of all labs. Also opens the fast BLAS on Linux, so call
        it before the first cell that imports mlx.
    Raises BadRequest for a lab that does not exist.

    Example:
        check_setup("01")
    """
    chosen = labs() if lab is None else (find_lab(lab),)
    corrections.before_mlx()
    roles = tuple(dict.fromkeys(role for each in chosen for role in each.roles))
    rows = [
        _python_row(),
        _platform_row(),
        _memory_row(),
        _disk_row(),
        _mlx_row(),
        _blas_row(),
        _compiler_row(),
        _kernel_row(),
        *_checkpoint_rows(roles),
        *_answer_rows(roles),
    ]
    return SetupReport(None if lab is None else chosen[0].number, tuple(rows), versions())


def versions() -> str:
    """Versions and machine in one line, for bug reports.

    Example:
        print(versions())
    """
    from labs_helper import __version__

    parts = [f"labs_helper {__version__}", f"Python {platform.python_version()}"]
    for package in ("mlx", "mlx-lm", "mlx-vlm", "transformers", "ipykernel", "jupyterlab"):
        parts.append(f"{package} {_version(package) or 'missing'}")
    parts += [platform.platform(terse=True), platform.machine(), f"{os.cpu_count()} cores", size(limits.total())]
    return " | ".join(parts)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _python_row() -> Row:
    found = platform.python_version()
    good = sys.version_info >= (3, 11)
    return Row("Python", OK if good else FIX, found, "" if good else "Install Python 3.11 or newer.")


def _platform_row() -> Row:
    found = f"{_chip()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"
    if sys.platform == "darwin" and platform.machine() != "arm64":
        return Row("machine", FIX, found, "MLX needs Apple silicon on a Mac. Use Codespaces or a Linux machine.")
    if not has_apple_gpu():
        advice = "MLX runs on the CPU here: right for the bundled models, slow for real ones."
        return Row("machine", NOTE, found, advice)
    return Row("machine", OK, found)


def _chip() -> str:
    if sys.platform == "darwin":
        asked = subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, timeout=5, check=False
        )
        return asked.stdout.strip() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


def _memory_row() -> Row:
    free = limits.free()
    found = f"{size(free)} free of {size(limits.total())}"
    if free < 1e9:
        return Row("memory", NOTE, found, "Close other programs or other notebooks; the labs like 1 GB free.")
    return Row("memory", OK, found)


def _disk_row() -> Row:
    free = shutil.disk_usage(catalog.course_folder()).free
    if free < 5e8:
        return Row("disk", NOTE, f"{size(free)} free", "Free some space; notebooks are saved there.")
    return Row("disk", OK, f"{size(free)} free")


def _mlx_row() -> Row:
    found = f"mlx {_version('mlx') or 'missing'}, mlx-lm {_version('mlx-lm') or 'missing'}"
    if "missing" in found:
        return Row("MLX", FIX, found, "Run `make lab` again, or: pip install 'mlx[cpu]' mlx-lm (on a Mac: mlx).")
    if "mlx.core" in sys.modules:
        return Row("MLX", OK, found)
    # In a process of its own: a wheel for another machine ends the process, and that must not be the kernel.
    code = "import mlx.core as mx; mx.eval(mx.ones(1) + 1); print(mx.default_device().type.name)"
    try:
        tried = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        return Row("MLX", FIX, f"{found}; importing it takes over 30 seconds", "Try again; then reinstall mlx.")
    if tried.returncode:
        last = (tried.stderr.strip().splitlines() or [f"it ends with code {tried.returncode}"])[-1]
        return Row(
            "MLX",
            FIX,
            f"{found}; it does not start: {last}",
            "On Linux install 'mlx[cpu]' (glibc 2.35 or newer, so Ubuntu 22.04, Debian 12).",
        )
    return Row("MLX", OK, f"{found}, computes on the {tried.stdout.strip().upper()}")


def _blas_row() -> Row:
    status = blas.status()
    return Row("BLAS", OK if status.fast else NOTE, status.found, status.advice)


def _compiler_row() -> Row:
    if not sys.platform.startswith("linux"):
        return Row("compiler", OK, "not needed")
    if os.environ.get("MLX_DISABLE_COMPILE", "0") not in ("", "0"):
        return Row("compiler", OK, "not needed (MLX_DISABLE_COMPILE is set)")
    if shutil.which("g++") is None:
        return Row("compiler", OK, "no g++: MLX runs without compiled kernels")
    return Row(
        "compiler",
        NOTE,
        "g++ compiles each new MLX kernel, about a second each",
        "Unset MLX_DISABLE_COMPILE; the labs then switch it off.",
    )


def _kernel_row() -> Row:
    found = _version("ipykernel")
    if found is None:
        return Row("ipykernel", NOTE, "missing", "Install it to use the notebooks: pip install ipykernel.")
    if found.startswith("7.0."):
        return Row("ipykernel", FIX, found, "Version 7.0 loses output from threads: pip install -U ipykernel.")
    return Row("ipykernel", OK, found)


def _checkpoint_rows(roles: tuple[str, ...]) -> list[Row]:
    rows = []
    for card in catalog.cards():
        if card.tier != "tiny" or card.role not in roles:
            continue
        try:
            store.verify(store.locate(card))
        except LabError as error:
            rows.append(Row(card.name, FIX, error.what, error.do))
        else:
            rows.append(Row(card.name, OK, f"complete, {size(card.bytes_on_disk)}"))
    return rows


def _answer_rows(roles: tuple[str, ...]) -> list[Row]:
    rows = []
    for role in roles:
        try:
            choice = choose(role)
        except LabError as error:
            rows.append(Row(f"role {role}", FIX, error.what, error.do))
        else:
            rows.append(Row(f"role {role}", OK, f"{choice.card.name} answers: {choice.reason}"))
    return rows
