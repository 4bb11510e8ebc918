"""Run what mlx-lm and mlx-vlm test about Phi models, without our corrections and with them, and compare.

python tests/upstream/run.py                                 needs git and github.com; the weekly workflow runs it
python tests/upstream/run.py mlx-lm=FOLDER mlx-vlm=FOLDER    with sources that are here already

The tests are those of the installed versions. One that fails only with the corrections is a fault of ours, unless it is
in EXPECTED. One that is in EXPECTED and does not fail in this way any more has to be looked at as well: upstream has
changed. One that fails without them is a matter of upstream's, which is printed and no fault of ours.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).resolve().parent
# What fails with the corrections and should, with words of its error. The reason for each is in docs/known-issues.md.
EXPECTED: dict[str, dict[str, str]] = {
    "mlx-lm": {},
    # Its settings name an image size that upstream ignores and our tower obeys.
    "mlx-vlm": {"TestGetInputEmbeddings::test_phi3_v_input_embeddings": "Shapes (2,577,16) and (1,5,16)"},
}
_ABOUT_PHI = re.compile(r"^\s*(def|class) \w*phi", re.IGNORECASE | re.MULTILINE)  # other files are not even imported
SECONDS = 600  # for one side of one package
Outcomes = dict[str, str]  # {"Class::test": the message of its error, "" if it passed}


@dataclass(frozen=True)
class Suite:
    """The tests of one package. Attributes: folder: of the tests, inside the repository."""

    package: str
    repository: str
    folder: str


SUITES = (
    Suite("mlx-lm", "https://github.com/ml-explore/mlx-lm", "tests"),
    Suite("mlx-vlm", "https://github.com/Blaizzy/mlx-vlm", "mlx_vlm/tests"),
)


def fetched(suite: Suite, into: Path) -> Path:
    """The sources of the installed version, with its tests. The sdist of mlx-vlm has none, so both come from git."""
    tag = f"v{importlib.metadata.version(suite.package)}"
    target = into / suite.package
    command = ["git", "clone", "--quiet", "--depth", "1", "--branch", tag, suite.repository, str(target)]
    subprocess.run(command, check=True, timeout=300)
    return target


def outcomes(tests: Path, side: str) -> Outcomes:
    """Run the tests about Phi models in a folder.

    Args:
        tests: the folder.
        side: "plain" or "corrected".
    """
    files = sorted(str(file) for file in tests.glob("test_*.py") if _ABOUT_PHI.search(file.read_text("utf-8")))
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        environment = {
            **os.environ,
            "LABS_UPSTREAM": side,
            "LABS_UPSTREAM_PACKAGE": str(tests.parent),
            "PYTHONPATH": os.pathsep.join((str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", ""))),
        }
        # -c: not the settings of this repository, which turn warnings into errors.
        command = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", folder, "-p", "corrected", "-q"]
        command += ["-p", "no:cacheprovider", "-p", "no:nbval", "-k", "phi", f"--junitxml={report}", *files]
        subprocess.run(command, cwd=folder, env=environment, timeout=SECONDS, check=False)
        if not report.is_file():
            return {}
        cases = ElementTree.parse(report).getroot().iter("testcase")
        return {
            f"{case.get('classname', '').rsplit('.', 1)[-1]}::{case.get('name')}": _message(case)
            for case in cases
            if case.find("skipped") is None
        }


def _message(case: ElementTree.Element) -> str:
    errors = (*case.findall("failure"), *case.findall("error"))
    return " ".join(error.get("message") or error.tag for error in errors)


def compare(plain: Outcomes, corrected: Outcomes, expected: dict[str, str]) -> list[str]:
    """What somebody has to look at, as sentences.

    Args:
        plain: without our corrections.
        corrected: with them.
        expected: {test that should fail with them: words of its error}.

    Example:
        >>> compare({"A::phi": ""}, {"A::phi": "ValueError"}, {})
        ['A::phi passes without our corrections and fails with them.']
    """
    if not corrected or not plain:
        return ["No test about a Phi model ran."]
    found = [f"{name} ran on one side only." for name in sorted(plain.keys() ^ corrected.keys())]
    ours = [name for name, message in sorted(plain.items()) if not message and corrected.get(name)]
    found += [f"{name} passes without our corrections and fails with them." for name in ours if name not in expected]
    for name, words in sorted(expected.items()):
        if name not in plain or name not in corrected:
            found.append(f"{name} is expected to fail with our corrections, and is gone: upstream has changed.")
        elif plain[name]:
            found.append(f"{name} is expected to fail with our corrections only, and fails without them as well.")
        elif not corrected[name]:
            found.append(f"{name} is expected to fail with our corrections, and passes: take it out of EXPECTED.")
        elif words not in corrected[name]:
            found.append(f"{name} is expected to fail with {words!r}, and fails with {corrected[name]!r}.")
    return found


def _passing(side: Outcomes) -> int:
    return sum(not message for message in side.values())


def main(given: dict[str, Path]) -> int:
    """Run both packages. Returns 1 if there is something to look at.

    Args:
        given: {package: folder with its sources}; the others are fetched.
    """
    to_look_at = []
    with tempfile.TemporaryDirectory(prefix="labs-upstream-") as folder:
        for suite in SUITES:
            source = given.get(suite.package) or fetched(suite, Path(folder))
            plain, corrected = (outcomes(source.resolve() / suite.folder, side) for side in ("plain", "corrected"))
            found = compare(plain, corrected, EXPECTED[suite.package])
            failing = sorted(name for name, message in plain.items() if message)
            print(
                f"{suite.package} {importlib.metadata.version(suite.package)}: {len(plain)} tests about Phi models; "
                f"{_passing(corrected)} pass with our corrections, {_passing(plain)} without.",
                *(f"NOTE: {name} fails without our corrections." for name in failing),
                *found,
                sep="\n  ",
                flush=True,
            )
            to_look_at += found
    return 1 if to_look_at else 0


if __name__ == "__main__":
    sys.exit(main({name: Path(path) for name, _, path in (word.partition("=") for word in sys.argv[1:])}))
