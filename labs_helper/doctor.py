"""Check this machine for the labs: `check_setup()` and `labs doctor`.

Each line of the report is one function, `..._row`. None of them imports MLX into this process.
The module is long because every check of a machine is here; none uses another.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from labs_helper import catalog, corrections, store
from labs_helper.capacity import limits
from labs_helper.catalog import Lab, endpoints, find_lab, labs
from labs_helper.common import nvidia, platforms, settings, translate
from labs_helper.common.markup import columns, escape, html_table, padded, printable
from labs_helper.common.translate import _
from labs_helper.common.units import size
from labs_helper.corrections import blas
from labs_helper.errors import LabError
from labs_helper.exercises import order, progress
from labs_helper.models.route import route
from labs_helper.models.selection import choose

Status: TypeAlias = Literal["OK", "NOTE", "FIX"]
OK: Status = "OK"
NOTE: Status = "NOTE"  # works, but read it
FIX: Status = "FIX"  # has to be repaired

_FREE_MEMORY = 1e9  # bytes: what a notebook with a bundled model takes, and some room
_FREE_DISK = 5e8  # bytes: notebooks and their copies
# What Python's webbrowser module looks for, and wslview, which opens the browser of Windows.
_BROWSERS = (
    *("xdg-open", "wslview", "x-www-browser", "firefox", "chromium", "chromium-browser", "google-chrome"),
    *("microsoft-edge", "epiphany", "falkon", "konqueror"),
)
_SHORT_PATH = 90  # characters of the course's folder; the longest path in its environment has 160 more
_EAST_ASIAN = ("cjk", "nanum", "unfonts", "baekmuk", "malgun")  # parts of the names of files with Korean in them
# The same as in docs/hub/jupyterhub_config.py, which cannot import this.
MLX_SERVER_BOUND = "--prompt-cache-size 2 --decode-concurrency 4 --prompt-concurrency 2"


@dataclass(frozen=True)
class Row:
    """One line of the report.

    Attributes:
        name: what was checked.
        status: "OK", "NOTE" (works, but read it) or "FIX" (has to be repaired).
        detail: what this machine has.
        advice: what to do; empty if nothing.
    """

    name: str
    status: Status
    detail: str
    advice: str = ""


@dataclass(frozen=True)
class SetupReport:
    """What `check_setup` says. Shows as a table.

    Attributes:
        lab: the number of the lab, or None for all labs.
        rows: the lines.
        versions: packages and machine in one line, for a bug report.
    """

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
        to_fix = [row.name for row in self.rows if row.status == FIX]
        if to_fix:
            return _("Not ready: fix {names}.").format(names=", ".join(to_fix))
        return _("Ready.") if self.lab is None else _("Ready for lab {lab}.").format(lab=self.lab)

    @property
    def _bug_report(self) -> str:
        return _("For a bug report: {versions}").format(versions=self.versions)

    def __str__(self) -> str:
        width = max(columns(row.name) for row in self.rows)
        lines = [self.conclusion]
        for row in self.rows:
            lines.append(f"  {row.status:<4}  {padded(row.name, width)}  {row.detail}")
            if row.advice:
                lines.append(f"  {'':<4}  {'':<{width}}  -> {row.advice}")
        lines.append(self._bug_report)
        return printable("\n".join(lines))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = [
            (row.status, row.name, ". ".join(part for part in (row.detail, row.advice) if part)) for row in self.rows
        ]
        table = html_table([_("Status"), _("Check"), _("Result, and what to do")], rows, header=1)
        return f"<p><strong>{escape(self.conclusion)}</strong></p>{table}<p>{escape(self._bug_report)}</p>"


def check_setup(lab: str | None = None) -> SetupReport:
    """Check this machine for the labs, in about a second, and say what to do where something is wrong.

    It also opens the fast BLAS on Linux, so call it before the first cell that imports mlx. In a notebook it sees to
    it that a name which a cell above makes, and which is missing, is told in one line.

    Args:
        lab: the number of a lab, "01"; None checks the models of all labs.

    Raises:
        BadRequest: there is no such lab.

    Example:
        check_setup("01")
    """
    chosen = labs() if lab is None else (find_lab(lab),)
    corrections.before_mlx()
    order.watch(None if lab is None else chosen[0].stem)
    roles = tuple(dict.fromkeys(role for entry in chosen for role in entry.roles))
    rows = (
        python_row(),
        machine_row(),
        memory_row(),
        disk_row(),
        mlx_row(),
        *nvidia_rows(),
        blas_row(),
        compiler_row(),
        kernel_row(),
        progress_row(),
        *language_rows(None if lab is None else chosen[0].stem),
        *missing_rows(),
        *windows_rows(),
        *checkpoint_rows(roles),
        *answer_rows(roles, None if lab is None else chosen[0]),
        *endpoint_rows(),
    )
    return SetupReport(None if lab is None else chosen[0].number, rows, versions())


def versions() -> str:
    """Versions and machine in one line, for bug reports.

    Example:
        print(versions())
    """
    # In English in every language: the reader is a maintainer.
    packages = ("mlx", "mlx-lm", "mlx-vlm", "transformers", "ipykernel", "jupyterlab")
    return " | ".join(
        (
            f"labs_helper {version('labs-helper') or 'missing'}",
            f"Python {platform.python_version()}",
            *(f"{package} {version(package) or 'missing'}" for package in packages),
            platform.platform(terse=True),
            platform.machine(),
            f"{os.cpu_count()} cores",
            size(limits.total()),
        )
    )


def version(package: str) -> str | None:
    """The version of an installed package; None if it is missing.

    Example:
        version("mlx")
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def python_row() -> Row:
    """The version of Python."""
    if (3, 13, 0) <= sys.version_info[:3] <= (3, 13, 5):
        # Seen in 3.13.0 and 3.13.5: a check of such a function took 2 to 3 GB and a minute; 3.11 and 3.12 raise
        # RecursionError at once.
        detail = _("{version}, in which a function that calls itself without end fills the memory")
        return Row("Python", NOTE, detail.format(version=platform.python_version()), _("Use Python 3.12 if you can."))
    good = sys.version_info >= (3, 11)
    return Row(
        "Python", OK if good else FIX, platform.python_version(), "" if good else _("Install Python 3.11 or newer.")
    )


