"""The one exercise of notebook 00: it shows how exercises work."""

from __future__ import annotations

from labs_helper.exercises.base import Exercise, TryAgain, text


def _place_of_changsha(value: object) -> str:
    answer = text(value, "The place").strip()
    folded = answer.casefold()
    if "?" in answer or "？" in answer:
        raise TryAgain("This looks like the question. Hand in the answer of the model, or just the place.")
    # A learner may copy the model's whole sentence, name the country, or the province, in any of the five languages.
    places = ("china", "hunan", "中国", "中國", "湖南", "중국", "후난", "中国", "hunán")
    if any(place in folded for place in places):
        return "Right. You have seen how a check works: it looks for the fact, not for one wording."
    raise TryAgain("I do not find a country or a province in it. Read the answer of the model once more.")


EXERCISES = (
    Exercise(
        "0.1",
        "Copy a fact from an answer",
        _place_of_changsha,
        (
            "Look at the answer above. It names a country or a province.",
            'Write the place between quotes, for example place = "Kenya". The name alone is enough.',
            'The city of Changsha is in the province Hunan, in China. Write place = "China".',
        ),
    ),
)
