"""Set up the course and start it, on macOS, Linux and Windows. Nothing but Python is needed, and `make` calls this too.

    python start.py lab                 JupyterLab on notebooks/00-start-here.ipynb     --port 8888  --no-browser
    python start.py test                every test; words that follow go to pytest, such as tests/models
    python start.py doctor              check this machine
    python start.py setup               only set up .venv, which the other commands do on their first use

Options of each: --gpu cuda|cuda12|cpu   --wheelhouse PLACE   --python python3.12   --venv PATH   --dry-run

With uv on this computer, uv sets up, and brings a Python where there is none that the course can use. Then no Python is
needed first: `uv run --no-project start.py lab`. Otherwise venv and pip do the same. A wheelhouse (`labs workshop
wheelhouse`) takes the place of the network: a folder of that name beside the course or on a stick is found, another
folder or the address of a computer in the room is named.

This file runs on Python 3.8 and newer, so that an older one than the course needs is told what to do.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent
LEAST = (3, 11)  # as in pyproject.toml
UV_BRINGS = "3.12"  # the Python that uv fetches where there is none to use
WINDOWS = os.name == "nt"
MARKER = ".labs-ready"  # in the environment; the Makefile looks at its time, and it says what is installed
BACKENDS = {"cpu": "mlx-cpu", "cuda": "mlx-cuda-13", "cuda12": "mlx-cuda-12"}  # by the value of --gpu
# The same as in labs_helper/store/wheels.py, which this file cannot import.
MANIFEST, FORMAT, WHEELHOUSE = "labs-manifest.json", "phi35-labs-wheelhouse-1", "wheelhouse"
WHEEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,180}\.whl")
MOST_TEXT = 4_000_000  # bytes of a manifest
# What tests run with: bundled models, no network, no compiler runs, and nobody's progress.
OFFLINE = {"LABS_MODELS": "tiny", "HF_HUB_OFFLINE": "1", "MLX_DISABLE_COMPILE": "1", "LABS_PROGRESS": "off"}
TESTS = ("tests", "notebooks/solutions", "notebooks/ko/solutions/00-start-here.ipynb")
LONGEST = 1500  # seconds of all tests


class Refused(Exception):
    """Something that a person has to change: what is wrong, and what to do."""

    def __init__(self, what: str, do: str):
        super().__init__(what + "\n" + do)


def main(words: Sequence[str] | None = None) -> int:
    """Run a command. Returns its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a console that is not UTF-8 shows "?" and ends nothing
    options, rest = parser().parse_known_args(words)
    if rest and options.command in ("lab", "setup"):
        parser().error("unknown words: " + " ".join(rest))
    try:
        return COMMANDS[options.command](options, rest)
    except Refused as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """What may be typed."""
    description, options = (__doc__ or "").split("\n\n", 1)
    parsed = argparse.ArgumentParser(
        "start.py", description=description, epilog=options, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parsed.add_argument("command", choices=list(COMMANDS))
    parsed.add_argument("--gpu", choices=list(BACKENDS), help="what MLX computes on; as it was by default")
    parsed.add_argument("--wheelhouse", metavar="PLACE", help="a folder or address with packages; 'off' uses none")
    parsed.add_argument("--python", help="the Python that makes the environment")
    parsed.add_argument("--venv", type=Path, help="the environment; .venv by default")
    parsed.add_argument("--extra", action="append", default=[], help="an extra of pyproject.toml to install as well")
    parsed.add_argument("--no-uv", action="store_true", help="set up with venv and pip although uv is here")
    parsed.add_argument("--dry-run", action="store_true", help="print the commands and run none")
    parsed.add_argument("--port", type=int, default=8888)
    parsed.add_argument("--language", metavar="CODE", help="that JupyterLab and the labs speak, such as ko")
    parsed.add_argument("--no-browser", action="store_true")
    return parsed


# -- the commands -------------------------------------------------------------------------------------------------


def lab(options: argparse.Namespace, _rest: Sequence[str]) -> int:
    """JupyterLab on the first lab."""
    folder = environment(options)
    spoken = in_language(options)
    set_up(folder, options)
    note_slow_blas(folder, options)
    command = [str(python_of(folder)), "-m", "jupyterlab", "--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.port={options.port}", f"--ServerApp.root_dir={ROOT}"]
    translated = ROOT / "notebooks" / (options.language or "") / "00-start-here.ipynb"
    first = translated.relative_to(ROOT).as_posix() if translated.is_file() else "notebooks/00-start-here.ipynb"
    command += [f"--LabApp.default_url=/lab/tree/{first}"]
    command += ["--no-browser"] if options.no_browser else []
    command += ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    # With the environment on PATH, `!labs reset 01` works in a cell.
    path = os.pathsep.join((str(programs_of(folder)), os.environ.get("PATH", "")))
    return run(command, options, {"PATH": path, "JUPYTER_PREFER_ENV_PATH": "1", **spoken})


def in_language(options: argparse.Namespace) -> dict[str, str]:
    """What the labs and JupyterLab read to speak a language; its pack for JupyterLab is installed with the rest."""
    if not options.language:
        return {}
    settings = ROOT / "labs_helper" / "locale" / options.language / "jupyter"
    known = sorted(path.parent.name for path in ROOT.glob("labs_helper/locale/*/jupyter"))
    if not settings.is_dir():
        raise Refused(
            f"JupyterLab has no language {options.language!r} here.",
            f"There is: {', '.join(['en', *known])}. Leave --language out for English.",
        )
    options.extra.append(options.language)
    paths = os.pathsep.join(filter(None, (str(settings), os.environ.get("JUPYTER_CONFIG_PATH", ""))))
    return {"LABS_LANGUAGE": options.language, "JUPYTER_CONFIG_PATH": paths}


def test(options: argparse.Namespace, rest: Sequence[str]) -> int:
    """Every test, or what the words name."""
    folder = environment(options)
    set_up(folder, options)
    note_slow_blas(folder, options)
    command = [str(python_of(folder)), "-m", "pytest", *(rest or TESTS), "-n", "2", "--dist", "loadfile"]
    command += ["-m", "not browser and not hub and not engines and not training and not site"]
    command += ["--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=60"]
    limit = None if WINDOWS else shutil.which("timeout")  # macOS has none; Windows has another program of that name
    return run([limit, "--kill-after=20", str(LONGEST), *command] if limit else command, options, OFFLINE)


def doctor(options: argparse.Namespace, rest: Sequence[str]) -> int:
    """`labs doctor`, with the words that follow."""
    folder = environment(options)
    set_up(folder, options)
    return run([str(python_of(folder)), "-m", "labs_helper.cli", "doctor", *rest], options)


def setup(options: argparse.Namespace, _rest: Sequence[str]) -> int:
    """The environment alone."""
    set_up(environment(options), options)
    return 0


COMMANDS = {"lab": lab, "test": test, "doctor": doctor, "setup": setup}


def run(command: Sequence[str], options: argparse.Namespace, more: dict[str, str] | None = None) -> int:
    """Run a program to its end, with these variables. Its Ctrl-C is its own."""
    if options.dry_run:
        show(command)
        return 0
    # UTF-8 in files that other packages open without saying how; on macOS and Linux it is so anyway.
    variables = {**os.environ, "PYTHONUTF8": "1", **(more or {})}
    if not WINDOWS:
        sys.stdout.flush()
        os.chdir(str(ROOT))
        os.execvpe(command[0], list(command), variables)
    process = subprocess.Popen(command, cwd=str(ROOT), env=variables)
    while True:
        with contextlib.suppress(KeyboardInterrupt):
            return process.wait()


def show(command: Sequence[str]) -> None:
    """Print a command as it could be typed."""
    print(subprocess.list2cmdline([str(word) for word in command]))


def note_slow_blas(folder: Path, options: argparse.Namespace) -> None:
    """On Linux MLX's wheel multiplies matrices with a reference BLAS, tens of times slower than OpenBLAS."""
    code = "from labs_helper.corrections import blas; s = blas.preload(); s.fast or print('NOTE:', s.library, s.advice)"
    if sys.platform == "linux" and not options.dry_run:
        subprocess.run([str(python_of(folder)), "-c", code], cwd=str(ROOT), check=False)


# -- the environment ----------------------------------------------------------------------------------------------


def environment(options: argparse.Namespace) -> Path:
    """The folder of the environment: conda's of environment.yml if that is active, else .venv."""
    if options.venv:
        return Path.cwd() / str(options.venv)
    if os.environ.get("CONDA_DEFAULT_ENV") == "phi35-labs" and os.environ.get("CONDA_PREFIX"):
        return Path(os.environ["CONDA_PREFIX"])
    return ROOT / ".venv"


def programs_of(folder: Path) -> Path:
    """Where an environment has its programs."""
    return folder / ("Scripts" if WINDOWS else "bin")


def python_of(folder: Path) -> Path:
    """The Python of an environment."""
    if WINDOWS and (folder / "conda-meta").is_dir():
        return folder / "python.exe"
    return programs_of(folder) / ("python.exe" if WINDOWS else "python")


def set_up(folder: Path, options: argparse.Namespace) -> None:
    """Make the environment and install what is missing; nothing if all of it is there."""
    state = installed(folder)
    extras = sorted({"dev", *options.extra} | set(state.get("extras", ())))
    gpu = options.gpu or state.get("gpu", "cpu")
    if is_ready(folder) and set(extras) <= {"dev", *state.get("extras", ())} and gpu == state.get("gpu", "cpu"):
        return
    check_system(folder)
    check_card(gpu, options)
    with packages(options) as found:
        make_environment(folder, found, options)
        print(f"Setting up {shown(folder)}: one to three minutes, about 1.8 GB of disk ...", flush=True)
        wanted = ",".join([*extras, *([gpu] if gpu != "cpu" else [])])
        install = Installer(folder, found, options)
        install(["--constraint", "constraints.txt", "--editable", f".[{wanted}]"])
        choose_backend(install, gpu, state.get("gpu", "cpu"))
    # No question about news at the first start: the course asks the network for nothing.
    extension = "@jupyterlab/apputils-extension:announcements"
    quietly(
        [str(python_of(folder)), "-m", "jupyter", "labextension", "disable", "--level=sys_prefix", extension], options
    )
    if not options.dry_run:
        text = json.dumps({"extras": [extra for extra in extras if extra != "dev"], "gpu": gpu})
        (folder / MARKER).write_text(text + "\n", encoding="utf-8")


def installed(folder: Path) -> dict[str, Any]:
    """What the marker says; empty without one, or with one that says nothing."""
    try:
        state = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    right = isinstance(state, dict) and state.get("gpu") in BACKENDS and isinstance(state.get("extras"), list)
    return state if right else {}


def is_ready(folder: Path) -> bool:
    """Whether everything was installed after the lists of packages last changed."""
    try:
        done = (folder / MARKER).stat().st_mtime
        return python_of(folder).exists() and all(
            (ROOT / name).stat().st_mtime <= done for name in ("pyproject.toml", "constraints.txt")
        )
    except OSError:
        return False


def shown(path: Path) -> str:
    """A path as a person would write it here."""
    with contextlib.suppress(ValueError):
        return str(path.relative_to(ROOT))
    return str(path)


def check_system(folder: Path) -> None:
    """Say at once what would otherwise fail after minutes."""
    if sys.platform == "darwin" and platform.machine() != "arm64" and "ARM64" not in platform.version():
        raise Refused(
            "On a Mac, MLX needs Apple silicon.", "Use Codespaces, or a computer with Linux or Windows instead."
        )
    if not WINDOWS:
        return
    if sysconfig.get_platform() == "win-arm64":
        raise Refused(
            "This Python is for ARM64, and some packages have no ARM64 form for Windows.",
            "Install the 64-bit x86 Python from python.org and start with that: Windows runs it on this computer.",
        )
    if sys.maxsize < 2**32:
        raise Refused("This is a 32-bit Python.", "Install the 64-bit one from python.org.")
    if len(str(folder)) > 96 and not long_paths():
        raise Refused(
            f"The path {folder} is too long: Windows opens files up to 260 characters, and packages need 160.",
            "Move the course to a short folder such as C:\\labs, or switch long paths on in Windows.",
        )
    try:
        ctypes.CDLL("msvcp140.dll")
    except OSError:
        raise Refused(
            "Microsoft's Visual C++ runtime is missing, and MLX needs it (msvcp140.dll).",
            "Install vc_redist.x64.exe from Microsoft, then start again.",
        ) from None


def long_paths() -> bool:
    """Whether Windows opens paths with more than 260 characters."""
    if sys.platform == "win32":
        import winreg

        try:
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:
                return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])
        except OSError:
            return False
    return True