def machine_row() -> Row:
    """Chip and system, and whether MLX runs on them."""
    name, detail = _("machine"), f"{_chip()}, {_cores()}, {platform.system()} {platform.release()}"
    if sys.platform == "darwin" and platform.machine() != "arm64":
        advice = _("On a Mac, MLX needs Apple silicon. Use Codespaces, or a computer with Linux or Windows.")
        return Row(name, FIX, detail, advice)
    if sysconfig.get_platform() == "win-arm64":
        advice = _("Some packages have no ARM64 form for Windows. Install the 64-bit x86 Python: Windows runs it here.")
        return Row(name, FIX, detail, advice)
    if not platforms.has_mlx_gpu():
        advice = _(
            "MLX runs on the CPU here: fine for the bundled models. Real ones run through llama.cpp and ONNX Runtime."
        )
        return Row(name, NOTE, detail, advice)
    return Row(name, OK, detail)


def _cores() -> str:
    return _("{count} cores").format(count=os.cpu_count())


def _chip() -> str:
    if sys.platform == "darwin":
        asked = subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, timeout=5, check=False
        )
        return asked.stdout.strip() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return (platform.processor() if platforms.is_windows() else "") or platform.machine()


def memory_row() -> Row:
    """The memory that is free now."""
    free = limits.free()
    detail = _("{free} free of {total}").format(free=size(free), total=size(limits.total()))
    if free < _FREE_MEMORY:
        advice = _("Close other programs or notebooks: a lab works best with 1 GB free.")
        return Row(_("memory"), NOTE, detail, advice)
    return Row(_("memory"), OK, detail)


def disk_row() -> Row:
    """The space that is free where the notebooks are."""
    free = shutil.disk_usage(catalog.course_folder()).free
    detail = _("{free} free").format(free=size(free))
    if free < _FREE_DISK:
        return Row(_("disk"), NOTE, detail, _("Free some space: your notebooks are saved on this disk."))
    return Row(_("disk"), OK, detail)


