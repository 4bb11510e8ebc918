"""The `labs` command: each command calls one function of a room and prints what it returns.

The functions here are the commands; `_app` gives them their names. typer reads their annotations when the command runs
and not at import, so their help comes in the language of that moment. Rooms are imported where they are needed:
`labs --help` and completion wait for none. The module is long because it lists the options of every command; none does
work of its own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from labs_helper.common import addresses, endings, platforms, translate
from labs_helper.common.markup import columns, padded
from labs_helper.common.translate import _, _n
from labs_helper.errors import BadRequest, LabError

_INTERRUPTED = 130  # what shells expect after Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the `labs` command.

    Args:
        arguments: the words after `labs`; None takes them from the command line.

    Returns:
        The exit status: 0 good, 1 something to fix, 2 a wrong command, 130 interrupted.

    Example:
        main(["doctor", "--lab", "01"])
    """
    platforms.tolerant_output()
    try:
        with endings.by_signal():
            status = _run(arguments)
        if sys.stdout is not None:  # as it is after `labs doctor >&-`
            sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()  # the reader, such as `head`, has enough
        return 1
    except OSError as error:
        _drop_output()
        _say(_refused(error))
        return 1
    if status == _INTERRUPTED:
        print(_("Stopped."), file=sys.stderr)
    return status


def _run(arguments: Sequence[str] | None) -> int:
    try:
        typer.main.get_command(_app()).main(arguments, prog_name="labs")
    except SystemExit as end:  # typer ends every command this way
        return end.code if isinstance(end.code, int) else 0
    except LabError as error:
        _say(error)
        return 1
    return 0


def _say(error: LabError) -> None:
    print("\n".join(error._render_traceback_()), file=sys.stderr)


def _refused(error: OSError) -> LabError:
    """What the system has refused and no room has foreseen: a full disk behind `>`, a folder without rights."""
    what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
    return LabError(
        _("The system does not let the command finish ({reason}).").format(reason=what),
        _("Check the free space, the path, and who may write there."),
    )


