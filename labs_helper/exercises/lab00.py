"""The one exercise of notebook 00: it shows how exercises work."""

from __future__ import annotations

import re
import unicodedata

from labs_helper.common.translate import _
from labs_helper.exercises.base import Exercise, TryAgain, text

# A learner may copy the model's whole sentence, name the country, or the province, in any of the five languages.
PLACES = ("china", "hunan", "中国", "中國", "湖南", "중국", "후난", "hunán", "中华人民共和国")
SHORT_FORMS = ("prc", "p.r.c", "p.r. china", "zhongguo", "zhōngguó")
DENIED = re.compile(
    r"\b(?:not|never|isn't|is not|no es|no está)\b[^.,;!]{0,25}\b(?:china|hunan|hunán)\b"
    r"|不在|不是|ではない|ではありません|아니"
)


def _place_of_changsha(value: object) -> str:
    answer = text(value, _("The place")).strip()
    folded = unicodedata.normalize("NFC", answer).casefold().replace("’", "'")
    if "?" in answer or "？" in answer:
        raise TryAgain(_("This looks like the question. Hand in the answer of the model, or just the place."))
    if DENIED.search(folded):
        raise TryAgain(_("This says where Changsha is not. Write the place where it is."))
    if any(place in folded for place in PLACES) or folded.rstrip(".").startswith(SHORT_FORMS):
        return _("Right. You have seen how a check works: it looks for the fact, not for one wording.")
    if folded.rstrip(".!。") in ("changsha", "长沙", "長沙", "창사"):
        raise TryAgain(_("That is the city itself. In which country, or in which province, is it?"))
    if folded.rstrip(".") == "asia":
        raise TryAgain(_("That is the continent. Name the country or the province."))
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
