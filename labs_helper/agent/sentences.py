"""What the agent says to a model, word for word. `moe-tiny` was trained on these sentences.

They are part of the model, like its weights: never translate them and never change a letter. Only the last group may
change, which other models read. The names, docstrings and choices of the tools (`labs_helper.agent.tools`) reach the
model as well. Sentences for people are in the other modules, and go through `_()`.
"""

from __future__ import annotations

# -- turns: moe-tiny was trained on all of them ----------------------------------------------------------------

REQUEST = "Plan with tools. Answer in JSON."  # the signatures of the tools follow, one a line
RESULTS = "Results:"  # one line for each step follows
RESULT = "${number} = {result}"
ERROR = "Error: {what} Send the corrected plan."

# -- what is wrong with a plan: it fills {what} above ----------------------------------------------------------

NOT_JSON = "the plan is not JSON."
NO_STEPS = 'the plan must be an object with "steps".'
PLAN_TOO_LONG = "the plan is too long."
WRONG_NUMBER_OF_STEPS = "the plan must have 1 to {most} steps."
NO_PARTS = 'step {number} must have "tool" and "arguments".'

AT_STEP = "step {number}: {what}"  # the sentences below fill {what}
NO_TOOL = "there is no tool {name}."
WRONG_ARGUMENTS = "{tool} needs {names}."
UNKNOWN_REFERENCE = "${reference} is not known yet."
WRONG_TYPE = "{name} must be {type}."
WRONG_CHOICE = "{name} must be one of {choices}."
ARGUMENT_TOO_LONG = "the {name} is too long."
ARGUMENT_EMPTY = "the {name} is empty."
DOES_NOT_FIT = "{name} does not fit: {message}."
TOOK_TOO_LONG = "{tool} took too long."
FAILED = "{tool} failed ({error})."
RESULT_TOO_LONG = "the result of {tool} is too long."

# The types of arguments, in words that a small model can follow, by the first word of pydantic's complaint about one.
TYPES = {
    "string": "a string",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "tuple": "a list",
}

# -- what a tool cannot do -------------------------------------------------------------------------------------

EXPRESSION_TOO_LONG = "the expression is too long."
EXPRESSION_REFUSED = "the calculator knows numbers with + - * / ** % and brackets."
POWER_NOT_WHOLE = "the calculator knows only whole powers."
POWER_TOO_LARGE = "that power is too large for the calculator."
DIVISION_BY_ZERO = "nothing can be divided by zero."
NO_PLACE = "no place is called {name}."
NO_FACT = "{name} has no {field}."
NO_WORD = "the dictionary has no {word}."
NO_SPACES = "only words between spaces can be counted."

# -- the full explanation, for models that were not trained on plans -------------------------------------------

FULL_REQUEST = """\
First plan which tools answer the question. Answer with the plan only, as JSON, in one line.
A plan looks like this: {example}
It has 1 to {most} steps. In a later step "$1" stands for the result of step 1.
Then you get the results. Answer the question from them in one sentence, without JSON.
The tools:"""  # one line for each tool follows
FULL_TOOL = "{signature}: {about} {choices}"
CHOICES = "{name} is one of {choices}."
