"""What this machine is, what it can hold, and which model answers on it."""

from __future__ import annotations

import html
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from labs_helper import catalog, corrections, store
from labs_helper.catalog import ModelCard
from labs_helper.corrections import blas
from labs_helper.errors import BadRequest, LabError, NotEnoughMemory

OK, NOTE, FIX = "OK", "NOTE", "FIX"
LAB_ROLES = {"00": ("instruct",), "01": ("instruct", "instruct-previous")}
_SPARE = 200 * 2**20  # bytes that stay free for everything else


# -- memory -----------------------------------------------------------------------------------------------


def memory_total() -> int:
    """Memory that this process may use in all, in bytes: the machine's, or its container's limit.

    Example:
        memory_total() / 2**30
    """
    import psutil

    limits = [limit for limit, _ in _container_limits()]
    return min([psutil.virtual_memory().total, *limits])


def memory_free() -> int:
    """Memory that is free now, in bytes, for this process: the machine's, or what its container has left.

    Example:
        memory_free() / 2**30
    """
    import psutil

    left = [max(0, limit - used) for limit, used in _container_limits()]
    return min([psutil.virtual_memory().available, *left])


def _container_limits(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")):
    """(limit, used) in bytes for each control group this process is in that has a limit. Linux only.

    Page cache that can be dropped at once is not counted as used.
    """
    found = []
    if not own.is_file():
        return found
    for line in own.read_text().splitlines():
        _, kinds, place = line.split(":", 2)
        if kinds == "":
            base, top = root, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in kinds.split(","):
            base, top = root / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        folder = base / place.lstrip("/")
        while folder.is_relative_to(base):
            limit, used = _number(folder / top[0]), _number(folder / top[1])
            if limit is not None and used is not None and limit < 2**60:  # v1 says "no limit" with a huge number
                found.append((limit, used - _statistic(folder / "memory.stat", top[2])))
            if folder == base:
                break
            folder = folder.parent
    return found


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):  # not there, not ours to read, or "max"
        return None


def _statistic(file: Path, name: str) -> int:
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.split()[0] == name), 0)


def require_memory(needed: int, what: str) -> None:
    """Raise NotEnoughMemory if `needed` bytes do not fit in the memory that is free now.

    what: what the memory is for, for the message.

    Example:
        require_memory(2_500_000_000, "phi-3.5-mini-instruct-4bit")
    """
    free = memory_free()
    if needed + _SPARE > free:
        raise NotEnoughMemory(
            f"{what} needs about {size(needed)} of memory and {size(max(0, free - _SPARE))} are free.",
            "Close other programs, release models you no longer use (model.release()), ask for fewer tokens, "
            'or take the bundled model: load(..., tier="tiny").',
        )


def size(count: int | float | None) -> str:
    """A number of bytes in words, 1 GB being 10^9 bytes.

    Example:
        size(2_150_000_000)      # '2.15 GB'
    """
    if count is None:
        return "unknown"
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{int(count)} bytes"


# -- which model answers ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """The model that answers for a role on this machine: its card, its folder, and the reason."""

    card: ModelCard
    path: Path
    reason: str


def choose(name: str, tier: str | None = None) -> Choice:
    """Which model answers for a role or name on this machine.

    name: a role, a catalog name, or the path of a checkpoint folder.
    tier: "auto", "tiny" or "real"; None takes LABS_MODELS, whose default is "auto". Auto takes the real model if
        it is already here, fits in the free memory and MLX has a GPU to run it on; else the bundled one.
    Raises BadRequest for unknown names and tiers, ModelNotHere if the model is not on this machine.

    Example:
        choose("instruct").reason
    """
    if not isinstance(name, (str, os.PathLike)) or not str(name).strip():
        raise BadRequest(f"{name!r} is not the name of a model.", "Use a role such as 'instruct'.")
    name, asked = os.fspath(name), tier
    tier = tier or os.environ.get("LABS_MODELS") or "auto"
    if tier not in ("auto", *catalog.TIERS):
        where = "" if asked else " (from LABS_MODELS)"
        raise BadRequest(f"There is no tier {tier!r}{where}.", f"Use one of: auto, {', '.join(catalog.TIERS)}.")
    if store.looks_like_path(name):
        card = store.card_for(name)
        return Choice(card, Path(card.path), "you gave its folder")
    found = catalog.find(name)
    if name == found[0].name:
        return Choice(found[0], store.locate(found[0]), "you asked for it by name")
    tiers = {card.tier: card for card in found}
    if tier != "auto":
        card = tiers.get(tier)
        if card is None:
            raise BadRequest(f"There is no {tier} model for {name!r}.", f"There is: {', '.join(tiers)}.")
        return Choice(card, store.locate(card), f"the tier {tier!r} was asked for")
    return _choose_auto(tiers)


