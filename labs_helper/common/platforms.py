"""What differs between macOS, Linux and Windows, in one place: what a machine computes with, and how its files behave.

Code elsewhere asks here instead of asking for a system's name. `sys.platform` is compared in plain `if`s, because mypy
follows those: `mypy --platform win32` (in `make lint`) then checks what Windows would run.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import platform
import re
import stat
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

_PATIENCE = 2.0  # seconds in which a virus scanner is done with a file that was written a moment ago
_NICE = 0.05
_MACHINES = {"amd64": "x86_64", "aarch64": "arm64"}
# Windows keeps these names for devices, in every folder and with every ending (learn.microsoft.com, "Naming Files").
_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])([ .].*)?", re.IGNORECASE)


# -- what this machine computes with ------------------------------------------------------------------------------


def has_apple_gpu() -> bool:
    """Whether MLX runs on the GPU of a Mac with Apple silicon.

    Example:
        has_apple_gpu()
    """
    return sys.platform == "darwin" and platform.machine() == "arm64"


def has_mlx_gpu() -> bool:
    """Whether MLX computes on a GPU here: on a Mac's, or on an NVIDIA card that MLX's CUDA package can use.

    Example:
        has_mlx_gpu()
    """
    from labs_helper.common import nvidia

    return has_apple_gpu() or nvidia.is_used()


def has_llama_cpp() -> bool:
    """Whether llama.cpp is installed, as the package xllamacpp. The extra [x86] installs it.

    Example:
        has_llama_cpp()
    """
    return importlib.util.find_spec("xllamacpp") is not None


def lacks_avx2(flags: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this is an x86 processor without AVX2, as made before 2013 and in some cheap ones until 2020.

    The package xllamacpp is compiled for AVX2 (its `ggml_cpu_has_avx2` says so): without it the first product of
    matrices ends the whole program. ONNX Runtime looks at the processor and takes older instructions.

    Args:
        flags: where Linux tells what the processor has.

    Returns:
        False too where nobody can tell.

    Example:
        lacks_avx2()      # False
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    if sys.platform == "win32":
        import ctypes

        return not ctypes.windll.kernel32.IsProcessorFeaturePresent(40)  # PF_AVX2_INSTRUCTIONS_AVAILABLE
    try:
        lines = [line for line in flags.read_text("utf-8", "replace").splitlines() if line.startswith("flags")]
    except OSError:
        return False
    return bool(lines) and "avx2" not in lines[0].split()


def has_engine_for(form: str) -> bool:
    """Whether something is installed that runs models of a format of the catalog.

    Example:
        has_engine_for("gguf")      # True if llama.cpp is here
    """
    engines = {"gguf": has_llama_cpp, "onnx": has_onnx_runtime}
    return form not in engines or engines[form]()


def has_onnx_runtime() -> bool:
    """Whether ONNX Runtime is installed. The extra [x86] installs it.

    Example:
        has_onnx_runtime()
    """
    return importlib.util.find_spec("onnxruntime") is not None


def system() -> str:
    """The name of this system and its processor, as a wheelhouse has it. start.py has the same rule.

    Example:
        system()      # "linux-x86_64"
    """
    kind = {"darwin": "macos", "win32": "windows"}.get(sys.platform, "linux")
    machine = platform.machine().lower()
    if is_windows():  # the processor of this Python, which may be another than the computer's
        machine = sysconfig.get_platform().removeprefix("win-")
    return f"{kind}-{_MACHINES.get(machine, machine)}"


# -- commands and consoles ----------------------------------------------------------------------------------------


def is_windows() -> bool:
    """Whether this is Windows itself. WSL is Linux.

    Example:
        is_windows()
    """
    return sys.platform == "win32"


def command(name: str) -> str:
    """What a person types for one of the course's commands: make on macOS and Linux, start.py on Windows.

    Example:
        command("setup")      # "make setup"
    """
    return f"python start.py {name}" if is_windows() else f"make {name}"


def tolerant_output() -> None:
    """Let a console that is not UTF-8 show "?" for letters that it lacks, where Python would raise an error.

    Example:
        tolerant_output()
        print("한국어")
    """
    for stream in (sys.stdout, sys.stderr):
        # `sys.stdout` may be None, and in a notebook it is no text file of Python's.
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            with contextlib.suppress(ValueError, OSError):
                stream.reconfigure(errors="replace")


# -- files --------------------------------------------------------------------------------------------------------


def is_reserved(name: str) -> bool:
    """Whether no file on Windows can have this name, such as aux.json or a name that ends in a dot.

    Asked on every system: what is made on a Mac is copied to the other computers of a room.

    Example:
        is_reserved("aux.json"), is_reserved("auxiliary.json")      # (True, False)
    """
    return _RESERVED.fullmatch(name) is not None or name.endswith((".", " "))


def open_plain(path: Path) -> IO[bytes]:
    """Open a plain file to read its bytes, and refuse a link, also one that took its place a moment ago.

    Raises:
        OSError: it is a link, or cannot be read.

    Example:
        with open_plain(pack / "config.json") as file: ...
    """
    if sys.platform == "win32":
        # Without O_NOFOLLOW: the open file is compared with what has the name now, which no link can be.
        file = path.open("rb")
        named, opened = path.lstat(), os.fstat(file.fileno())
        if not stat.S_ISREG(named.st_mode) or (named.st_dev, named.st_ino) != (opened.st_dev, opened.st_ino):
            file.close()
            raise OSError(f"{path} is a link")
        return file
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")


def rename(source: Path, target: Path) -> None:
    """Give a file or folder a new name that nothing has yet.

    Windows refuses while any program has a file in it open, and scanners open what is new: there it is tried for two
    seconds.

    Raises:
        OSError: it does not go; everything is as before.

    Example:
        rename(part, folder)
    """
    _patiently(lambda: source.rename(target))


def replace(source: Path, target: Path) -> None:
    """As `rename`, in place of what has the name now.

    Example:
        replace(temporary, path)
    """
    _patiently(lambda: source.replace(target))


def _patiently(step: Callable[[], object]) -> None:
    end = time.monotonic() + (_PATIENCE if is_windows() else 0)
    while True:
        try:
            step()
            return
        except PermissionError:
            if not is_windows() or time.monotonic() > end:
                raise
        time.sleep(_NICE)


def flush(path: Path) -> None:
    """Wait until a closed file, or the entries of a folder, are on the disk.

    Without it a renamed folder could hold empty files after a power cut, and look whole.

    Example:
        flush(Path("models/my-model/config.json"))
    """
    if sys.platform == "win32":
        if path.is_dir():  # Windows writes the entries of a folder itself, and opens none to do it sooner
            return
        how = os.O_RDWR | os.O_BINARY  # it flushes only what could be written
    else:
        how = os.O_RDONLY
    opened = os.open(path, how)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def long_paths() -> bool:
    """Whether this system opens files whose path has more than 260 characters. Windows does if somebody has set it.

    Example:
        long_paths()
    """
    if sys.platform == "win32":
        import winreg

        try:
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:
                return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])
        except OSError:
            return False
    return True