def check_card(gpu: str, options: argparse.Namespace) -> None:
    """Refuse CUDA's gigabytes where no NVIDIA card could use them."""
    if gpu == "cpu" or options.dry_run:
        return
    if sys.platform == "darwin":
        raise Refused("A Mac has no NVIDIA card that MLX could use.", "Leave out --gpu: MLX uses the Mac's own GPU.")
    if shutil.which("nvidia-smi") is None:
        raise Refused(
            "There is no NVIDIA card with its driver here: nvidia-smi is missing.",
            "Install NVIDIA's driver, or leave out --gpu.",
        )


def make_environment(folder: Path, found: Packages, options: argparse.Namespace) -> None:
    """A new environment with pip in it, unless there is one."""
    if python_of(folder).exists():
        return
    uv = find_uv(folder, found, options)
    python = find_python(options, found, with_uv=uv is not None)
    if uv:
        # With pip in it: other commands of the course use that.
        command = [uv, "venv", "--quiet", "--seed", "--python", python, *found.uv_options(), str(folder)]
        if attempt(command, options):
            return
        if not Path(python).exists() and shutil.which(python) is None:
            raise Refused(
                f"uv has found no Python {python} and could not fetch one.",
                "Install Python 3.11 or newer, or connect to a network.",
            )
    if not options.dry_run and subprocess.run([python, "-c", "import ensurepip"], stderr=subprocess.DEVNULL).returncode:
        if uv:
            raise Refused("uv could not make the environment.", "Read the lines above: it needs a network for pip.")
        raise Refused(
            f"{python} cannot make environments.",
            "On Debian or Ubuntu: apt install python3-venv. Or install uv, which needs nothing else.",
        )
    if not attempt([python, "-m", "venv", str(folder)], options):
        raise Refused(f"{folder} could not be made.", "Read the lines above; is there space on the disk?")


