"""What each system installs: the lists of tests/resolved, read without network and compared where an index answers."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import resolve
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PINS = {
    canonicalize_name(name): version
    for name, version in re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.M)
}
MARKERS = {
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"},
    "macos": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix", "platform_machine": "arm64"},
    "windows": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt", "platform_machine": "AMD64"},
}
BACKENDS = {"mlx-cpu", "mlx-metal", "mlx-cuda-12", "mlx-cuda-13"}
MAIN = [name for name, (_system, extras) in resolve.LISTS.items() if "dev" in extras]
NO_INDEX = re.compile(r"error sending request|failed to fetch|dns error|network|offline|timed? ?out", re.IGNORECASE)


def listed(name: str) -> dict[str, str]:
    lines = (resolve.FOLDER / f"{name}.txt").read_text("utf-8").split()
    return {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines}


@pytest.mark.parametrize("name", resolve.LISTS)
def test_what_a_system_installs_is_pinned_and_all_that_is_asked_for(name):
    packages = listed(name)
    assert {package: PINS.get(package) for package in packages} == packages, "run python tests/resolve.py"
    asked = [*PROJECT["dependencies"]]
    for extra in resolve.LISTS[name][1]:
        asked += PROJECT["optional-dependencies"][extra]
    environment = MARKERS[name.split("-")[0]] | {"python_version": resolve.PYTHON, "extra": ""}
    for text in asked:
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(environment):
            version = packages[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version), text


@pytest.mark.parametrize(
    ("name", "backends"),
    [
        ("linux-x86_64", {"mlx-cpu"}),
        ("macos-arm64", {"mlx-metal"}),
        ("windows-x86_64", {"mlx-cpu"}),
        ("linux-x86_64-cuda", {"mlx-cpu", "mlx-cuda-13"}),  # start.py takes mlx-cpu away again
        ("linux-x86_64-cuda12", {"mlx-cpu", "mlx-cuda-12"}),
        ("windows-x86_64-cuda", {"mlx-cpu", "mlx-cuda-13"}),
        ("windows-x86_64-cuda12", {"mlx-cpu", "mlx-cuda-12"}),
    ],
)
def test_what_computes_for_mlx_is_there(name, backends):
    assert BACKENDS & set(listed(name)) == backends


def test_each_system_has_its_own_packages_only():
    assert "pywinpty" in listed("windows-x86_64") and "ptyprocess" not in listed("windows-x86_64")
    assert "pywinpty" not in listed("linux-x86_64") and "appnope" in listed("macos-arm64")


@pytest.mark.parametrize("name", MAIN)
def test_the_index_gives_the_same(name):
    """One pyproject.toml and one constraints.txt, resolved for three systems from wheels alone."""
    try:
        answered = resolve.resolve(name)
    except RuntimeError as error:
        if NO_INDEX.search(str(error)) and "No solution" not in str(error):
            pytest.skip("no package index answers")
        raise
    assert answered == (resolve.FOLDER / f"{name}.txt").read_text("utf-8")
