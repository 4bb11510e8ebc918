"""The `labs` command: thin, calls the rooms of the package."""

from __future__ import annotations

import argparse
import sys

from labs_helper import catalog, machine, store
from labs_helper.errors import LabError


def main(arguments: list[str] | None = None) -> int:
    """Run the `labs` command. Returns its exit status: 0 good, 1 something to fix, 2 a wrong command.

    arguments: the words after `labs`; None takes them from the command line.

    Example:
        main(["doctor", "--lab", "01"])
    """
    parser = argparse.ArgumentParser(prog="labs", description="Tools of the Phi-3.5 labs.")
    commands = parser.add_subparsers(dest="command", required=True)
    doctor = commands.add_parser("doctor", help="check this machine for the labs")
    doctor.add_argument("--lab", help="check for one lab, for example 01")
    doctor.set_defaults(run=_doctor)
    commands.add_parser("models", help="list the models and say which are here").set_defaults(run=_models)
    notebooks = commands.add_parser("notebooks", help="make the notebooks from their sources")
    notebooks.add_argument("action", choices=("build", "check"))
    notebooks.add_argument("names", nargs="*", help="for example 01-instruct; all of them if none is given")
    notebooks.set_defaults(run=_notebooks)
    chosen = parser.parse_args(arguments)
    try:
        return chosen.run(chosen)
    except LabError as error:
        print("\n".join(error._render_traceback_()), file=sys.stderr)
        return 1


def _doctor(chosen) -> int:
    report = machine.check_setup(chosen.lab)
    print(report)
    return 0 if report.ok else 1


def _models(chosen) -> int:
    rows = [("NAME", "ROLE", "TIER", "HERE", "ON DISK", "CONTEXT", "LICENCE")]
    for card in catalog.cards():
        try:
            store.verify(store.locate(card), ships_code=card.ships_code)
            here = "yes"
        except LabError as error:
            here = "no" if type(error).__name__ == "ModelNotHere" else "broken"
        context = "unknown" if card.context is None else f"{card.context:,}"
        disk = machine.size(card.bytes_on_disk)
        rows.append((card.name, card.role, card.tier, here, disk, context, card.licence or ""))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _notebooks(chosen) -> int:
    from labs_helper import authoring  # needs jupytext and nbclient, which only authors have

    if chosen.action == "build":
        authoring.build(chosen.names or None)
        return 0
    problems = authoring.check(chosen.names or None)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    raise SystemExit(main())
