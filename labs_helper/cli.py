"""The `labs` command: thin, calls the rooms of the package."""

from __future__ import annotations

import argparse
import sys

from labs_helper import catalog, machine, store
from labs_helper.errors import LabError


def main(arguments: list[str] | None = None) -> int:
    """Run the `labs` command. Returns its exit status: 0 good, 1 something to fix, 2 a wrong command, 130 stopped.

    arguments: the words after `labs`; None takes them from the command line.

    Example:
        main(["doctor", "--lab", "01"])
    """
    parser = argparse.ArgumentParser(prog="labs", description="Tools of the Phi-3.5 labs.")
    commands = parser.add_subparsers(dest="command", required=True)
    doctor = commands.add_parser("doctor", help="check this machine for the labs")
    doctor.add_argument("--lab", help="check for one lab, for example 01")
    doctor.set_defaults(run=_doctor)
    _add_models(commands.add_parser("models", help="list, fetch, verify, move and remove models"))
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
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130


def _add_models(models: argparse.ArgumentParser) -> None:
    models.set_defaults(run=_list)
    actions = models.add_subparsers(dest="action", metavar="ACTION")

    def action(name: str, run, help: str) -> argparse.ArgumentParser:
        parser = actions.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
        parser.set_defaults(run=run)
        return parser

    action("list", _list, "list the models and say which are here")
    fetch = action("fetch", _fetch, "download a model, or go on with a download that stopped")
    fetch.add_argument("name", help="a catalog name, or a role such as instruct")
    fetch.add_argument("--from", dest="source", metavar="URL", help="a computer that runs `labs models serve`")
    remove = action("remove", _remove, "delete a model and give its disk space back")
    remove.add_argument("name")
    export = action("export", _export, "write a model as a pack, for a USB stick")
    export.add_argument("name")
    export.add_argument("destination", help="a folder, or a new file that ends in .tar")
    action("import", _import, "take a model from a pack").add_argument("pack", help="a folder or .tar file")
    action("verify", _verify, "check every byte of a model").add_argument("name")
    serve = action("serve", _serve, "give the models of this computer to others in the room, read-only")
    serve.add_argument("names", nargs="*", metavar="NAME", help="every real model that is here if none is given")
    serve.add_argument("--host", default="127.0.0.1", help="0.0.0.0 for every network (default: this computer only)")
    serve.add_argument("--port", type=int, default=8787)


def _doctor(chosen) -> int:
    report = machine.check_setup(chosen.lab)
    print(report)
    return 0 if report.ok else 1


def _list(chosen) -> int:
    rows = [("NAME", "ROLE", "TIER", "HERE", "ON DISK", "FORMAT", "CONTEXT", "LICENCE")]
    for card in catalog.cards():
        try:
            store.verify(store.locate(card), ships_code=card.ships_code)
            here = "yes"
        except LabError as error:
            here = "no" if type(error).__name__ == "ModelNotHere" else "broken"
        context = "unknown" if card.context is None else f"{card.context:,}"
        disk = machine.size(card.bytes_on_disk)
        rows.append((card.name, card.role, card.tier, here, disk, card.format, context, card.licence or ""))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _fetch(chosen) -> int:
    print(f"Ready: {store.fetch(chosen.name, chosen.source)}")
    return 0


def _remove(chosen) -> int:
    print(f"Removed; {machine.size(store.remove(chosen.name))} of disk are free again.")
    return 0


def _export(chosen) -> int:
    print(f"Written: {store.export(chosen.name, chosen.destination)}")
    return 0


def _import(chosen) -> int:
    print(f"Ready: {store.import_pack(chosen.pack)}")
    return 0


def _verify(chosen) -> int:
    print(store.check(chosen.name))
    return 0


def _serve(chosen) -> int:
    print("Preparing ...", flush=True)
    with store.serve(chosen.names, chosen.host, chosen.port) as server:
        print(f"Serving {', '.join(server.models)}. Stop with Ctrl-C.")
        for address in server.addresses:
            print(f"  labs models fetch NAME --from {address}")
        if chosen.host not in ("127.0.0.1", "localhost", "::1"):
            print("Everybody in these networks can read these models. Nobody can write.", flush=True)
        server.wait()
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