def mlx_row() -> Row:
    """Whether MLX is installed and starts."""
    installed = {package: version(package) for package in ("mlx", "mlx-lm")}
    missing = _("missing")
    detail = ", ".join(f"{package} {number or missing}" for package, number in installed.items())
    if None in installed.values():
        advice = _("Run `{command}`; it installs what is missing.").format(command=platforms.command("setup"))
        return Row("MLX", FIX, detail, advice)
    detail = ", ".join((detail, *nvidia.backends()))
    if "mlx.core" in sys.modules:
        return Row("MLX", OK, detail)
    # In a process of its own: a wheel for another machine ends the process, and that must not be the kernel.
    code = "import mlx.core as mx; mx.eval(mx.ones(1) + 1); print(mx.default_device().type.name)"
    try:
        tried = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        return Row(
            "MLX",
            FIX,
            _("{versions}; importing it takes over 30 seconds").format(versions=detail),
            _("Try again. If it stays slow, reinstall mlx."),
        )
    if tried.returncode:
        ended = _("it ends with code {code}").format(code=tried.returncode)
        return Row(
            "MLX",
            FIX,
            _("{versions}; it does not start: {reason}").format(
                versions=detail, reason=(tried.stderr.strip().splitlines() or [ended])[-1]
            ),
            _what_mlx_needs(),
        )
    device = tried.stdout.strip().upper()
    return Row("MLX", OK, _("{versions}, computes on the {device}").format(versions=detail, device=device))


def _what_mlx_needs() -> str:
    if platforms.is_windows():
        return _(
            "Run `{command}`. If it still does not start, install Microsoft's Visual C++ runtime (vc_redist.x64.exe)."
        ).format(command=platforms.command("setup"))
    if sys.platform == "darwin":
        return _("MLX needs macOS 14 or newer, and a Python for Apple silicon.")
    return _("Run `{command}`. MLX needs glibc 2.35 or newer: Ubuntu 22.04, Debian 12.").format(
        command=platforms.command("setup")
    )


def nvidia_rows() -> list[Row]:
    """The NVIDIA card, its driver and memory, and whether MLX computes on it. None without a card and without CUDA.

    Example:
        nvidia_rows()      # []
    """
    card, installed = nvidia.card(), nvidia.backends()
    cuda = next((name for name in installed if name in nvidia.DRIVERS), None)
    if card is None and cuda is None:
        return []
    detail = (
        _("no card that its driver knows")
        if card is None
        else _("{card}, driver {driver}, {free} free of {total}").format(
            card=card.name, driver=card.driver, free=size(card.free), total=size(card.memory)
        )
    )
    if cuda is None:
        return [_card_without_cuda(card, detail)] if card else []
    wrong = nvidia.trouble(card, installed)
    if wrong is None:
        return [Row("NVIDIA", OK, _("{card}; MLX computes on it ({package})").format(card=detail, package=cuda))]
    return [Row("NVIDIA", FIX, detail, _cuda_advice(wrong, cuda))]


def _card_without_cuda(card: nvidia.Card, detail: str) -> Row:
    extra = nvidia.fitting(card)
    if extra is None:
        driver = ".".join(map(str, nvidia.DRIVERS["mlx-cuda-12"]))
        advice = _("MLX uses it from driver {driver} and compute capability 7.5 on. Until then it computes on the CPU.")
        return Row("NVIDIA", OK, detail, advice.format(driver=driver))
    advice = _("MLX computes on the CPU. For the card: {command} (some GB of packages).")
    return Row("NVIDIA", NOTE, detail, advice.format(command=_gpu_command(extra)))


def _cuda_advice(wrong: str, package: str) -> str:
    """What to do where a CUDA package of MLX is installed and cannot compute."""
    needed = ".".join(map(str, nvidia.DRIVERS[package]))
    match wrong:
        case "both":
            return _("mlx-cpu and {package} are both installed and share their files' names. Run `{command}`.").format(
                package=package, command=_gpu_command("cuda12" if package == "mlx-cuda-12" else "cuda")
            )
        case "driver":
            return _("{package} needs driver {needed}: install a newer one from NVIDIA, or run `{command}`.").format(
                package=package,
                needed=needed,
                command=_gpu_command("cuda12" if package == "mlx-cuda-13" else "cpu"),
            )
        case "old":
            return _("{package} needs compute capability 7.5. Run `{command}`; MLX then computes on the CPU.").format(
                package=package, command=_gpu_command("cpu")
            )
        case _:
            return _(
                "{package} needs a card with NVIDIA's driver. Without one, run `{command}` to compute on the CPU."
            ).format(package=package, command=_gpu_command("cpu"))


def _gpu_command(kind: str) -> str:
    return f"{platforms.command('setup')} {'--gpu ' if platforms.is_windows() else 'GPU='}{kind}"


def windows_rows() -> list[Row]:
    """Long paths, which Windows opens only if somebody has said so. No row elsewhere, and none for a short folder.

    Example:
        windows_rows()      # []
    """
    if platforms.long_paths():
        return []
    here = len(str(catalog.course_folder().resolve()))
    if here <= _SHORT_PATH:
        return []
    detail = _("the course's folder has {count} characters, and Windows opens paths up to 260").format(count=here)
    return [Row(_("paths"), NOTE, detail, _("Move the course to a short folder, such as C:\\labs."))]


