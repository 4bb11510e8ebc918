"""The first version of a new lab, for `labs notebooks new`: every part that a lab must have, and nothing else."""

from __future__ import annotations

_SOURCE = """\
# %% [markdown] minutes=2
# # Do one thing and see what happens
#
# **You will do:** one sentence with verbs.
#
# **You will learn:** one sentence.
#
# **You will need:**
#
# | | with the bundled model | with the real Phi-3.5-mini |
# | --- | --- | --- |
# | time | 20 minutes | 20 minutes and the download |
# | free memory | 1 GB | 6 GB, on a Mac with Apple silicon |
# | download | nothing | 2.15 GB, once, and only when you ask for it |
#
# Before this: [00: start the course](00-start-here.ipynb).

# %%
from labs_helper import check_setup

check_setup("{number}")

# %%
from labs_helper import check, hint, load

model = load("instruct")
print(f"{{model.name}} answers in this notebook. Why: {{model.reason}}.")

# %% [markdown] minutes=10
# ## 1. Show the thing in full (10 minutes)
#
# The first time, show the plain call, so that the helper hides nothing. One idea a cell, short sentences, and a
# takeaway under every figure.

# %%
answer = model.ask("What is the capital of Kenya?")
answer

# %% [markdown] minutes=5
# ## 2. Let the learner do it (5 minutes)
#
# ### Exercise {lab}.1 (easy, 3 minutes): count the tokens of the answer
#
# An answer carries everything that was measured. How many tokens did the model write?

# %% tags=["exercise"]
written = ...  # your turn: look at the parts of answer

# %% tags=["solution"]
written = answer.generated_tokens

# %%
check("{lab}.1", written)

# %%
hint("{lab}.1")

# %% [markdown] minutes=1
# ## Recap
#
# In this lab you:
#
# - asked, and counted what was written.
#
# **Further reading:** a page that helps.
#
# **Next:** the list of labs is in [00: start the course](00-start-here.ipynb).
#
# Last, give the memory back.

# %%
model.release()
"""

_CHECKS = '''\
"""The exercises of lab {number}. Checks look for properties of an answer, not for one wording."""

from __future__ import annotations

from labs_helper.common.translate import _
from labs_helper.exercises.base import Exercise, TryAgain, number


def _written(value: object) -> str:
    count = number(value, _("The count"))
    if count != int(count) or count < 1:
        raise TryAgain(
            _("A count of tokens is a whole number of at least 1, not {{count:g}}.").format(count=count)
        )
    return _("Right: {{count:.0f}} tokens.").format(count=count)


def exercises() -> tuple[Exercise, ...]:
    """The exercises of lab {number}, in their order, with titles and hints in the learner's language."""
    return (
        Exercise(
            "{lab}.1",
            _("Count the tokens of the answer"),
            _written,
            (
                _("The last line of an answer names its counts. In Python they are attributes of the answer."),
                _("written = answer.generated_tokens"),
            ),
        ),
    )
'''

_NEXT = """\
Now tell the package that the lab exists. Add to labs_helper/catalog/labs.toml:
  [[lab]]
  number = "{number}"
  slug = "{slug}"
  title = "Its title"
  roles = ["instruct"]
  minutes = 18
  exercises = true
Then write the lab, and look at it:
  make notebooks LABS={number}
  make test TESTS="tests/test_project.py tests/exercises/test_exercises.py notebooks/{number}-{slug}.ipynb"
CONTRIBUTING.md says what a lab needs."""


def lab(number: str, slug: str) -> tuple[str, str]:
    """Source and checks of a new lab, as text. Example: `lab("08", "my-lab")[0]` is a source in percent format."""
    names = {"number": number, "lab": str(int(number)), "slug": slug}
    return _SOURCE.format(**names), _CHECKS.format(**names)


def next_steps(number: str, slug: str) -> str:
    """What the author does after `labs notebooks new`. Example: `print(next_steps("08", "my-lab"))`."""
    return _NEXT.format(number=number, lab=str(int(number)), slug=slug)