def _drop_output() -> None:
    """Throw away what cannot be written any more: at the end Python would complain about it."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _app() -> typer.Typer:
    app = _group(_("Tools of the Phi-3.5 labs."), completion=True)
    app.callback(invoke_without_command=True, no_args_is_help=False)(_by_default)
    app.command("doctor", help=_("Check this machine for the labs."))(_doctor)
    app.command("reset", help=_("Restore a lab as it was handed out. Your version is kept beside it."))(_reset)
    app.command("update", help=_("Bring the course up to date. What you changed is kept beside it."))(_update)
    app.command("progress", help=_("Show which exercises passed."))(_progress)
    app.command("page", help=_("Write a lab, with your answers, as one HTML page that needs no network."))(_page)
    app.add_typer(_models(), name="models")
    app.add_typer(_notebooks(), name="notebooks")
    app.add_typer(_translate(), name="translate")
    app.add_typer(_workshop(), name="workshop")
    app.add_typer(_board(), name="board")
    return app


def _group(text: str, *, completion: bool = False) -> typer.Typer:
    # Plain text and no rich: it reads the same in a cell, with a screen reader and in a file, and starts sooner.
    return typer.Typer(
        help=text,
        no_args_is_help=True,
        add_completion=completion,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )


def _models() -> typer.Typer:
    group = _group(_("List, fetch, verify, move and remove models and adapters. Without a command: list them."))
    group.callback(invoke_without_command=True, no_args_is_help=False)(_models_by_default)
    group.command("list", help=_("List the models and say which are here."))(_list)
    group.command("fetch", help=_("Download a model. A download that stopped goes on."))(_fetch)
    group.command("remove", help=_("Delete a model or an adapter and give its disk space back."))(_remove)
    group.command("export", help=_("Write a model or an adapter as a pack, for a USB stick."))(_export)
    group.command("import", help=_("Import a model or an adapter from a pack."))(_import)
    group.command("verify", help=_("Check every byte of a model or an adapter."))(_verify)
    group.command("convert", help=_("Make a 4-bit MLX model from a Hugging Face folder."))(_convert)
    group.command("serve", help=_("Offer the models on this computer to the room, read-only."))(_serve)
    return group


def _notebooks() -> typer.Typer:
    group = _group(_("For authors: make the notebooks from their sources."))
    group.command("build", help=_("Write both editions. The solution edition is run."))(_build)
    group.command("check", help=_("Compare both editions with their sources. Exit code 0 or 1."))(_check)
    group.command("new", help=_("Start a lab."))(_new)
    return group


def _translate() -> typer.Typer:
    group = _group(_("For translators: the course in other languages."))
    group.command("extract", help=_("Write templates (.pot) for other tools, in build/pot."))(_extract)
    group.command("update", help=_("Bring the PO files up to date with the English."))(_update_translations)
    group.command("status", help=_("Show how far each translation is."))(_status)
    group.command("check", help=_("Say what is wrong with the translations. Exit code 0 or 1."))(_check_translations)
    group.command("documents", help=_("Write README in the languages that offer it."))(_documents)
    group.command("init", help=_("Start a language."))(_init)
    return group


def _workshop() -> typer.Typer:
    group = _group(_("For instructors: what a class needs."))
    group.command("run-sheet", help=_("Print a timetable from the minutes in the notebooks."))(_run_sheet)
    group.command("preflight", help=_("Check this machine for a class. Exit code 0 or 1."))(_preflight)
    group.command("wheelhouse", help=_("Collect the packages for computers without a network."))(_wheelhouse)
    group.command("zip", help=_("Write the learner edition as a zip. Solutions and sources are left out."))(_zip)
    group.command("slides", help=_("Make slides of a lab, as one HTML file."))(_slides)
    group.command("link", help=_("Print links to the course: for a hub, for Codespaces, for a terminal."))(_link)
    group.command("home", help=_("Say where this repository is, once, for every text and link."))(_home)
    group.command("board", help=_("Show on one page where the class is stuck."))(_class_board)
    return group


def _board() -> typer.Typer:
    group = _group(_("Join or leave the class board. Without a command: say where you are."))
    group.callback(invoke_without_command=True, no_args_is_help=False)(_board_by_default)
    group.command("join", help=_("Send results of check to a class board. Never answers."))(_join)
    group.command("leave", help=_("Send nothing more."))(_leave)
    return group


# -- arguments and their completion -------------------------------------------------------------------------------


def _lab(text: str) -> Any:
    return typer.Argument(metavar="NN", help=text, autocompletion=_lab_numbers)


def _model(text: str) -> Any:
    return typer.Argument(help=text, autocompletion=_model_names)


def _edition() -> Any:
    return _option(
        "CODE", _("Of the edition, for example ko; by default the language that is spoken here."), "--language"
    )


def _option(metavar: str, text: str, *names: str) -> Any:
    return typer.Option(*names, metavar=metavar, help=text)


def _lab_numbers(incomplete: str) -> list[tuple[str, str]]:
    from labs_helper.catalog import labs

    return [(lab.number, translate.of_table(lab.title)) for lab in labs() if lab.number.startswith(incomplete)]


def _model_names(incomplete: str) -> list[str]:
    from labs_helper import catalog, store

    names = dict.fromkeys(name for card in catalog.cards() for name in (card.name, card.role))
    names |= dict.fromkeys(store.adapters.names())
    return [name for name in names if name.startswith(incomplete)]


# -- for learners -----------------------------------------------------------------------------------------------


def _by_default(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help=_("Show the version."))] = False,
) -> None:
    if version:
        import labs_helper

        print(labs_helper.__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        from labs_helper.exercises import report

        print(context.get_help(), end="\n\n")
        print(report.standing())


def _doctor(
    lab: Annotated[
        str | None,
        typer.Option(metavar="NN", help=_("Check for one lab, for example 01."), autocompletion=_lab_numbers),
    ] = None,
) -> None:
    from labs_helper.doctor import check_setup

    report = check_setup(lab)
    print(report)
    _end(good=report.ok)


def _reset(
    labs: Annotated[list[str], _lab(_("For example 01."))],
    language: Annotated[str | None, _edition()] = None,
) -> None:
    from labs_helper.course import reset

    for lab in labs:
        print(reset.restore(lab, language=language))


def _update(
    source: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help=_("The newer zip, or its folder, if the course came as a zip.")),
    ] = None,
) -> None:
    from labs_helper.course import update

    print(update.update(source))


def _progress(
    lab: Annotated[str | None, _lab(_("One lab, for example 01."))] = None,
) -> None:
    from labs_helper.exercises import report

    print(report.report(lab))


def _board_by_default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        from labs_helper.board import client

        print(client.report())


def _join(
    address: Annotated[str, typer.Argument(help=_("For example http://192.168.1.20:8765."))],
    code: Annotated[str, typer.Argument(help=_("The join code."))],
    alias: Annotated[str | None, _option("NAME", _("What the board shows; a random one by default."))] = None,
) -> None:
    from labs_helper.board import client
    from labs_helper.exercises import progress

    shown = client.join(address, code, alias)
    print(_("You are on the class board as {alias}.").format(alias=shown))
    print(_("It receives the number of an exercise, whether it passed, the tries and the time, and never an answer."))
    print(_("To leave: labs board leave"))
    if not progress.is_on():
        print(_("LABS_PROGRESS is off: nothing is sent until it is on."))


def _leave() -> None:
    from labs_helper.board import client

    unsent = client.leave()
    print(_("You have left the class board: nothing more is sent."))
    if unsent:
        print(
            _n(
                "{count} result had not been sent, and is forgotten.",
                "{count} results had not been sent, and are forgotten.",
                unsent,
            ).format(count=unsent)
        )


# -- models -----------------------------------------------------------------------------------------------------


def _models_by_default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        _list()


def _list() -> None:
    from labs_helper import catalog, store
    from labs_helper.common.units import size
    from labs_helper.errors import ModelNotHere

    rows = [
        (_("NAME"), _("ROLE"), _("TIER"), _("HERE"), _("ON DISK"), _("FORMAT"), _("CONTEXT"), _("LICENCE")),
    ]
    for card in catalog.cards():
        try:
            store.verify(store.locate(card), ships_code=card.ships_code)
            here = _("yes")
        except ModelNotHere:
            here = _("no")
        except LabError:
            here = _("broken")
        context = _("unknown") if card.context is None else f"{card.context:,}"
        disk = size(card.bytes_on_disk)
        rows.append((card.name, card.role, card.tier, here, disk, card.format, context, card.licence or ""))
    rows += [_adapter_row(name) for name in store.adapters.names()]
    _print_table(rows)


def _adapter_row(name: str) -> tuple[str, str, str, str, str, str, str, str]:
    from labs_helper import store
    from labs_helper.common.units import size

    path, base = store.adapters.locate(name), ""
    try:
        store.adapters.verify(path)
        base, here = store.adapters.base_of(name), _("yes")
    except LabError:
        here = _("broken")
    weights = path / store.adapters.WEIGHTS
    disk = size(weights.stat().st_size if weights.is_file() else None)
    return name, _("for {base}").format(base=base) if base else "", _("adapter"), here, disk, "mlx", "", ""


def _fetch(
    name: Annotated[str, _model(_("A catalog name, or a role such as instruct."))],
    source: Annotated[str | None, _option("URL", _("A computer that runs `labs models serve`."), "--from")] = None,
) -> None:
    from labs_helper import store

    card = store.real_card(name)
    if card.name != name:  # a role: say at once which of its models this is, and not after gigabytes
        print(_("{role}: {name}.").format(role=name, name=card.name), flush=True)
    print(_("Ready: {path}").format(path=store.fetch(name, source)))


def _remove(name: Annotated[str, _model(_("A catalog name or a role."))]) -> None:
    from labs_helper import store
    from labs_helper.common.units import size

    print(_("Removed; {size} of disk are free again.").format(size=size(store.remove(name))))


def _export(
    name: Annotated[str, _model(_("A catalog name or a role."))],
    destination: Annotated[str, typer.Argument(help=_("A folder, or a new file that ends in .tar."))],
) -> None:
    from labs_helper import store

    print(_("Written: {path}").format(path=store.export(name, destination)))


def _import(pack: Annotated[str, typer.Argument(help=_("A folder or a .tar file."))]) -> None:
    from labs_helper import store

    print(_("Ready: {path}").format(path=store.import_pack(pack)))


def _verify(name: Annotated[str, _model(_("A catalog name or a role."))]) -> None:
    from labs_helper import store

    print(store.check(name))


def _convert(
    source: Annotated[str, typer.Argument(help=_("A folder with 16-bit safetensors, or a catalog name."))],
    destination: Annotated[str, typer.Argument(help=_("A folder that does not exist yet."))],
    bits: Annotated[int, _option("N", _("2, 3, 4, 5, 6 or 8; 16 rounds nothing."))] = 4,
    group_size: Annotated[int | None, _option("N", _("Weights that share a scale: 32, 64 or 128."))] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=_(
                "The type of scales and norms: float32 for a CPU, float16 or bfloat16 for the GPU of a Mac; "
                "by default as in the source."
            ),
        ),
    ] = None,
    recipe: Annotated[
        str | None, _option("NAME", _("A mixture of mlx-lm in place of --bits, for example mixed_3_6."))
    ] = None,
    text: Annotated[str | None, _option("FILE", _("A short text to compare source and result on."))] = None,
) -> None:
    from labs_helper.engines import convert

    to_compare = None if text is None else _text_of(text)
    print(
        convert.convert(
            source, destination, bits=bits, group_size=group_size, dtype=dtype, recipe=recipe, text=to_compare
        )
    )


def _serve(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME", help=_("Models; every real one that is here by default."), autocompletion=_model_names
        ),
    ] = None,
    host: Annotated[str, _option("ADDRESS", _("0.0.0.0 for all networks."))] = addresses.LOCAL_HOST,
    port: Annotated[int | None, _option("N", _("0 picks a free one."))] = None,
    wheelhouse: Annotated[Path | None, _option("FOLDER", _("Packages to offer as well."))] = None,
) -> None:
    from labs_helper.store import lan, wheels

    print(_("Preparing ..."), flush=True)
    with lan.serve(names or (), host, lan.PORT if port is None else port, wheelhouse) as server:
        print(_("Serving {models}. Stop with Ctrl-C.").format(models=", ".join(server.models)))
        for url in server.addresses:
            if set(server.models) - {wheels.FOLDER}:
                print(f"  labs models fetch NAME --from {url}")
            if wheels.FOLDER in server.models:
                print(f"  python start.py lab --wheelhouse {url}/{wheels.FOLDER}")
        if not addresses.is_local(host):
            print(_("Everyone on these networks can read these models. Nobody can change them."))
        sys.stdout.flush()
        server.wait()


# -- for authors ------------------------------------------------------------------------------------------------


def _build(
    names: Annotated[list[str] | None, _lab(_("For example 01; all labs by default."))] = None,
    language: Annotated[
        str | None,
        _option("CODE", _("One language only, for example ko; by default English and all that offer the lab.")),
    ] = None,
) -> None:
    from labs_helper.course import authoring

    authoring.build(names or None, language=language)


def _check(
    names: Annotated[list[str] | None, _lab(_("For example 01; all labs by default."))] = None,
) -> None:
    from labs_helper.course import authoring

    problems = authoring.check(names or None)
    for problem in problems:
        print(problem, file=sys.stderr)
    _end(good=not problems)


def _new(
    number: Annotated[str, typer.Argument(help=_("Two digits that no lab has, for example 08."))],
    name: Annotated[str, typer.Argument(help=_("For example my-lab."))],
) -> None:
    from labs_helper.course import authoring, template

    for path in authoring.new(number, name):
        print(_("Written: {path}").format(path=path))
    print(template.next_steps(number, name))


# -- for translators --------------------------------------------------------------------------------------------


def _language(text: str) -> Any:
    return typer.Argument(metavar="CODE", help=text, autocompletion=_language_codes)


def _language_codes(incomplete: str) -> list[tuple[str, str]]:
    from labs_helper.course.translation import offered

    return [(each.code, each.name) for each in offered.languages() if each.code.startswith(incomplete)]


def _extract() -> None:
    from labs_helper.course.translation import work

    for path in work.extract():
        print(_("Written: {path}").format(path=path))


def _update_translations(
    language: Annotated[str | None, _language(_("For example ko; all languages by default."))] = None,
    start: Annotated[
        str | None, _option("NAME", _("A lab or document to begin, for example 04-quantize or docs/models.md."))
    ] = None,
    stale_ok: Annotated[
        bool, typer.Option("--stale-ok", help=_("Give translators 30 days for what is not translated now."))
    ] = False,
) -> None:
    from labs_helper.course.translation import work

    for line in work.update(language, start=start, stale_ok=stale_ok):
        print(line)


def _status(
    language: Annotated[str | None, _language(_("For example ko; all languages by default."))] = None,
) -> None:
    from labs_helper.course.translation import work

    _print_table(work.status(language))


def _check_translations(
    language: Annotated[str | None, _language(_("For example ko; all languages by default."))] = None,
) -> None:
    from labs_helper.course.translation import work

    problems = work.check(language)
    for problem in problems:
        print(problem, file=sys.stderr)
    _end(good=not problems)


def _documents(
    language: Annotated[str | None, _language(_("For example ko; all languages by default."))] = None,
) -> None:
    from labs_helper.course.translation import documents

    for path in documents.build(language):
        print(_("Written: {path}").format(path=path))


def _init(
    language: Annotated[str, typer.Argument(metavar="CODE", help=_("Of ISO 639, for example es."))],
    name: Annotated[str, _option("NAME", _("What its speakers call it, for example español."))] = "",
) -> None:
    from labs_helper.course.translation import work

    for path in work.init(language, name):
        print(_("Written: {path}").format(path=path))
    print(_("Next: CONTRIBUTING.md, under Translate."))


# -- for instructors --------------------------------------------------------------------------------------------


def _run_sheet(
    labs: Annotated[list[str] | None, _lab(_("In the order of the day; all labs by default."))] = None,
    start: Annotated[str | None, _option("HH:MM", _("The time of the first section; 09:00 by default."))] = None,
    pause: Annotated[int, _option("MINUTES", _("0 for no breaks."), "--break")] = 10,
    work: Annotated[int, _option("MINUTES", _("Work before a break."), "--after")] = 60,
    lunch: Annotated[str, _option("HH:MM", _("When lunch is, if the class still runs then; '' for none."))] = "12:30",
    skip: Annotated[list[str] | None, _option("LAB.SECTION", _("Leave a section out, for example 01.9."))] = None,
    pace: Annotated[float, _option("N", _("How much longer a class takes, for example 1.25."))] = 1.0,
    core: Annotated[bool, typer.Option("--core", help=_("Leave out what the labs call optional."))] = False,
    plan: Annotated[str | None, _option("NAME", _("A plan of the teaching guide, for example half-day."))] = None,
    language: Annotated[str | None, _edition()] = None,
) -> None:
    from labs_helper.course import timetable

    spoken = language or translate.language()
    with translate.speaking(spoken):
        if plan:
            print(timetable.planned(plan, start=start, language=spoken))
            return
        print(
            timetable.run_sheet(
                labs,
                start=start or "09:00",
                pause=pause,
                work=work,
                lunch=lunch,
                skip=skip or (),
                pace=pace,
                core=core,
                language=spoken,
            )
        )


def _preflight(
    labs: Annotated[list[str] | None, _lab(_("For example 01; all labs by default."))] = None,
    models: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="NAME", help=_("A real model that must be here."), autocompletion=_model_names),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help=_("Do not ask the bundled model a question."))] = False,
    wheelhouse: Annotated[
        Path | None, _option("FOLDER", _("A wheelhouse that must be whole and hold this computer's packages."))
    ] = None,
) -> None:
    from labs_helper.course import preflight

    result = preflight.preflight(labs, models=models, ask=not quick, wheelhouse=wheelhouse)
    print(result)
    _end(good=result.ok)


def _wheelhouse(
    destination: Annotated[Path, typer.Argument(help=_("A folder, such as a stick."))],
    systems: Annotated[
        str, _option("NAMES", _("For example macos-arm64,linux-x86_64,windows-x86_64; all three by default."))
    ] = "macos-arm64,linux-x86_64,windows-x86_64",
    python: Annotated[str, _option("VERSIONS", _("For example 3.12,3.13."))] = "3.12,3.13",
) -> None:
    from labs_helper.course import wheelhouse

    folder, _listing = wheelhouse.collect(destination, _words(systems), _words(python))
    print(_("Ready: {path}").format(path=folder))


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _zip(
    destination: Annotated[
        str | None, typer.Argument(metavar="FILE", help=_("A file that ends in .zip; in dist/ by default."))
    ] = None,
) -> None:
    from labs_helper.common.units import size
    from labs_helper.course import release

    path = release.build(destination)
    print(_("Written: {path} ({size})").format(path=path, size=size(path.stat().st_size)))


def _page(
    notebook: Annotated[str, _lab(_("For example 01, or the path of a notebook."))],
    destination: Annotated[Path | None, _option("FILE", _("An HTML file; in dist/ by default."), "--to")] = None,
    language: Annotated[str | None, _edition()] = None,
) -> None:
    from labs_helper.course.page import page

    path = page(notebook, destination, language=language or translate.language())
    print(_("Written: {path}").format(path=path))


def _slides(
    lab: Annotated[str, _lab(_("For example 01."))],
    destination: Annotated[Path | None, _option("FILE", _("An HTML file; in dist/ by default."), "--to")] = None,
    language: Annotated[str | None, _edition()] = None,
) -> None:
    from labs_helper.course import slides

    path = slides.slides(lab, destination, language=language or translate.language())
    print(_("Written: {path}").format(path=path))


def _link(
    hub: Annotated[
        str | None, typer.Argument(help=_("For example https://hub.example.org; without it, links for other places."))
    ] = None,
    repository: Annotated[
        str | None, typer.Argument(help=_("The address of the course's git repository; by default this one's."))
    ] = None,
    branch: Annotated[str, _option("NAME", _("A branch of that repository."))] = "main",
) -> None:
    from labs_helper.course import home, workshop

    address = repository or home.repository()
    if hub:
        print(workshop.pull_link(hub, address, branch))
        return
    print(_("In a terminal:") + f"\n  git clone {address} phi35-labs && cd phi35-labs && make lab")
    if link := home.codespaces(address):
        print(_("In Codespaces:") + f"\n  {link}")


def _home(
    address: Annotated[
        str | None, typer.Argument(help=_("For example https://github.com/someone/phi35-labs; '' forgets it."))
    ] = None,
) -> None:
    from labs_helper.course import home

    if address is None:
        print(home.home() or _("The address of this repository is not set."))
        return
    for path in home.set_home(address):
        print(_("Written: {path}").format(path=path))


def _class_board(
    host: Annotated[str, _option("ADDRESS", _("0.0.0.0 for all networks."))] = addresses.LOCAL_HOST,
    port: Annotated[int | None, _option("N", _("0 picks a free one."))] = None,
    data: Annotated[
        Path | None, _option("FILE", _("Where the board keeps results; a file for each day by default."))
    ] = None,
    minutes: Annotated[float | None, _option("N", _("Stop after this many minutes."))] = None,
    remove: Annotated[
        list[str] | None, _option("ALIAS", _("Only remove this learner. 'Guest *' removes many."), "--remove")
    ] = None,
) -> None:
    from labs_helper.board import rules
    from labs_helper.course import workshop

    data = data.expanduser() if data else None
    if remove:
        print(workshop.remove_learners(remove, data))
        return
    with workshop.class_board(data, host, rules.PORT if port is None else port, minutes) as board:
        print(_("The page, for you alone:") + f"\n  {board.page}")
        if board.joining.only_here:
            print(_("Only this computer can join. For the room: --host 0.0.0.0"))
        commands = (f"  {command}" for command in board.joining.commands)
        print(_("Learners who want to take part type:"), *commands, sep="\n")
        if not board.joining.only_here:
            print(_("Or they open this page, which has a QR code on yours:") + f"\n  {board.joining.link}")
        print(_("Join code: {code}").format(code=board.joining.code))
        print(_("Kept in {file}. Delete it after the class.").format(file=board.storage.file))
        print(_("Stop with Ctrl-C."), flush=True)
        board.wait(minutes)
    print(_("The class board has stopped."))


# -- printing ---------------------------------------------------------------------------------------------------


def _end(*, good: bool) -> None:
    """End the command, with the exit code for something to fix if it is not good."""
    if not good:
        raise typer.Exit(1)


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(columns, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(padded(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _text_of(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise BadRequest(
            _("{file} cannot be read ({reason}).").format(file=file, reason=error), _("Name a text file in UTF-8.")
        ) from error


if __name__ == "__main__":
    raise SystemExit(main())
