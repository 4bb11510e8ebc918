"""The `labs` command: thin, calls the rooms of the package."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from labs_helper import catalog, doctor, store
from labs_helper.board import rules
from labs_helper.common.units import size
from labs_helper.course import workshop
from labs_helper.errors import BadRequest, LabError


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
    reset = commands.add_parser("reset", help="give a lab back as it was handed out, and keep your version beside it")
    reset.add_argument("labs", nargs="+", metavar="NN", help="for example 01")
    reset.set_defaults(run=_reset)
    progress = commands.add_parser("progress", help="show which exercises passed")
    progress.add_argument("lab", nargs="?", metavar="NN", help="for example 01; all labs if none is given")
    progress.set_defaults(run=_progress)
    _add_models(commands.add_parser("models", help="list, fetch, verify, move and remove models"))
    notebooks = commands.add_parser("notebooks", help="make the notebooks from their sources")
    notebooks.add_argument("action", choices=("build", "check", "new"))
    notebooks.add_argument(
        "names",
        nargs="*",
        help="for example 01-instruct; all of them if none is given. For new: a number and a name, 08 my-lab",
    )
    notebooks.set_defaults(run=_notebooks)
    _add_workshop(commands.add_parser("workshop", help="for instructors: timetable, pre-flight, board, zip, slides"))
    _add_board(commands.add_parser("board", help="join or leave the class board; without either, say where you are"))
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
    made = action("convert", _convert, "make a 4-bit MLX model from a Hugging Face folder, and compare the two")
    made.add_argument("source", help="a folder with 16-bit safetensors, or a catalog name")
    made.add_argument("destination", help="a folder that does not exist yet")
    made.add_argument("--bits", type=int, default=4, help="2, 3, 4, 5, 6, 8; 16 rounds nothing (default: 4)")
    made.add_argument("--group-size", type=int, metavar="N", help="weights that share a scale: 32, 64 or 128")
    made.add_argument(
        "--dtype",
        help="of scales and norms: float32 for a CPU, float16 or bfloat16 for a Mac's GPU (default: as in the source)",
    )
    made.add_argument("--recipe", help="a mixture of mlx-lm in place of bits, for example mixed_3_6")
    made.add_argument("--text", metavar="FILE", help="a short text to compare source and result on")
    serve = action("serve", _serve, "give the models of this computer to others in the room, read-only")
    serve.add_argument("names", nargs="*", metavar="NAME", help="every real model that is here if none is given")
    serve.add_argument("--host", default="127.0.0.1", help="0.0.0.0 for every network (default: this computer only)")
    serve.add_argument("--port", type=int, default=8787)


def _add_workshop(workshop: argparse.ArgumentParser) -> None:
    actions = workshop.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, run, help: str) -> argparse.ArgumentParser:
        parser = actions.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
        parser.set_defaults(run=run)
        return parser

    sheet = action("run-sheet", _run_sheet, "print a timetable from the minutes in the notebooks")
    sheet.add_argument("labs", nargs="*", metavar="NN", help="for example 00 01; all labs if none is given")
    sheet.add_argument("--start", default="09:00", metavar="HH:MM")
    sheet.add_argument("--break", dest="pause", type=int, default=10, metavar="MINUTES", help="0 for no breaks")
    sheet.add_argument("--after", dest="work", type=int, default=60, metavar="MINUTES", help="of work before a break")
    flight = action("preflight", _preflight, "check this machine for a class: OK, or what to do; exit code 0 or 1")
    flight.add_argument("labs", nargs="*", metavar="NN")
    flight.add_argument("--model", dest="models", action="append", metavar="NAME", help="a real model it must have")
    flight.add_argument("--quick", action="store_true", help="do not ask the bundled model a question")
    pack = action("zip", _zip, "write the learner edition, without solutions and sources, as a zip")
    pack.add_argument("destination", nargs="?", help="a new file that ends in .zip (default: in dist/)")
    slides = action("slides", _slides, "make slides of a lab, as one HTML file")
    slides.add_argument("lab", metavar="NN")
    slides.add_argument("--to", dest="destination", metavar="FILE")
    slides.add_argument("--reveal", metavar="URL", help="where reveal.js is; without it, slides need the internet")
    link = action("link", _link, "print an nbgitpuller link that opens the course on a JupyterHub")
    link.add_argument("hub", help="for example https://hub.example.org")
    link.add_argument("repository", help="the address of the course's git repository")
    link.add_argument("--branch", default="main")
    board = action("board", _class_board, "show on one page which exercises the room is stuck at")
    board.add_argument("--host", default="127.0.0.1", help="0.0.0.0 for every network (default: this computer only)")
    board.add_argument("--port", type=int, default=rules.PORT)
    board.add_argument("--data", metavar="FILE", help="what it keeps (default: a file for each day)")
    board.add_argument("--minutes", type=float, metavar="N", help="stop by itself after so many minutes")


def _add_board(board: argparse.ArgumentParser) -> None:
    board.set_defaults(run=_board)
    actions = board.add_subparsers(dest="action", metavar="ACTION")
    join = actions.add_parser("join", help="send results of check to the instructor's board: never answers")
    join.add_argument("address", help="for example http://192.168.1.20:8765")
    join.add_argument("code", help="the join code")
    join.add_argument("--alias", help="what the board shows; a random one if none is given")
    join.set_defaults(run=_join)
    actions.add_parser("leave", help="send nothing more").set_defaults(run=_leave)


def _doctor(chosen) -> int:
    report = doctor.check_setup(chosen.lab)
    print(report)
    return 0 if report.ok else 1


def _reset(chosen) -> int:
    from labs_helper.course import reset

    for lab in chosen.labs:
        print(reset.restore(lab))
    return 0


def _progress(chosen) -> int:
    from labs_helper.exercises import progress

    print(progress.report(chosen.lab))
    return 0


def _list(chosen) -> int:
    rows = [("NAME", "ROLE", "TIER", "HERE", "ON DISK", "FORMAT", "CONTEXT", "LICENCE")]
    for card in catalog.cards():
        try:
            store.verify(store.locate(card), ships_code=card.ships_code)
            here = "yes"
        except LabError as error:
            here = "no" if type(error).__name__ == "ModelNotHere" else "broken"
        context = "unknown" if card.context is None else f"{card.context:,}"
        disk = size(card.bytes_on_disk)
        rows.append((card.name, card.role, card.tier, here, disk, card.format, context, card.licence or ""))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _fetch(chosen) -> int:
    print(f"Ready: {store.fetch(chosen.name, chosen.source)}")
    return 0


def _remove(chosen) -> int:
    print(f"Removed; {size(store.remove(chosen.name))} of disk are free again.")
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


def _convert(chosen) -> int:
    from labs_helper.engines import convert

    text = None
    if chosen.text is not None:
        try:
            text = Path(chosen.text).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise BadRequest(f"{chosen.text} cannot be read ({error}).", "Name a text file in UTF-8.") from error
    print(
        convert.convert(
            chosen.source,
            chosen.destination,
            bits=chosen.bits,
            group_size=chosen.group_size,
            dtype=chosen.dtype,
            recipe=chosen.recipe,
            text=text,
        )
    )
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
    from labs_helper.course import authoring  # needs jupytext and nbclient, which only authors have

    if chosen.action == "build":
        authoring.build(chosen.names or None)
        return 0
    if chosen.action == "new":
        return _new(chosen.names)
    problems = authoring.check(chosen.names or None)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def _new(names: list[str]) -> int:
    from labs_helper.course import authoring, template

    if len(names) != 2:
        raise BadRequest("A new lab needs a number and a name.", "For example: labs notebooks new 08 my-lab")
    for path in authoring.new(*names):
        print(f"Written: {path}")
    print(template.next_steps(*names))
    return 0


def _run_sheet(chosen) -> int:
    print(workshop.run_sheet(chosen.labs, start=chosen.start, pause=chosen.pause, work=chosen.work))
    return 0


def _preflight(chosen) -> int:
    found = workshop.preflight(chosen.labs, models=chosen.models, ask=not chosen.quick)
    print(found)
    return 0 if found.ok else 1


def _zip(chosen) -> int:
    from labs_helper.course import release

    made = release.build(chosen.destination)
    print(f"Written: {made} ({size(made.stat().st_size)})")
    return 0


def _slides(chosen) -> int:
    destination = Path(chosen.destination) if chosen.destination else None
    print(f"Written: {workshop.slides(chosen.lab, destination, reveal=chosen.reveal)}")
    return 0


def _link(chosen) -> int:
    print(workshop.pull_link(chosen.hub, chosen.repository, chosen.branch))
    return 0


def _class_board(chosen) -> int:
    data = Path(chosen.data).expanduser() if chosen.data else None
    with workshop.class_board(data, chosen.host, chosen.port, chosen.minutes) as board:
        print(f"The page, for you alone:\n  {board.page}\nLearners who want to take part type:")
        for command in board.join_commands:
            print(f"  {command}")
        print(f"Join code: {board.storage.code}\nKept in {board.storage.file}. Delete it after the class.")
        if chosen.host in ("127.0.0.1", "localhost", "::1"):
            print("Only this computer can join. For the room: --host 0.0.0.0")
        print("Stop with Ctrl-C.", flush=True)
        board.wait(chosen.minutes)
    print("The class board has stopped.")
    return 0


def _board(chosen) -> int:
    from labs_helper.board import client

    print(client.report())
    return 0


def _join(chosen) -> int:
    from labs_helper.board import client
    from labs_helper.exercises import progress

    shown = client.join(chosen.address, chosen.code, chosen.alias)
    print(
        f"You are on the class board as {shown}. It gets the number of an exercise, passed or not, tries and time, "
        "and never an answer.\nTo leave: labs board leave"
    )
    if not progress.is_on():
        print("LABS_PROGRESS is off: nothing is sent until it is on.")
    return 0


def _leave(chosen) -> int:
    from labs_helper.board import client

    unsent = client.leave()
    print("You have left the class board: nothing more is sent.")
    if unsent:
        print(f"{unsent} results had not been sent, and are forgotten.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
