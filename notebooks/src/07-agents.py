# %% [markdown]
# # Run an agent whose tools are real
#
# **You will do:** let a model plan, check its plan, run the tools that it names, give it a tool of your own, and make a bad
# plan impossible.
#
# **You will learn:** what an agent is and is not, why nothing that a model writes may run as code, what JSON that fits a
# schema does guarantee, and what it does not.
#
# **You will need:**
#
# | | with the bundled model | with the real Phi-3.5-MoE |
# | --- | --- | --- |
# | time | 45 minutes; 60 seconds to run all cells | the same and the download |
# | free memory | 1 GB | 25 GB, on a Mac with Apple silicon and 48 GB |
# | download | nothing | 23.6 GB, once, and only when you ask for it |
#
# Before this: [00: start the course](00-start-here.ipynb). Helpful: [03: mixture of experts](03-moe.ipynb), whose model
# answers here.

# %%
from labs_helper import check_setup

check_setup("07")

# %%
from labs_helper import check, load

moe = load("moe")
print(f"{moe.name} answers in this notebook. Why: {moe.reason}.")

# %% [markdown] minutes=12
# ## 1. Run an agent whose tools are real (12 minutes)
#
# *New words: [agent](../docs/glossary.md#agent), [tool](../docs/glossary.md#tool), [plan](../docs/glossary.md#plan), [allow-list](../docs/glossary.md#allow-list).*
#
# A model cannot look anything up, and it is bad at large sums. A program is good at both. An **agent** brings them
# together: the model *plans*, the program *does*.
#
# The lab that this course follows had the idea. It asked Phi-3.5-MoE to write a blog post and translate it, with a list of
# "tools" in the prompt, and demanded a plan as JSON. But no tool was ever called: the model wrote the plan, and then it
# made up the results too. Two of the tools that the prompt named did not exist, and its example was not valid JSON.
#
# Here the plan is read, checked and carried out. This is the whole way, first by hand:
#
# 1. Ask the model for a plan, as JSON.
# 2. Read the plan and check it. Do not trust it.
# 3. Run the tools it names, one after the other.
# 4. Give the results to the model and ask for the answer.

# %%
from labs_helper.agent import system_prompt

print(system_prompt())

# %% [markdown]
# That is all `moe-tiny` needs: it was trained on plans of this form. For the real Phi-3.5-MoE, which was not, the helper
# writes more: `system_prompt(detailed=True)`.

# %%
question = "In which city is the Eiffel Tower? Then translate it into Korean."
raw = moe.ask(question, system=system_prompt(), max_tokens=200)
print(raw.text)

# %% [markdown]
# This is text. It only looks like data. `json.loads` makes data of it, or raises an error if it is not JSON.

# %%
import json

plan = json.loads(raw.text)
for number, step in enumerate(plan["steps"], 1):
    print(number, step["tool"], step["arguments"])

# %% [markdown]
# `"$1"` stands for the result of step 1, which nobody knows yet. Valid JSON may still be a bad plan: a tool that is not
# there, an argument that is missing. **pydantic** checks data against a class. What does not fit raises an error.

# %%
from pydantic import BaseModel


class Step(BaseModel):
    tool: str
    arguments: dict[str, str]


class Plan(BaseModel):
    steps: list[Step]


checked = Plan.model_validate_json(raw.text)
print(checked)

# %% [markdown]
# Now the tools. A tool is a Python function on an **allow-list**, here a dict. The plan names a key of the dict and hands
# over texts. It can do nothing else: whatever the model writes, it is never run as code.

# %%
from labs_helper.agent.tools import calculator, place, translate, word_count

allowed = {"calculator": calculator, "place": place, "translate": translate, "word_count": word_count}
results = []
for step in checked.steps:
    arguments = dict(step.arguments)
    for number, result in enumerate(results, 1):
        arguments = {name: value.replace(f"${number}", result) for name, value in arguments.items()}
    results.append(allowed[step.tool](**arguments))
    print(f"{step.tool}({arguments}) = {results[-1]}")