def _choose_auto(tiers: dict[str, ModelCard]) -> Choice:
    tiny, real = tiers.get("tiny"), tiers.get("real")
    why = "it is the only one for this role"
    if real is not None:
        try:
            path = store.locate(real)
            store.verify(path, ships_code=real.ships_code)
        except LabError as error:
            why = f"the real model cannot be used here: {error.what}"
        else:
            needed = catalog.folder_bytes(path) or 0
            if not _has_gpu():
                why = (
                    "the real model is here, but without a GPU that MLX can use one token takes seconds; "
                    'load(..., tier="real") takes it all the same'
                )
            elif needed + _SPARE > memory_free():
                why = f"the real model needs {size(needed)} of memory and {size(memory_free())} are free"
            else:
                return Choice(real, path, "it is on this machine and fits in the free memory")
    if tiny is None:
        return Choice(real, store.locate(real), why)
    return Choice(tiny, store.locate(tiny), why)


def _has_gpu() -> bool:
    # On a Mac with Apple silicon MLX runs on the GPU; the course installs the CPU build everywhere else.
    return sys.platform == "darwin" and platform.machine() == "arm64"


# -- check_setup ------------------------------------------------------------------------------------------


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
        cells = []
        for row in self.rows:
            advice = f"<br><em>{html.escape(row.advice)}</em>" if row.advice else ""
            cells.append(
                f'<tr><td><strong>{row.status}</strong></td><th scope="row" style="text-align:left">'
                f'{html.escape(row.name)}</th><td style="text-align:left">{html.escape(row.found)}{advice}</td></tr>'
            )
        return (
            f"<p><strong>{html.escape(self.conclusion)}</strong></p><table><thead><tr>"
            '<th scope="col">Status</th><th scope="col">What</th><th scope="col">Found</th></tr></thead>'
            f"<tbody>{''.join(cells)}</tbody></table>"
            f"<p>For a bug report: <code>{html.escape(self.versions)}</code></p>"
        )


def check_setup(lab: str | None = None) -> SetupReport:
    """Check this machine for the labs, in about a second, and say what to do where something is wrong.

    lab: the number of a lab, "01"; None checks the models of all labs. Also opens the fast BLAS on Linux, so call
        it before the first cell that imports mlx.
    Raises BadRequest for a lab that does not exist.

    Example:
        check_setup("01")
    """
    if lab is not None and lab not in LAB_ROLES:
        raise BadRequest(f"There is no lab {lab!r}.", f"Use one of: {', '.join(LAB_ROLES)}.")
    corrections.before_mlx()
    roles = LAB_ROLES[lab] if lab else tuple(dict.fromkeys(role for roles in LAB_ROLES.values() for role in roles))
    rows = [_python_row(), _platform_row(), _memory_row(), _disk_row(), _mlx_row(), _blas_row(), _compiler_row(),
            _kernel_row(), *_checkpoint_rows(roles), *_answer_rows(roles)]  # fmt: skip
    return SetupReport(lab, tuple(rows), versions())


def versions() -> str:
    """Versions and machine in one line, for bug reports.

    Example:
        print(versions())
    """
    from labs_helper import __version__

    parts = [f"labs_helper {__version__}", f"Python {platform.python_version()}"]
    for package in ("mlx", "mlx-lm", "mlx-vlm", "transformers", "ipykernel", "jupyterlab"):
        parts.append(f"{package} {_version(package) or 'missing'}")
    parts += [platform.platform(terse=True), platform.machine(), f"{os.cpu_count()} cores", size(memory_total())]
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
    if not _has_gpu():
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
    free = memory_free()
    found = f"{size(free)} free of {size(memory_total())}"
    if free < 1e9:
        return Row("memory", NOTE, found, "Close other programs or other notebooks; the labs like 1 GB free.")
    return Row("memory", OK, found)


def _disk_row() -> Row:
    free = shutil.disk_usage(catalog.home()).free
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
        return Row("MLX", FIX, f"{found}; it does not start: {last}",
                   "On Linux install 'mlx[cpu]' (glibc 2.35 or newer, so Ubuntu 22.04, Debian 12).")  # fmt: skip
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
    return Row("compiler", NOTE, "g++ compiles each new MLX kernel, about a second each",
               "Unset MLX_DISABLE_COMPILE; the labs then switch it off.")  # fmt: skip


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
