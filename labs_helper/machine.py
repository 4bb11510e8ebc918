"""What this machine is, what it can hold, and which model answers on it."""

from __future__ import annotations

import html
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from labs_helper import budget, catalog, corrections, endpoints, free, store
from labs_helper.catalog import ModelCard
from labs_helper.corrections import blas
from labs_helper.errors import BadRequest, LabError, ModelNotHere, NotEnoughMemory

OK, NOTE, FIX = "OK", "NOTE", "FIX"
ENDPOINT = "endpoint"  # a tier and a role beside those of the catalog: a server that LABS_ENDPOINT names
LAB_ROLES = {
    "00": ("instruct",), "01": ("instruct", "instruct-previous"), "02": ("vision",), "03": ("moe",), "07": ("moe",),
}  # fmt: skip


# -- memory -----------------------------------------------------------------------------------------------


def memory_total() -> int:
    """Memory that this process may use in all, in bytes: the machine's, or its container's limit.

    Example:
        memory_total() / 2**30
    """
    return free.total()


def memory_free() -> int:
    """Memory that is free now, in bytes, for this process: the least of machine, container and GPU.

    LABS_MEMORY_GB, in gigabytes, is taken instead if it is set.

    Example:
        memory_free() / 2**30
    """
    return free.tightest().left


def memory_used() -> int:
    """Memory that this process holds now, in bytes.

    Example:
        memory_used() / 2**20
    """
    import psutil

    return psutil.Process().memory_info().rss


def require_memory(needed: int, what: str) -> None:
    """Raise NotEnoughMemory if `needed` bytes do not fit in the memory that is free now.

    what: what the memory is for, for the message. `require` says more, and should be used where a model is loaded.

    Example:
        require_memory(2_500_000_000, "phi-3.5-mini-instruct-4bit")
    """
    free = memory_free()
    if needed + budget.SPARE > free:
        raise NotEnoughMemory(
            f"{what} needs about {size(needed)} of memory and {size(max(0, free - budget.SPARE))} are free.",
            "Close other programs, release models you no longer use (model.release()), ask for fewer tokens, "
            'or take the bundled model: load(..., tier="tiny").',
        )


def require(path: str | Path, tokens: int, *, crops: int = 0) -> budget.Need:
    """Raise NotEnoughMemory if the model in a folder does not fit with a request of this length.

    path: a checkpoint folder. tokens: prompt and answer together. crops: see `budget.need`.
    Returns the need. The refusal names a model that fits, and the setting that would make this one fit.

    Example:
        require("models/phi-3.5-mini-instruct-4bit", 4096)
    """
    on_cpu, room = not _has_gpu(), memory_free()
    need = budget.of_folder(path, tokens, on_cpu=on_cpu, crops=crops)
    if need.total <= room:
        return need
    fewer = budget.longest_of_folder(path, room, on_cpu=on_cpu, crops=crops)
    advice = []
    if fewer:
        advice.append(f"At most {fewer:,} tokens fit now: shorten the prompt or lower max_tokens.")
    card = store.card_for(path)
    advice.append(_model_that_fits(card, tokens, on_cpu, room, need.total))
    advice.append(_setting_that_helps(free.tightest(), need.total))
    advice.append("Other models give their memory back with model.release().")
    raise NotEnoughMemory(
        f"{card.name} needs {need}. {size(room)} are free.", " ".join(text for text in advice if text)
    )


def _model_that_fits(card: ModelCard, tokens: int, on_cpu: bool, room: int, most: int) -> str:
    """A sentence with the first model of the same role that needs less and fits; empty if there is none."""
    for other in catalog.cards():
        if other.role != card.role or other.name == card.name or other.not_yet:
            continue
        if other.format == "gguf" and not has_llama_cpp():
            continue
        here = _is_here(other)
        within = min(tokens, other.context or tokens)
        need = (budget.of_folder(store.locate(other), within, on_cpu=on_cpu) if here else
                budget.of_card(other, within, on_cpu=on_cpu))  # fmt: skip
        if need is not None and need.total <= min(room, most - 1):
            first = "" if here else f" (first: labs models fetch {other.name})"
            return f'load("{other.name}") needs {size(need.total)} and fits{first}.'
    return ""