def choose_backend(install: Installer, gpu: str, before: str) -> None:
    """Leave one package that computes for MLX: their files have one name, so that the last one installed would win."""
    if sys.platform == "darwin" or gpu == before == "cpu":
        return
    for name in BACKENDS.values():
        if name != BACKENDS[gpu]:
            install.remove(name)
    install(["--constraint", "constraints.txt", "--no-deps", "--force-reinstall", BACKENDS[gpu]])


# -- Pythons, uv and pip ------------------------------------------------------------------------------------------


def find_python(options: argparse.Namespace, found: Packages, with_uv: bool) -> str:
    """The Python that makes the environment, by path or name; for uv also a version that it shall fetch."""
    if options.python:
        return str(options.python)
    named = [f"python{version}" for version in ("3.11", "3.12", "3.13", "3.14")] + ["python3", "python"]
    here = [] if sys.prefix != sys.base_prefix else [sys.executable]  # an environment's Python makes none
    for python in [*here, *filter(None, map(shutil.which, named))]:
        version = version_of(python)
        if version is not None and version >= LEAST and found.suits(version):
            return python
    if with_uv:
        return found.version or UV_BRINGS
    if found.version:
        raise Refused(
            f"The packages in {found.origin} are for Python {found.version}, and there is none here.",
            "Install that one, or ask for a wheelhouse with the Python that you have.",
        )
    raise Refused(
        f"Python 3.11 or newer is needed; this is {platform.python_version()}.",
        "Install it, or name it with --python. Or install uv, which brings one: uv run --no-project start.py lab",
    )