def blas_row() -> Row:
    """Whether MLX computes with a fast BLAS.

    Example:
        blas_row().detail      # "OpenBLAS"
    """
    status = blas.preload()
    return Row("BLAS", OK if status.fast else NOTE, status.library, status.advice)


def compiler_row() -> Row:
    """Whether MLX would start a C++ compiler for its kernels."""
    name = _("compiler")
    if sys.platform == "darwin" or nvidia.is_used():
        return Row(name, OK, _("not needed"))
    if os.environ.get("MLX_DISABLE_COMPILE", "0") not in ("", "0"):
        return Row(name, OK, _("not needed (MLX_DISABLE_COMPILE is set)"))
    if platforms.is_windows():
        detail = _("MLX looks for Visual Studio's compiler for each new kernel")
        return Row(name, NOTE, detail, _("Unset MLX_DISABLE_COMPILE; the labs then switch the compiler off."))
    if shutil.which("g++") is None:
        return Row(name, OK, _("no g++: MLX runs without compiled kernels"))
    return Row(
        name,
        NOTE,
        _("g++ compiles each new MLX kernel, which takes about a second each time"),
        _("Unset MLX_DISABLE_COMPILE; the labs then switch the compiler off."),
    )


def language_rows(stem: str | None) -> list[Row]:
    """LABS_LANGUAGE, if no such language is here, and the notebook, if it belongs to another version of the package.

    Args:
        stem: the file name of the lab, without its ending.
    """
    rows = []
    asked = translate.code(settings.LANGUAGE.text)
    if asked and asked not in translate.languages():
        detail = _("LABS_LANGUAGE is {text!r}, and the labs do not speak it").format(text=settings.LANGUAGE.text[:40])
        advice = _("Use one of: {names}.").format(names=", ".join(translate.languages()))
        rows.append(Row(_("language"), NOTE, detail, advice))
    made_for = None if stem is None else _version_of_the_notebook(stem)
    if made_for and made_for != version("labs-helper"):
        detail = _("it was translated for version {one} of the package, which has version {other} here").format(
            one=made_for, other=version("labs-helper")
        )
        rows.append(Row(_("notebook"), NOTE, detail, _("If its words do not fit what you see, run `labs update`.")))
    return rows