def _setting_that_helps(limit: free.Limit, needed: int) -> str:
    if limit.kind == "LABS_MEMORY_GB":
        return f"LABS_MEMORY_GB is set; unset it, or set it to at least {needed / 1e9:.1f}."
    if limit.kind == "container":
        return (
            f"The container's limit is in the way: give it {size(needed - limit.left)} more (docker run --memory, "
            "Docker Desktop's settings, or a larger Codespaces machine)."
        )
    if limit.kind == "gpu":
        megabytes = -(-(limit.total + needed - limit.left) // 2**20)
        if megabytes * 2**20 > memory_total() - 4 * 2**30:
            return "This Mac has too little memory for it."
        return f"macOS keeps the rest from the GPU: `sudo sysctl iogpu.wired_limit_mb={megabytes}` lifts that."
    return "" if needed > memory_total() else "Close other programs: the machine itself has enough."


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
    """The model that answers for a role: its card, its folder, and the reason."""

    card: ModelCard
    path: Path | None  # None for an endpoint
    reason: str


def choose(name: str, tier: str | None = None) -> Choice:
    """Which model answers for a role or name on this machine.

    name: a role, a catalog name, the path of a checkpoint folder, or "endpoint".
    tier: "auto", "tiny", "real" or "endpoint"; None takes LABS_MODELS, whose default is "auto". Auto takes the real
        model if it is already here, fits in the free memory and something runs it well, MLX on a GPU or llama.cpp;
        else the bundled one. An endpoint is taken only where it is asked for: questions leave the machine then.
    Raises BadRequest for unknown names and tiers, ModelNotHere if the model is not on this machine.

    Example:
        choose("instruct").reason
    """
    if not isinstance(name, (str, os.PathLike)) or not str(name).strip():
        raise BadRequest(f"{name!r} is not the name of a model.", "Use a role such as 'instruct'.")
    name, asked = os.fspath(name), tier
    tier = tier or os.environ.get("LABS_MODELS") or "auto"
    if tier not in ("auto", *catalog.TIERS, ENDPOINT):
        where = "" if asked else " (from LABS_MODELS)"
        every = ", ".join((*catalog.TIERS, ENDPOINT))
        raise BadRequest(f"There is no tier {tier!r}{where}.", f"Use one of: auto, {every}.")
    if name == ENDPOINT:
        return _endpoint("you asked for it")
    if store.looks_like_path(name):
        card = store.card_for(name)
        return Choice(card, Path(card.path), "you gave its folder")
    found = catalog.find(name)
    if name == found[0].name:
        if found[0].not_yet:
            raise BadRequest(f"This version cannot run {name}: {found[0].not_yet}.",
                             f'Take another model of the role: load("{found[0].role}").')  # fmt: skip
        return Choice(found[0], store.locate(found[0]), "you asked for it by name")
    if tier == ENDPOINT:
        return _endpoint(f"the tier {tier!r} was asked for")
    found = [card for card in found if not card.not_yet]
    tiny = next((card for card in found if card.tier == "tiny"), None)
    real = [card for card in found if card.tier == "real"]
    if tier == "auto":
        return _choose_auto(tiny, real)
    if not (real if tier == "real" else tiny):
        raise BadRequest(f"There is no {tier} model for {name!r}.", f"There is: {found[0].tier}.")
    card = tiny if tier == "tiny" else _best_real(real)
    return Choice(card, store.locate(card), f"the tier {tier!r} was asked for")


def _endpoint(reason: str) -> Choice:
    place = endpoints.from_environment()
    card = ModelCard(name=place.name, role=ENDPOINT, tier=ENDPOINT, format=ENDPOINT, source=place.url)
    return Choice(card, None, f"{reason}; LABS_ENDPOINT leads to {place.host}")


def _best_real(real: list[ModelCard]) -> ModelCard:
    """The first real model that is here, one that runs well before one that only runs; else the first of all."""
    here = [card for card in real if _is_here(card)]
    return next((card for card in here if not _slow(card)), (here or real)[0])


def _slow(card: ModelCard) -> str:
    """Why a real model would run badly or not at all on this machine, whatever its size; empty if it runs well."""
    if card.format == "gguf":
        if not has_llama_cpp():
            return "the GGUF model is here, but llama.cpp is not installed: pip install 'labs-helper[x86]'"
    elif not _has_gpu():
        return (
            "the real model is here, but without a GPU that MLX can use one token takes seconds; "
            'load(..., tier="real") takes it all the same'
        )
    return ""


def _is_here(card: ModelCard) -> bool:
    try:
        store.locate(card)
    except ModelNotHere:
        return False
    return True


def _choose_auto(tiny: ModelCard | None, real: list[ModelCard]) -> Choice:
    reasons = {}
    for card in real:  # in the order of preference
        choice, reasons[card.name] = _try_real(card)
        if choice is not None:
            return choice
    if tiny is None:
        return Choice(real[0], store.locate(real[0]), "it is the only one for this role")
    here = [card.name for card in real if _is_here(card)]
    why = reasons[here[0] if here else real[0].name] if real else "it is the only one for this role"
    return Choice(tiny, store.locate(tiny), why)


def _try_real(card: ModelCard) -> tuple[Choice | None, str]:
    """Whether this real model can answer here, and if not, why."""
    try:
        path = store.locate(card)
        store.verify(path, ships_code=card.ships_code)
    except LabError as error:
        return None, f"the real model cannot be used here: {error.what}"
    if slow := _slow(card):
        return None, slow
    needed, free = budget.of_folder(path, on_cpu=False).total, memory_free()
    if needed > free:
        return None, f"the real model needs {size(needed)} of memory and {size(free)} are free"
    how = " and llama.cpp runs it" if card.format == "gguf" else ""
    return Choice(card, path, f"it is on this machine and fits in the free memory{how}"), ""


def has_llama_cpp() -> bool:
    """Whether xllamacpp is installed: the extra [x86] brings it.

    Example:
        has_llama_cpp()
    """
    return importlib.util.find_spec("xllamacpp") is not None


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