def version_of(python: str) -> tuple[int, int] | None:
    """Major and minor version; None if it does not run, as Windows' stand-in for the Store."""
    if python == sys.executable:
        return sys.version_info[:2]
    code = "import sys; print(*sys.version_info[:2])"
    try:
        asked = subprocess.run([python, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=20)
        major, minor = asked.stdout.split()
        return int(major), int(minor)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def find_uv(folder: Path, found: Packages, options: argparse.Namespace) -> str | None:
    """uv on this computer, in the environment, or in the wheelhouse."""
    if options.no_uv:
        return None
    own = programs_of(folder) / ("uv.exe" if WINDOWS else "uv")
    return shutil.which("uv") or (str(own) if own.exists() else None) or found.uv()


class Installer:
    """Installs into one environment, with uv where that is and with pip where uv is missing or fails."""

    def __init__(self, folder: Path, found: Packages, options: argparse.Namespace):
        self.python, self.found, self.options = str(python_of(folder)), found, options
        self.uv = find_uv(folder, found, options)
        if self.uv and not found.wheels and pip_has_an_index_of_its_own(self.python):
            self.uv = None  # uv does not read pip's settings, and a company's network may allow nothing else

    def __call__(self, words: Sequence[str]) -> None:
        if self.uv:
            command = [self.uv, "pip", "install", "--quiet", "--python", self.python, *self.found.uv_options(), *words]
            if attempt(command, self.options):
                return
            print("uv could not install the packages; pip tries it now ...", flush=True)
        command = [self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        if not attempt([*command, *self.found.pip_options(), *words], self.options):
            raise Refused(
                "The packages could not be installed.",
                "Read the lines above. Without a network, a wheelhouse is needed: docs/instructors.md says how.",
            )

    def remove(self, name: str) -> None:
        """Take a package away; nothing if it is not there."""
        quietly([self.python, "-m", "pip", "uninstall", "--quiet", "--yes", name], self.options)


def pip_has_an_index_of_its_own(python: str) -> bool:
    """Whether somebody has told pip where packages come from."""
    told = re.compile(r"(index-url|find-links|no-index)", re.IGNORECASE)
    if any(told.search(name.replace("_", "-")) for name in os.environ if name.startswith("PIP_")):
        return True
    command = [python, "-m", "pip", "config", "list"]
    try:
        asked = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return told.search(asked.stdout.decode("utf-8", "replace")) is not None


def attempt(command: Sequence[str], options: argparse.Namespace) -> bool:
    """Run a command in the course's folder. Returns whether it went well."""
    if options.dry_run:
        show(command)
        return True
    try:
        return subprocess.run(list(command), cwd=str(ROOT)).returncode == 0
    except OSError as error:
        print(error, file=sys.stderr)
        return False


def quietly(command: Sequence[str], options: argparse.Namespace) -> None:
    """Run a command whose failure changes little."""
    if options.dry_run:
        show(command)
        return
    subprocess.run(list(command), cwd=str(ROOT), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


# -- packages without a network -----------------------------------------------------------------------------------


class Packages:
    """Where packages come from: the package index, or the wheels of a wheelhouse for this system.

    Attributes:
        wheels: the folder with wheels; None for the index.
        version: the Python that they are for, such as "3.12"; None for any.
        origin: what a message calls it.
    """

    def __init__(self, wheels: Path | None = None, versions: Sequence[str] = (), origin: str = ""):
        self.wheels, self.versions, self.origin = wheels, list(versions), origin

    @property
    def version(self) -> str | None:
        return self.versions[-1] if self.versions else None

    def suits(self, version: tuple[int, int]) -> bool:
        """Whether there are packages for a Python."""
        return not self.versions or "{}.{}".format(*version) in self.versions

    def uv_options(self) -> list[str]:
        return ["--offline", *self.pip_options()] if self.wheels else []

    def pip_options(self) -> list[str]:
        return ["--no-index", "--find-links", str(self.wheels)] if self.wheels else []

    def uv(self) -> str | None:
        """uv out of its wheel, which is a zip file with the program in it."""
        if self.wheels is None:
            return None
        for wheel in sorted(self.wheels.glob("uv-*.whl")):
            with zipfile.ZipFile(str(wheel)) as opened:
                for name in opened.namelist():
                    if re.fullmatch(r"uv-[\w.]+\.data/scripts/uv(\.exe)?", name):
                        program = self.wheels / ("uv.exe" if WINDOWS else "uv")
                        if not program.exists():
                            program.write_bytes(opened.read(name))
                            program.chmod(0o755)
                        return str(program)
        return None


@contextlib.contextmanager
def packages(options: argparse.Namespace) -> Iterator[Packages]:
    """The source of packages. A wheelhouse is verified and copied first: what is installed is what was verified."""
    place = options.wheelhouse
    if place == "off":
        yield Packages()
        return
    found = place or next(iter(nearby()), None)
    if found is None:
        yield Packages()
        return
    house = Wheelhouse(str(found))
    versions = house.versions()
    if not versions:
        if place:
            raise house.unsuitable()
        print(f"{house.place} has nothing for {system()}, so the network is asked.", flush=True)
        yield Packages()
        return
    python = options.python and version_of(options.python)
    if python and "{}.{}".format(*python) not in versions:
        raise house.unsuitable()
    with tempfile.TemporaryDirectory(prefix="labs-wheels-") as folder:
        print(f"Packages come from {house.place}.", flush=True)
        house.copy(versions, Path(folder))
        yield Packages(Path(folder), versions, house.place)


def nearby() -> list[Path]:
    """Wheelhouses beside the course and on sticks."""
    folders = [ROOT, ROOT.parent]
    if WINDOWS:
        folders += [Path(f"{letter}:\\") for letter in "DEFGHIJKLMNOPQRSTUVWXYZ"]
    else:
        for base in ("/Volumes", "/media", "/run/media", "/mnt"):  # a stick is in it, or in a folder of the user's name
            inside = entries(Path(base))
            folders += inside + [each for one in inside for each in entries(one)]
    found = []
    for folder in folders:
        with contextlib.suppress(OSError):
            if (folder / WHEELHOUSE / MANIFEST).is_file():
                found.append(folder / WHEELHOUSE)
    return found


def entries(folder: Path) -> list[Path]:
    """What is in a folder; nothing if it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def system() -> str:
    """The name of this system in a wheelhouse."""
    machine = {"amd64": "x86_64", "aarch64": "arm64"}.get(platform.machine().lower(), platform.machine().lower())
    if WINDOWS:
        machine = "arm64" if sysconfig.get_platform() == "win-arm64" else "x86_64"
    return "{}-{}".format({"darwin": "macos", "win32": "windows"}.get(sys.platform, "linux"), machine)


class Wheelhouse:
    """A folder or an address with wheels and the list of their sums. Everything in it is checked."""

    def __init__(self, place: str):
        self.place = place.rstrip("/")
        self.is_address = place.startswith(("http://", "https://"))
        self.files, self.sets = self._parse(self._manifest())

    def _manifest(self) -> bytes:
        if not self.is_address:
            folder = Path(self.place).expanduser()
            if (folder / WHEELHOUSE / MANIFEST).is_file():
                self.place = str(folder / WHEELHOUSE)
            try:
                return self._read(MANIFEST, MOST_TEXT)
            except OSError:
                raise Refused(
                    f"There is no wheelhouse in {self.place}.", f"Name the folder that holds {MANIFEST}."
                ) from None
        for place in (self.place, self.place + "/" + WHEELHOUSE):
            self.place, error = place, None
            try:
                return self._read(MANIFEST, MOST_TEXT)
            except (OSError, ValueError) as reason:
                error = reason
        raise Refused(
            f"No wheelhouse answers at {self.place} ({error}).",
            "Check the address, and that both computers are in one network.",
        )

    def _read(self, name: str, most: int) -> bytes:
        with self._open(name) as opened:
            return opened.read(most + 1)

    def _open(self, name: str) -> IO[bytes]:
        if not self.is_address:
            return (Path(self.place).expanduser() / name).open("rb")
        # Straight to the room: a proxy of the environment knows nothing about it.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        answer: IO[bytes] = opener.open(f"{self.place}/{name}", timeout=30)
        return answer

    def _parse(self, text: bytes) -> tuple[dict[str, tuple[int, str]], dict[str, list[str]]]:
        try:
            values = json.loads(text.decode("utf-8"))
            if values["format"] != FORMAT:
                raise ValueError
            files = {file["name"]: (file["size"], file["sha256"]) for file in values["files"]}
            sets = {str(key): list(names) for key, names in values["sets"].items()}
            for name, (size, digest) in files.items():
                if not (WHEEL.fullmatch(name) and type(size) is int and re.fullmatch("[0-9a-f]{64}", digest)):
                    raise ValueError
            if any(name not in files for names in sets.values() for name in names):
                raise ValueError
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise Refused(
                f"{MANIFEST} in {self.place} is not the list of a wheelhouse.",
                "Name a folder that `labs workshop wheelhouse` wrote.",
            ) from None
        return files, sets

    def versions(self) -> list[str]:
        """The Pythons that it has packages for on this system, the oldest first."""
        mine = [key.split("/")[1] for key in self.sets if key.split("/")[0] == system() and "/" in key]
        return sorted(mine, key=lambda version: [int(part) for part in version.split(".") if part.isdigit()])

    def unsuitable(self) -> Refused:
        """Why nothing in it can be used here."""
        have = ", ".join(key.replace("/", " with Python ") for key in sorted(self.sets)) or "nothing"
        return Refused(
            f"The wheelhouse {self.place} is for other computers: it has {have}. "
            f"This is {system()} with Python {platform.python_version()}.",
            "Ask for one that names this system, or connect to a network and use --wheelhouse off.",
        )

    def copy(self, versions: Sequence[str], to: Path) -> None:
        """Copy the wheels for this system, and compare each with its sum."""
        for name in sorted({name for version in versions for name in self.sets[f"{system()}/{version}"]}):
            size, expected = self.files[name]
            digest, have = hashlib.sha256(), 0
            try:
                with self._open(name) as source, (to / name).open("wb") as sink:
                    while have <= size:
                        chunk = source.read(2**20)
                        if not chunk:
                            break
                        have += len(chunk)
                        digest.update(chunk)
                        sink.write(chunk)
            except OSError as error:
                raise Refused(
                    f"{name} could not be read from {self.place} ({error}).",
                    "Copy the wheelhouse again, or check the network.",
                ) from None
            if have != size or digest.hexdigest() != expected:
                raise Refused(
                    f"{name} in {self.place} is damaged or was changed: its SHA-256 sum is not the one in the list.",
                    "Nothing was installed. Copy the wheelhouse again from the computer that made it.",
                )


if __name__ == "__main__":
    sys.exit(main())
