"""Write what each system installs: `python tests/resolve.py`, with uv and a package index.

tests/resolved has one list a system, as uv resolves pyproject.toml under constraints.txt, from wheels alone. The lists
prove, without a network, what somebody on that system gets; tests/test_resolved.py reads them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests" / "resolved"
PYTHON = "3.12"
# Name of the list, uv's name of the system, extras. CUDA is not asked for on a Mac.
LISTS = {
    "linux-x86_64": ("x86_64-manylinux_2_35", ("dev", "x86")),
    "macos-arm64": ("aarch64-apple-darwin", ("dev", "x86")),
    "windows-x86_64": ("x86_64-pc-windows-msvc", ("dev", "x86")),
    "linux-x86_64-cuda": ("x86_64-manylinux_2_35", ("cuda",)),
    "linux-x86_64-cuda12": ("x86_64-manylinux_2_35", ("cuda12",)),
    "windows-x86_64-cuda": ("x86_64-pc-windows-msvc", ("cuda",)),
    "windows-x86_64-cuda12": ("x86_64-pc-windows-msvc", ("cuda12",)),
}


def resolve(name: str, python: str = PYTHON) -> str:
    """The list of a system, one `name==version` a line.

    Raises:
        RuntimeError: uv finds no solution, or no index; its own words.
    """
    system, extras = LISTS[name]
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
    command += ["pyproject.toml", "--constraint", "constraints.txt", *(f"--extra={extra}" for extra in extras)]
    command += ["--only-binary", ":all:", "--python-platform", system, "--python-version", python]
    environment = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"}  # MLX's wheels need that macOS
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", timeout=100, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for each in LISTS:
        (FOLDER / f"{each}.txt").write_text(resolve(each), encoding="utf-8", newline="\n")
        print(FOLDER / f"{each}.txt")