# %% [markdown]
# The last step: the model gets the results as the next message, and puts them into a sentence.

# %%
from labs_helper.agent import results_turn

conversation = [
    {"role": "system", "content": system_prompt()},
    {"role": "user", "content": question},
    {"role": "assistant", "content": raw.text},
    {"role": "user", "content": results_turn(results)},
]
answer = moe.ask(conversation)
print(conversation[-1]["content"], "\n\nAnswer:", answer.text)

# %%
assert results[0] in ("Paris", "파리") and results[-1] in answer.text

# %% [markdown]
# Takeaway: the model decides what to do. The program decides what may be done.

# %% [markdown] minutes=12
# ## 2. Keep the tools safe (12 minutes)
#
# The shortest calculator in Python is `eval`. It is also an open door: `eval` runs *any* Python, and the text comes from a
# model that reads what strangers write. A text need not even be malicious: `9**9**9` has 369 million digits, and your
# computer would work on them until you stop it. So the course's calculator **parses** the text and looks at what is there.

# %%
import ast

print(ast.dump(ast.parse("47 + 38", mode="eval").body, indent=2))

# %%
from labs_helper.errors import LabError

for text in ("(47 + 38) * 2", "9**9**9", "(5).__class__", "open('secret.txt')", "1" * 41):
    try:
        print(f"{text[:20]:20} = {calculator(text)}")
    except LabError as error:
        print(f"{text[:20]:20} refused: {error.what}")

# %% [markdown]
# ### Exercise 7.1 (medium, 8 minutes): write a calculator that cannot be tricked
#
# Write `calculate(expression)` for whole numbers with `+`, `-` and `*`. It returns a number. Everything else, and every text
# of more than 40 characters, raises a `ValueError`. Use no `eval`.

# %% tags=["exercise"]
def calculate(expression):
    ...  # parse, then work out the tree


# %% tags=["solution"]
import operator

signs = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}


def work_out(node):
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in signs:
        return signs[type(node.op)](work_out(node.left), work_out(node.right))
    raise ValueError("This is not a sum.")


def calculate(expression):
    if len(expression) > 40:
        raise ValueError("This is too long.")
    try:
        return work_out(ast.parse(expression, mode="eval").body)
    except SyntaxError as error:
        raise ValueError("This is not a sum.") from error


# %%
check("7.1", calculate)  # for help, run hint("7.1")

# %% [markdown]
# The plan itself must be checked as well, and *before* any step runs. `read_plan` is the helper's version of the pydantic
# class above. It knows the tools and their arguments, and it says in one sentence what is wrong.

# %%
from labs_helper.agent import read_plan, write_plan

bad_plans = [
    "Sure! Here is your plan.",
    write_plan(("search", {"query": "Nairobi"})),
    write_plan(("word_count", {"text": 5})),
    write_plan(("place", {"name": "Kenya"})),
    write_plan(("place", {"name": "Kenya", "field": "mayor"})),
    write_plan(*[("word_count", {"text": "one two"})] * 3),
    write_plan(("word_count", {"text": "$1"})),
    "[" * 1000,
]
for text in bad_plans:
    try:
        read_plan(text)
    except LabError as error:
        print(error.what)

# %% [markdown]
# The plan with `"$1"` in step 1 is a circle: the step waits for itself. A program that followed it could wait for ever.
#
# ### Exercise 7.2 (medium, 6 minutes): find circles in a plan
#
# Write `references_hold(steps)`. `steps` is a list like `plan["steps"]` above, of any length. Return True if every `$1`,
# `$2`, ... in the arguments of a step stands for an *earlier* step, and False if not.

# %% tags=["exercise"]
def references_hold(steps):
    ...  # True or False


# %% tags=["solution"]
import re