def _version_of_the_notebook(stem: str) -> str | None:
    """The version for which this kernel's notebook was translated; None for an English one, or if it is unknown."""
    named = Path(os.environ.get("JPY_SESSION_NAME", ""))
    file = named if named.suffix == ".ipynb" else Path(f"{stem}.ipynb")
    try:
        said = json.loads(file.read_text("utf-8"))["metadata"]["labs"]["version"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return said if isinstance(said, str) else None


def kernel_row() -> Row:
    """The version of ipykernel, which runs the notebooks."""
    installed = version("ipykernel")
    if installed is None:
        return Row("ipykernel", NOTE, _("missing"), _("Install it to use the notebooks: pip install ipykernel."))
    if installed.startswith("7.0."):
        return Row("ipykernel", FIX, installed, _("Version 7.0 loses output from threads: pip install -U ipykernel."))
    return Row("ipykernel", OK, installed)


def progress_row() -> Row:
    """Whether results of `check` can be noted."""
    name = _("progress")
    try:
        on = progress.is_on()
    except LabError as error:
        return Row(name, FIX, error.what, error.do)
    if not on:
        return Row(name, OK, _("not noted (LABS_PROGRESS is off)"))
    what, do = progress.trouble()
    if what:
        return Row(name, NOTE, what, do)
    return Row(name, OK, _("noted in {file}").format(file=progress.progress_file()))


def missing_rows() -> list[Row]:
    """What a small Linux system lacks, and what that costs. Nothing of it keeps a lab from running.

    Example:
        [row.name for row in missing_rows()]      # ["libGL", "libgomp", "browser", "fonts"] in an empty Debian
    """
    if not sys.platform.startswith("linux"):
        return []
    rows = []
    if _opencv_lacks_libgl():
        detail = _("missing: `import cv2` fails, and no lab needs it")
        rows.append(
            Row("libGL", OK, detail, _("For notebooks of your own that use OpenCV: sudo apt-get install libgl1."))
        )
    if _llama_cpp_lacks_openmp():
        detail = _(
            "missing: llama.cpp cannot start, which runs real models where MLX has no GPU; bundled ones need none"
        )
        rows.append(Row("libgomp", OK, detail, _("If you want those: sudo apt-get install libgomp1.")))
    browser = _has_browser()
    if not browser:
        detail = _("none on this computer: `make lab BROWSER=0` prints an address, and browser tests cannot run")
        rows.append(Row(_("browser"), OK, detail))
    if not _has_east_asian_font():
        # The text of tables and most figures is drawn by the browser, so the fonts of its computer count.
        detail = _("none for Chinese, Japanese and Korean: a browser on this computer shows boxes in their place")
        advice = _("If you read the notebooks on this computer: sudo apt-get install fonts-noto-cjk.")
        rows.append(Row(_("fonts"), NOTE if browser else OK, detail, advice))
    return rows


def _opencv_lacks_libgl() -> bool:
    """Whether opencv-python is installed in the form that needs libGL, and the system has none."""
    return version("opencv-python") is not None and _lacks("libGL.so.1")


def _llama_cpp_lacks_openmp() -> bool:
    return version("xllamacpp") is not None and _lacks("libgomp.so.1")


def _lacks(library: str) -> bool:
    """Whether neither the system nor this environment (conda's) has a library; False if nobody can tell."""
    libraries = _asked("ldconfig", "-p")
    return bool(libraries) and library not in libraries and not (Path(sys.prefix) / "lib" / library).exists()


def _has_browser() -> bool:
    return any(shutil.which(name) for name in _BROWSERS)


def _has_east_asian_font() -> bool:
    """Whether fontconfig knows a font for Korean; without fontconfig, whether a font file looks like one."""
    if shutil.which("fc-list"):
        return bool(_asked("fc-list", ":lang=ko", "family").strip())
    folders = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path("~/.local/share/fonts").expanduser())
    names = (file.name.lower() for folder in folders if folder.is_dir() for file in folder.rglob("*.[ot]t[fc]"))
    return any(part in name for name in names for part in _EAST_ASIAN)


def _asked(*command: str) -> str:
    """What a program of the system prints; "" if it is missing, fails or takes too long."""
    # An ordinary user's PATH may lack the folders of ldconfig.
    path = shutil.which(command[0]) or shutil.which(command[0], path="/usr/sbin:/sbin")
    if path is None:
        return ""
    try:
        return subprocess.run([path, *command[1:]], capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def checkpoint_rows(roles: Iterable[str]) -> list[Row]:
    """Whether the bundled models of these roles are whole."""
    wanted, rows = set(roles), []
    for card in catalog.cards():
        if card.tier != "tiny" or card.role not in wanted:
            continue
        try:
            store.verify(store.locate(card))
        except LabError as error:
            rows.append(Row(card.name, FIX, error.what, error.do))
        else:
            rows.append(Row(card.name, OK, _("complete, {size}").format(size=size(card.bytes_on_disk))))
    return rows


def answer_rows(roles: Iterable[str], lab: Lab | None = None) -> list[Row]:
    """Which model answers for each of these roles, and why; for one lab also how the real one would come here."""
    rows = []
    bundled = lab is not None and lab.bundled
    for role in roles:
        name = _("role {role}").format(role=role)
        try:
            choice = choose(role, "tiny" if bundled else None)
        except LabError as error:
            rows.append(Row(name, FIX, error.what, error.do))
        else:
            reason = _("this lab asks the bundled models on every machine") if bundled else choice.reason
            answers = _("{model} answers: {reason}").format(model=choice.card.name, reason=reason)
            rows.append(Row(name, OK, answers, "" if lab is None or bundled else route(role, experts=lab.experts)))
    return rows


def endpoint_rows() -> list[Row]:
    """The model server, if LABS_ENDPOINT names one. Nothing is asked from it."""
    named = settings.ENDPOINT
    if not named.text:
        return []
    try:
        endpoint = endpoints.from_environment()
    except LabError as error:
        return [Row(named.name, NOTE, error.what, error.do)]
    if named.text.lower() == "mlx":
        detail = _("mlx_lm.server at {host}; its memory grows with the questions unless it is bounded")
        advice = _("Start it with {options} (docs/hub.md says why).").format(options=MLX_SERVER_BOUND)
        return [Row(named.name, NOTE, detail.format(host=endpoint.host), advice)]
    return [Row(named.name, OK, endpoint.host)]
