"""Fetch the engine of the page Ask: npm packages with a pinned version and integrity (engine.toml).

A package is kept in build/npm and fetched once, with npm itself, so that its settings (a mirror, a proxy) hold.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import re
import shutil
import subprocess
import tarfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

CHOICE = "Or build the site without the page's engine: make site ENGINE=0"


class EngineMissing(Exception):
    """The engine cannot be fetched, or is not what was pinned: what is missing, and what to do."""


@dataclass(frozen=True)
class Package:
    """One npm package: `files` maps a path inside to a name in the site."""

    name: str
    version: str
    integrity: str
    files: dict[str, str]

    @property
    def archive(self) -> str:
        """The file name that `npm pack` gives it.

        Example:
            packages()[0].archive      # 'wllama-wllama-3.13.0.tgz'
        """
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


def packages() -> list[Package]:
    """The pinned packages.

    Example:
        [package.version for package in packages()]
    """
    text = (Path(__file__).parent / "engine.toml").read_text("utf-8")
    return [Package(**entry) for entry in tomllib.loads(text)["package"]]


def add(site: Path, cache: Path) -> list[Path]:
    """Write the engine's files into `site`, from `cache` where they are there already.

    Raises:
        EngineMissing: a package is neither in the cache nor can it be fetched, or its integrity is another one.

    Example:
        add(Path("build/site/model"), Path("build/npm"))
    """
    site.mkdir(parents=True, exist_ok=True)
    written = []
    for package in packages():
        archive = _archive(package, cache)
        with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
            for inside, name in package.files.items():
                found = opened.extractfile(f"package/{inside}")
                assert found is not None, f"{package.archive} has no {inside}"
                written.append(_write(site / name, found.read()))
    return written


def _archive(package: Package, cache: Path) -> bytes:
    kept = cache / package.archive
    if not kept.is_file():
        _fetch(package, cache)
    data = kept.read_bytes()
    method, _, wanted = package.integrity.partition("-")
    if base64.b64encode(hashlib.new(method, data).digest()).decode() != wanted:
        kept.unlink()  # the next build fetches it again
        raise EngineMissing(
            f"{package.archive} is not the file that engine.toml pins: its {method} differs.\n"
            f"It was removed; run `make site` again. {CHOICE}"
        )
    return data


def _fetch(package: Package, cache: Path) -> None:
    wanted = f"{package.name}@{package.version}"
    missing = f"The page Ask needs the npm package {wanted}, and it is not in {cache}."
    npm = shutil.which("npm")
    if npm is None:
        raise EngineMissing(f"{missing}\nInstall npm, which fetches it. {CHOICE}")
    cache.mkdir(parents=True, exist_ok=True)
    command = [npm, "pack", wanted, "--silent", "--pack-destination", str(cache.resolve())]  # npm runs there
    try:
        done = subprocess.run(command, cwd=cache, capture_output=True, text=True, timeout=240, check=False)
        reason = (done.stderr.strip().splitlines() or ["npm said nothing"])[0] if done.returncode else ""
    except subprocess.TimeoutExpired:
        reason = "npm took longer than four minutes"
    if reason or not (cache / package.archive).is_file():
        raise EngineMissing(f"{missing}\nnpm could not fetch it ({reason}). Build again with a network. {CHOICE}")


def _write(target: Path, data: bytes) -> Path:
    if target.suffix == ".js":  # no request for a source map that the site does not have
        data = re.sub(rb"\n?//# sourceMappingURL=\S+\s*$", b"\n", data)
    target.write_bytes(packed(data) if target.suffix == ".gz" else data)
    return target


def packed(data: bytes) -> bytes:
    """The data as gzip, the same bytes in every build.

    Example:
        packed(b"model")[:2]      # b'\\x1f\\x8b'
    """
    return gzip.compress(data, 9, mtime=0)