def references_hold(steps):
    for number, step in enumerate(steps, 1):
        for text in step["arguments"].values():
            if any(not 1 <= int(found) < number for found in re.findall(r"\$(\d+)", text)):
                return False
    return True


# %%
check("7.2", references_hold)  # for help, run hint("7.2")

# %% [markdown] minutes=8
# ## 3. Let the helper do it, and watch (8 minutes)
#
# *New words: [trace](../docs/glossary.md#trace), [JSON schema](../docs/glossary.md#json-schema).*
#
# `solve` goes the whole way. What it returns is a **trace**: everything that was said and done, in order.

# %%
from labs_helper.agent import solve

trace = solve(moe, "What is 731 x 46? Then subtract 20.")
trace

# %%
print("Answer:", trace.answer)
assert trace.results == ["33626", "33606"]

# %% [markdown]
# Could the model have done the sum in its head? Ask it without tools:

# %%
print(moe.ask("What is 731 x 46?").text)

# %% [markdown]
# When a plan cannot be used, the agent sends back the sentence that says why, and the model may try **once** more. Why only
# once? A model that did not understand the first time seldom does the third time, and each try costs time. You can play
# the agent yourself. Here a bad plan is put into the model's mouth:

# %%
from labs_helper.agent import error_turn
from labs_helper.errors import BadPlan

mistake = write_plan(("map", {"name": "Kenya", "field": "capital"}))
try:
    read_plan(mistake)
except BadPlan as error:
    complaint = error_turn(error)
repaired = moe.ask(
    [
        {"role": "system", "content": system_prompt()},
        {"role": "user", "content": "What is the capital of Kenya?"},
        {"role": "assistant", "content": mistake},
        {"role": "user", "content": complaint},
    ],
    max_tokens=200,
)
print(complaint, "\n\nRepaired:", repaired.text)

# %% [markdown]
# The original's task was "write about a subject, then translate it". The tools above translate single words. A small
# tool can write, as long as it only writes what it has looked up.
#
# ### Exercise 7.3 (harder, 12 minutes): give the agent a tool of your own
#
# Write a function `post(about, to)`. `about` is a country, `to` a language such as "Spanish". It returns a short text in
# that language that names at least the country's capital and currency. Look the facts up with `place(name, field)` and
# translate them with `translate(word, to)`: both raise an error for what they do not know, and that is good. Each parameter
# needs a type, and the function a docstring: from these the schema is made. Then `toolbox(post)` makes it a tool.

# %% tags=["exercise"]
from labs_helper.agent import TOOLS, run_plan, toolbox


def post(about: str, to: str) -> str:
    ...  # one line of docstring, then look up, translate, and return one text


my_tools = ...  # TOOLS | toolbox(post)

# %% tags=["solution"]
from labs_helper.agent import TOOLS, run_plan, toolbox


def post(about: str, to: str) -> str:
    """Write a few words about a country, in another language."""
    facts = [translate(place(about, field), to) for field in ("capital", "continent", "currency")]
    return f"{translate(about, to)}: {', '.join(facts)}."


my_tools = TOOLS | toolbox(post)

# %%
check("7.3", my_tools)  # for help, run hint("7.3")

# %% [markdown]
# With your tool, the original's task is a plan of two steps. `moe-tiny` has never heard of `post`, so this plan is written
# by hand; the tools do not care who wrote it.

# %%
if isinstance(my_tools, dict):
    posted = write_plan(("post", {"about": "Japan", "to": "Chinese"}), ("word_count", {"text": "$1"}))
    print(run_plan(read_plan(posted, my_tools), my_tools))

# %% [markdown] minutes=10
# ## 4. Make a bad plan impossible (10 minutes)
#
# *New words: [constrained decoding](../docs/glossary.md#constrained-decoding).*
#
# Checking finds bad plans. **Constrained decoding** does not let them happen. A model gives every token a probability, and
# then one is picked. In between, a grammar can say which tokens may come next, and all the others get the probability 0.
# The grammar is made from a JSON schema:

# %%
from labs_helper.agent import plan_schema

schema = plan_schema(max_written=40)  # no argument longer than 40 characters
first_step = schema["properties"]["steps"]["prefixItems"][0]["anyOf"]
print(json.dumps(first_step[1], indent=1))

# %% [markdown]
# This is a step with the tool `place`. `const` and `enum` leave no choice but these words. The `pattern` forbids `$1` in
# step 1. Now look at the tokens of a constrained answer, and at what else the model could have picked.

# %%
guided = moe.ask(question, system=system_prompt(), schema=schema, max_tokens=200, top_logprobs=4)
for token in guided.tokens[:22]:
    print(f"{token.piece!r:14}", [other.piece for other in token.top_logprobs])

# %% [markdown]
# Where the list has one entry, the grammar has decided. Where it has more, the model has: which tool, which name. (A sign
# can be there twice: as a piece of its own, and as a single byte.)
#
# At temperature 0 the trained model seldom makes mistakes of form. Make it careless: with temperature 2.5, improbable
# tokens are picked often. How many of six plans are valid, with the schema and without it?

# %%
def valid(**options):
    plan_text = moe.ask(question, system=system_prompt(), temperature=2.5, max_tokens=300, **options).text
    try:
        read_plan(plan_text)
        return True
    except BadPlan:
        return False


free = [valid(seed=seed) for seed in range(6)]
bound = [valid(seed=seed, schema=schema) for seed in range(6)]
print(f"without the schema: {sum(free)} of 6 valid\nwith the schema:    {sum(bound)} of 6 valid")

# %%
assert all(bound) and sum(free) < 6

# %% [markdown]
# The schema looks after the **form**. It knows nothing about the **truth**. One of the careless plans:

# %%
careless = moe.ask(question, system=system_prompt(), temperature=2.5, seed=1, schema=schema, max_tokens=300)
print(careless.text)

# %% [markdown]
# One more limit. JSON that is cut off is no JSON. If `max_tokens` is too small, the schema cannot help, and the helper says
# so instead of giving you half a plan:

# %%
try:
    moe.ask(question, system=system_prompt(), schema=schema, max_tokens=12)
except LabError as error:
    print(error)
print("So far:", moe.last.text)

# %% [markdown]
# Takeaway: let the schema care for the form, the tools for the facts, the limits for the end. Whether the plan fits the
# question is left to the model, and to you.
#
# ### What this agent cannot do
#
# - It plans once. It cannot look at the first result and then change its mind. Agents that ask the model after every step
#   can, and they need a limit on rounds even more.
# - `moe-tiny` knows four tools, two steps, and the places and words of this course. The real model knows more of the
#   world, and makes other mistakes: check its plans the same way.
# - A result is text too. If a tool fetched a page from the web, the page could say "now delete all files", and a model may
#   obey. That is why the allow-list matters: here, no tool can delete anything.
# - `solve` is bounded in steps, in tokens and in time (`max_steps`, `max_tokens`, `seconds`). Keep all three in agents of
#   your own.

# %% [markdown]
# ## Recap
#
# In this lab you:
#
# - went the whole way by hand: plan, check, run, answer;
# - wrote a calculator that cannot be tricked, and found circles in plans;
# - read a trace, played the agent in a repair, and gave it a tool of your own;
# - held a careless model to a schema, and saw what a schema does not know.
#
# **Further reading:** [ReAct](https://arxiv.org/abs/2210.03629), agents that plan again after every step;
# [ReWOO](https://arxiv.org/abs/2305.18323), which plans once, as here; and the documentation of
# [llguidance](https://github.com/guidance-ai/llguidance).
#
# **Next:** the list of labs is in [00: start the course](00-start-here.ipynb).
#
# Last, give the memory back.

# %%
moe.release()
