"""The checks of lab 01's experiments: a needle test that can fail, the loss of DPO, draws at a temperature.

What a learner measures depends on the model and on chance, so a check asks whether the conclusion follows from the
numbers, and never whether the numbers are ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from labs_helper.common.translate import _
from labs_helper.exercises import diagnosis, stored
from labs_helper.exercises.base import MOST_PARTS, TryAgain, a_function, as_list, number, text

# --- 1.7 A needle test, judged --------------------------------------------------------------------------------

FEWEST_TEXTS = 20
UNLIKELY = 0.05  # a result that guessing gives less often than this is better than guessing
BETTER, NO_BETTER = "better than guessing", "no better than guessing"


def by_guessing(found: int, asked: int, share: float) -> float:
    """How often guessing alone gives at least `found` right answers of `asked`: the upper tail of the binomial.

    Example:
        by_guessing(1, 2, 0.5)      # 0.75
    """
    return sum(math.comb(asked, k) * share**k * (1 - share) ** (asked - k) for k in range(found, asked + 1))


def needle(value: object) -> str:
    """Exercise 1.7: a needle test of the learner's own, and whether it beats guessing."""
    if not isinstance(value, (tuple, list)) or len(value) != 4:
        raise TryAgain(_("Hand in four things: how many other codes, how often asked, how often found, your verdict."))
    names = (_("The number of other codes"), _("How often you asked"), _("How often it was found"))
    counts = []
    for part, name in zip(value, names, strict=False):
        count = number(part, name)
        if count != int(count) or count < 0:
            raise TryAgain(
                _("{name} must be a whole number, 0 or more; a share is not enough. I was given {count}.").format(
                    name=name, count=count
                )
            )
        counts.append(int(count))
    others, asked, found = counts
    verdict = " ".join(text(value[3], _("The verdict")).lower().replace(".", " ").split())
    if others == 0:
        raise TryAgain(
            _("Without another code there is nothing to confuse: guessing is always right. Add at least one.")
        )
    if found > asked:
        raise TryAgain(_("Found {found} of {asked}? Did you swap the two?").format(found=found, asked=asked))
    if asked < FEWEST_TEXTS:
        raise TryAgain(
            _("{asked} texts say little: luck alone moves the result by a lot. Ask at least {least} times.").format(
                asked=asked, least=FEWEST_TEXTS
            )
        )
    if asked > MOST_PARTS:
        raise TryAgain(_("Nobody asks {asked} times here. Check the second number.").format(asked=asked))
    if verdict not in (BETTER, NO_BETTER):
        raise TryAgain(_('The verdict is "{better}" or "{no_better}".').format(better=BETTER, no_better=NO_BETTER))
    share = 1 / (others + 1)
    luck = by_guessing(found, asked, share)
    facts_of_it = _(
        "Other codes: {others}, so guessing is right in {share:.0%}. It gives {found} of {asked} or more in "
        "{luck:.1%} of all tries."
    ).format(others=others, share=share, found=found, asked=asked, luck=luck)
    right = BETTER if luck < UNLIKELY else NO_BETTER
    if verdict == right:
        return _("{facts} Your verdict follows from that: {verdict}.").format(facts=facts_of_it, verdict=right)
    if right == BETTER:
        raise TryAgain(_("{facts} That is rare, so luck is a poor explanation.").format(facts=facts_of_it))
    raise TryAgain(_("{facts} That is not rare, so luck alone explains it.").format(facts=facts_of_it))


# --- 1.8 The loss of DPO ----------------------------------------------------------------------------------


def dpo(value: object) -> str:
    """Exercise 1.8: the loss of DPO as a function of four log-probabilities and beta."""
    function = a_function(value, "dpo_loss")
    tried = stored.cases("1.8")
    diagnosis.judge(
        function,
        tried,
        {
            "margin": _("This is beta times the gap. The loss is -log of its sigmoid."),
            "sigmoid": _("This is the sigmoid, a probability. The loss is minus its logarithm."),
            "sign": _(
                "The sign is wrong: a loss falls to 0 as the better answer wins. Put a minus before the logarithm."
            ),
            "exchanged": _("Better and worse are exchanged: your loss falls when the worse answer becomes likelier."),
            "no frozen copy": _(
                "The frozen copy is missing. Only the change against it counts: better - better_frozen."
            ),
            "frozen copy added": _("Subtract the frozen log-probabilities; you added them."),
            "changes added": _("You added the two changes. The gap is the first minus the second."),
            "no beta": _("beta is missing: it multiplies the gap, inside the sigmoid."),
            "beta outside": _("beta is outside. It multiplies the gap, inside the sigmoid."),
            "beta fixed": _("beta is an argument. Do not write 0.1 inside."),
            "base 10": _("Take the natural logarithm, math.log, not the one to base 10."),
            "base 2": _("Take the natural logarithm, math.log, not the one to base 2."),
            "": _("Work one pair out on paper: the gap, times beta, sigmoid, -log."),
        },
        call=lambda *arguments: f"dpo_loss{arguments}",
        close=lambda answer, right: diagnosis.near(answer, right, 1e-3),
    )
    return _(
        "Right for all {count} pairs. No change gives ln 2 = 0.693; below that the better answer has gained on the "
        "worse one."
    ).format(count=len(tried))


# --- 1.9 A temperature at which half of the draws differ ----------------------------------------------------

FEWEST_DRAWS = 20


def half_new(value: object) -> str:
    """Exercise 1.9: about half of the learner's draws are different."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TryAgain(_("Hand in two things: the temperature and the list of draws."))
    temperature, draws = value
    if isinstance(temperature, (list, tuple)) and not isinstance(draws, (list, tuple)):
        raise TryAgain(_("First the temperature, then the draws."))
    temperature = number(temperature, _("The temperature"))
    if isinstance(draws, (str, bytes)):
        raise TryAgain(_("The draws must be a list of texts. I was given one text."))
    if isinstance(draws, (set, frozenset, Mapping)):
        raise TryAgain(_("Hand in the draws as a list. A set keeps one of each, so nobody can count the repeats."))
    texts = [str(part).strip() if isinstance(part, str) else part for part in as_list(draws, what=_("The draws"))]
    if any(hasattr(part, "text") for part in texts):
        raise TryAgain(_("These are whole answers with their statistics. Hand in the texts: answer.text."))
    texts = [text(part, _("Each draw")) for part in texts]
    if temperature <= 0:
        raise TryAgain(_("At temperature 0 nothing is drawn: the most probable token is always taken. Go above 0."))
    if len(texts) < FEWEST_DRAWS:
        raise TryAgain(
            _("{count} draws are too few to speak of half. Draw {least} times.").format(
                count=len(texts), least=FEWEST_DRAWS
            )
        )
    different = len(set(texts))
    share = different / len(texts)
    told = _("{different} of {count} draws are different").format(different=different, count=len(texts))
    if 0.4 <= share <= 0.6:
        return _("{told} at temperature {temperature:g}: about half.").format(told=told, temperature=temperature)
    if different == 1:
        raise TryAgain(
            _("All draws are the same. Give each one a seed of its own; one seed draws the same text every time.")
        )
    if share > 0.6:
        raise TryAgain(_("{told}: more than half. Lower the temperature.").format(told=told))
    raise TryAgain(_("{told}: fewer than half. Raise the temperature.").format(told=told))
