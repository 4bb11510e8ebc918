"""The one exercise of notebook 00: it shows how exercises work."""

from __future__ import annotations

from labs_helper.common.translate import _
from labs_helper.exercises.base import Exercise, TryAgain, text


def _place_of_changsha(value: object) -> str:
    answer = text(value, _("The place")).strip()
    folded = answer.casefold()
    if "?" in answer or "？" in answer:
        raise TryAgain(_("This looks like the question. Hand in the answer of the model, or just the place."))
    # A learner may copy the model's whole sentence, name the country, or the province, in any of the five languages.
    places = ("china", "hunan", "中国", "中國", "湖南", "중국", "후난", "中国", "hunán")
    if any(place in folded for place in places):
        return _("Right. You have seen how a check works: it looks for the fact, not for one wording.")
    raise TryAgain(_("I do not find a country or a province in it. Read the answer of the model once more."))


def exercises() -> tuple[Exercise, ...]:
    """The exercises of lab 00, in their order, with titles and hints in the learner's language."""
    return (
        Exercise(
            "0.1",
            _("Copy a fact from an answer"),
            _place_of_changsha,
            (
                _("Look at the answer above. It names a country or a province."),
                _('Write the place between quotes, for example place = "Kenya". The name alone is enough.'),
                _('The city of Changsha is in the province Hunan, in China. Write place = "China".'),
            ),
        ),
    )
