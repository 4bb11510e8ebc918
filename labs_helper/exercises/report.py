"""How far a person is: every exercise with its state, or one line."""

from __future__ import annotations

from labs_helper.catalog.labs import normal
from labs_helper.common.markup import columns, padded
from labs_helper.common.translate import _, _n
from labs_helper.errors import BadRequest
from labs_helper.exercises.progress import Entry, entries, guesses, is_on, progress_file, trouble


def report(lab: str | None = None) -> str:
    """Every exercise and how far this person is, as lines of text.

    Args:
        lab: the number of a lab, "1" or "01"; None takes all.

    Raises:
        BadRequest: the lab has no exercises.
        LabError: the file cannot be read.

    Example:
        print(report("01"))
    """
    from labs_helper.exercises import all_exercises, labs_with_exercises

    known = all_exercises(lab)
    if not known:
        raise BadRequest(
            _("Lab {lab!r} has no exercises.").format(lab=lab),
            _("Labs with exercises: {labs}.").format(labs=", ".join(labs_with_exercises())),
        )
    labs = {normal(number.partition(".")[0]) for number in known}
    noted = entries()
    width = max(columns(exercise.title) for exercise in known.values())
    passed = sum(entry.passed_at is not None for number, entry in noted.items() if number in known)
    guessed = sum(normal(place.partition(".")[0]) in labs for place in guesses())
    guess_lines = [_n("{count} guess is kept.", "{count} guesses are kept.", guessed).format(count=guessed)]
    kept = [_("Kept in {file}").format(file=progress_file())]
    if not is_on():
        kept = [_("Kept in {file} (LABS_PROGRESS is off: nothing new is kept)").format(file=progress_file())]
    elif (problem := trouble())[0]:
        kept = list(problem)
    return "\n".join(
        [
            _n("{passed} of {count} exercise passed.", "{passed} of {count} exercises passed.", len(known)).format(
                passed=passed, count=len(known)
            ),
            *(
                f"  {number:<4}  {padded(exercise.title, width)}  {_state(noted.get(number))}"
                for number, exercise in known.items()
            ),
            *(guess_lines if guessed else []),
            *kept,
        ]
    )


def standing() -> str:
    """How many exercises passed, and the first one that has not, in a line.

    Raises:
        LabError: the progress file cannot be read.

    Example:
        print(standing())  # 3 of 37 exercises passed. Next: 1.3, Apply a temperature (notebooks/01-instruct.ipynb).
    """
    from labs_helper.catalog import labs
    from labs_helper.exercises import all_exercises

    known, noted = all_exercises(), entries()
    left = [number for number in known if number not in noted or noted[number].passed_at is None]
    counted = _n("{passed} of {count} exercise passed.", "{passed} of {count} exercises passed.", len(known)).format(
        passed=len(known) - len(left), count=len(known)
    )
    if not left:
        return counted
    number = left[0]
    lab = next(lab for lab in labs() if lab.number == normal(number.partition(".")[0]))
    return (
        counted
        + " "
        + _("Next: {number}, {title} (notebooks/{file}.ipynb).").format(
            number=number, title=known[number].title, file=lab.stem
        )
    )


def _state(entry: Entry | None) -> str:
    if entry is None:
        return _("not tried")
    tries = _n("{count} try", "{count} tries", entry.tries).format(count=entry.tries)
    if entry.passed_at is None:
        return _("not yet, {tries}").format(tries=tries)
    return _("passed {moment}, {tries}").format(moment=entry.passed_at[:16].replace("T", " "), tries=tries)
