"""Collect the packages of the course for computers without a network: `labs workshop wheelhouse`.

uv resolves pyproject.toml under constraints.txt for each system and Python, and says of each wheel where it is and how
large, with its sum. So the size of all is known before the first byte comes, and a wheel that changed is refused.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from labs_helper.catalog import course_folder
from labs_helper.common import files
from labs_helper.common.translate import _
from labs_helper.common.units import size
from labs_helper.errors import BadRequest, DownloadFailed, LabError, NotEnoughDisk
from labs_helper.store import manifest, transfer
from labs_helper.store.supply import progress_bar
from labs_helper.store.wheels import FOLDER, WHEEL, Wheelhouse

# The names of systems, and what uv calls the oldest of each that MLX runs on.
SYSTEMS = {
    "linux-x86_64": "x86_64-manylinux_2_35",
    "macos-arm64": "aarch64-apple-darwin",
    "windows-x86_64": "x86_64-pc-windows-msvc",
}
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
# What installs the course itself from its folder, and pip, which uv puts into an environment.
_BUILD = ("hatchling", "editables", "pip")
_SPARE = 500_000_000  # bytes of disk that stay free
_MACOS = "14.0"  # MLX's wheels need it
_PATIENCE = 600  # seconds for one system and Python


def collect(
    destination: str | Path, systems: Sequence[str], pythons: Sequence[str], *, progress: bool = True
) -> tuple[Path, Wheelhouse]:
    """Write a wheelhouse, or go on with one that stopped. Returns its folder and what it holds.

    Args:
        destination: a folder such as a stick; the wheelhouse is the folder `wheelhouse` in it.
        systems: such as "windows-x86_64".
        pythons: such as "3.12".
        progress: say the size first and show a progress bar.

    Raises:
        BadRequest: a system, a Python or the destination cannot be used.
        LabError: uv is missing, or finds no packages for them.
        NotEnoughDisk: the wheels do not fit.
        DownloadFailed: the index does not answer with the wheels.

    Example:
        collect("/Volumes/STICK", ["windows-x86_64"], ["3.12"])
    """
    _check(systems, pythons)
    target = Path(destination).expanduser()
    if not target.is_dir():
        raise BadRequest(
            _("There is no folder {folder}.").format(folder=target), _("Make it first, or check the stick's name.")
        )
    sets = {f"{system}/{python}": _resolve(system, python) for system in systems for python in pythons}
    wheels = {wheel.name: wheel for listed in sets.values() for wheel in listed}
    total = sum(wheel.size for wheel in wheels.values())
    folder = target / FOLDER
    if progress:
        summary = _("{count} packages, {size}, for {sets} -> {folder}")
        print(summary.format(count=len(wheels), size=size(total), sets=", ".join(sets), folder=folder), flush=True)
    try:
        folder.mkdir(exist_ok=True)
        _fetch(folder, list(wheels.values()), total, progress)
        listing = Wheelhouse(
            tuple(manifest.File(name, wheels[name].size, wheels[name].digest) for name in sorted(wheels)),
            {key: tuple(sorted(wheel.name for wheel in listed)) for key, listed in sets.items()},
        )
        for path in folder.iterdir():  # what an earlier one held and this one does not
            if WHEEL.fullmatch(path.name) and path.name not in wheels:
                path.unlink()
        files.write_whole(folder / manifest.NAME, listing.text().encode())
    except OSError as error:
        raise DownloadFailed(
            _("The wheelhouse {folder} could not be written ({reason}).").format(
                folder=folder, reason=error.strerror or error
            ),
            _("Check that the disk or stick is still there and that you can write to it."),
        ) from error
    return folder, listing


def _check(systems: Sequence[str], pythons: Sequence[str]) -> None:
    for kind, asked, known in ((_("system"), systems, tuple(SYSTEMS)), ("Python", pythons, PYTHONS)):
        wrong = [name for name in asked if name not in known]
        if wrong or not asked:
            raise BadRequest(
                _("{name!r} is not a {kind} that the course has packages for.").format(
                    name=wrong[0] if wrong else "", kind=kind
                ),
                _("Name some of: {known}.").format(known=", ".join(known)),
            )


def _fetch(folder: Path, wheels: list[transfer.Remote], total: int, progress: bool) -> None:
    here = sum(path.stat().st_size for path in folder.iterdir())
    free = shutil.disk_usage(folder).free
    if total - here + _SPARE > free:
        raise NotEnoughDisk(
            _("The wheelhouse needs {needed} and {free} are free in {folder}.").format(
                needed=size(total), free=size(max(0, free - _SPARE)), folder=folder
            ),
            _("Free some space, take another disk, or name fewer systems and Pythons."),
        )
    with progress_bar(total, FOLDER, progress) as bar:
        hosts = dict.fromkeys(urlsplit(wheel.url)[:2] for wheel in wheels)
        for host in hosts:
            theirs = [wheel for wheel in wheels if urlsplit(wheel.url)[:2] == host]
            if host[0] == "file":  # an index on this disk
                for wheel in theirs:
                    _copy(Path(unquote(urlsplit(wheel.url).path)), folder / wheel.name)
                    bar.update(wheel.size)
                continue
            with transfer.client(theirs[0].url, redirects=True) as http:
                for wheel in theirs:
                    transfer.download(http, wheel, folder, bar.update)


def _copy(source: Path, target: Path) -> None:
    files.write_whole(target, source.read_bytes())


def _resolve(system: str, python: str) -> list[transfer.Remote]:
    """The wheels for a system and a Python, one a package."""
    with tempfile.TemporaryDirectory(prefix="labs-wheels-") as scratch:
        build, answer = Path(scratch) / "build.in", Path(scratch) / "pylock.toml"
        build.write_text("\n".join(_BUILD), encoding="utf-8")
        command = [*_uv(), "pip", "compile", "--quiet", "pyproject.toml", str(build), "--extra=dev"]
        command += ["--constraint=constraints.txt", "--only-binary=:all:", f"--python-platform={SYSTEMS[system]}"]
        command += [f"--python-version={python}", "--format=pylock.toml", f"--output-file={answer}"]
        try:
            done = subprocess.run(
                command,
                cwd=course_folder(),
                env=_environment(),
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=_PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise DownloadFailed(
                _("The package index takes too long to answer."), _("Start the same command again, or later.")
            ) from None
        if done.returncode:
            lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            raise LabError(
                _("uv finds no packages for {system} with Python {python}: {reason}").format(
                    system=system, python=python, reason=" ".join(lines)[:400]
                ),
                _("Check the network. If this Python is very new, name an older one."),
            )
        return wheels_of(tomllib.loads(answer.read_text("utf-8")), python)


def wheels_of(lock: dict[str, Any], python: str) -> list[transfer.Remote]:
    """The wheels of a pylock.toml, the best one of each package.

    Example:
        wheels_of({"packages": [{"name": "six", "wheels": [...]}]}, "3.12")
    """
    chosen = []
    for package in lock["packages"]:
        offered = {_name(wheel["url"]): wheel for wheel in package["wheels"]}
        name = max(offered, key=lambda each: _rank(each, python))
        wheel = offered[name]
        if WHEEL.fullmatch(name) is None:
            raise LabError(
                _("The index offers {name!r}, which is not the name of a wheel.").format(name=name[:80]),
                _("Check which index uv asks."),
            )
        chosen.append(transfer.Remote(name, wheel["url"], int(wheel["size"]), wheel["hashes"]["sha256"]))
    return chosen


def _name(url: str) -> str:
    return unquote(urlsplit(url).path.rsplit("/", 1)[-1])


def _rank(name: str, python: str) -> tuple[bool, bool, int, int]:
    """How well a wheel suits, of those that uv says can be installed: compiled for this very Python first."""
    pythons, _abi, platforms = name.removesuffix(".whl").split("-")[-3:]
    minor = int(python.split(".")[1])
    minors = [int(tag[3:]) for tag in pythons.split(".") if tag[3:].isdigit() and int(tag[3:]) <= minor]
    # The older the system that it asks for, the more computers take it.
    oldest = min((int(part) for part in _numbers(platforms)), default=0)
    return platforms != "any", f"cp3{minor}" in pythons.split("."), max(minors, default=0), -oldest


def _numbers(platforms: str) -> Iterable[str]:
    return (tag.split("_")[2] for tag in platforms.split(".") if tag.startswith(("manylinux_", "macosx_")))


def _uv() -> list[str]:
    beside = Path(sys.executable).with_name("uv.exe" if sys.platform == "win32" else "uv")
    program = str(beside) if beside.exists() else shutil.which("uv")
    if program is None:
        raise LabError(
            _("uv is missing, which knows the packages of other systems."),
            _("Install it: pip install -c constraints.txt uv"),
        )
    return [program]


def _environment() -> dict[str, str]:
    return {**os.environ, "MACOSX_DEPLOYMENT_TARGET": _MACOS}
