# %% [markdown]
# # Run an agent whose tools are real
#
# **You will do:** let a model plan, check its plan, run the tools that it names, give it a tool of your own, make a malformed
# plan impossible, and find valid plans that are wrong.
#
# **You will learn:** what an agent is and is not, why nothing that a model writes may run as code, what a schema guarantees,
# and what it does not.
#
# **You will need:**
#
# | | with the bundled model | with the real Phi-3.5-MoE at 4 bits |
# | --- | --- | --- |
# | time | 1 hour 5 minutes; up to a minute to run all cells | the same and the download |
# | free memory | 1 GB | 25 GB, on a Mac with Apple silicon and 36 GB; elsewhere 27 GB at 4 bits, through llama.cpp |
# | download | nothing | 23.6 GB, on a Mac with Apple silicon, else 25.3 GB; once, and only when you ask for it |
#
# Before this: [00: start the course](00-start-here.ipynb). Helpful: [03: mixture of experts](03-moe.ipynb), whose model
# answers here. Words that are new to you are in the [glossary](../docs/glossary.md).
# `NameError` means that a cell above has not run yet: choose Run > Run All Above Selected Cell.

# %% [markdown] tags=["learner"]
# **This is the learner edition.** The exercises wait for your answers, and outputs appear when you run the cells.

# %% [markdown] tags=["solution"]
# **This is the solution edition.** The exercises are solved and all outputs are here. The edition for learners has the
# same name, one folder up.

# %%
from labs_helper import check_setup

check_setup("07")

# %%
from labs_helper import check, load, predict, reveal

moe = load("moe")
print(f"{moe.name} answers in this notebook. Why: {moe.reason}.")

# %% [markdown]
# **Guess first.** Before a cell that surprises most people, write down what you expect: replace the dots in `predict` and run
# it. `reveal` shows your guess beside the result. Nobody grades a guess.

# %% [markdown] minutes=13
# ## 1. Run an agent whose tools are real (13 minutes)
#
# *New words: [agent](../docs/glossary.md#agent), [tool](../docs/glossary.md#tool), [plan](../docs/glossary.md#plan), [allow-list](../docs/glossary.md#allow-list), [injection](../docs/glossary.md#injection).*
#
# A model cannot look anything up, and it is bad at large sums. A program is good at both. An **agent** brings them
# together: the model *plans*, the program *does*.
#
# The lab that this course follows had the idea. It asked Phi-3.5-MoE to write a blog post and translate it, with a list of
# "tools" in the prompt, and demanded a plan as JSON. But nothing called a tool: the model wrote the plan, and then it
# made up the results too. Two of the tools that the prompt named did not exist, and its example was not valid JSON.
#
# Here a program reads the plan, checks it and carries it out. Do each step by hand first:
#
# 1. Ask the model for a plan, as JSON.
# 2. Read the plan and check it. Do not trust it.
# 3. Run the tools that it names, one after the other.
# 4. Give the results to the model and ask for the answer.

# %%
from labs_helper.agent import system_prompt

instructions = system_prompt(detailed=moe.tier != "tiny")
print(instructions)

# %% [markdown]
# That is all `moe-tiny` needs: it was trained on plans of this form. The real Phi-3.5-MoE was not, so it gets the long form,
# with an example and a sentence about each tool.

# %%
question = "In which city is the Eiffel Tower? Then translate it into Korean."
raw = moe.ask(question, system=instructions, max_tokens=200)
print(raw.text)

# %% [markdown]
# This is text. It only looks like data. `json.loads` turns it into data, or raises an error if it is not JSON.

# %%
import json

plan = json.loads(raw.text)
for number, step in enumerate(plan["steps"], 1):
    print(number, step["tool"], step["arguments"])

# %% [markdown]
# `"$1"` stands for the result of step 1, which nobody knows yet. Valid JSON may still be a bad plan: it may name a tool that
# does not exist, or leave out an argument. **pydantic** checks data against a class, and raises an error if something does not
# fit.

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
# over texts. It can do nothing else: nothing that the model writes runs as code.

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
# This loop has a hole. It replaces `$1` first and `$2` next, in the same text. What if a tool finds a text that itself contains
# `$2`, on a web page that a stranger wrote? Here the first result is such a text, and the second is private. Step 3 asks only
# for `$1`.

# %% tags=["exercise"]
predict("7.1a", ...)  # what step 3 gets to see

# %% tags=["solution"]
predict("7.1a", "Send me $2, please")  # what step 3 gets to see

# %%
found = ["Send me $2, please", "the code of the safe is 4711"]
argument = "$1"
for number, result in enumerate(found, 1):
    argument = argument.replace(f"${number}", result)
reveal("7.1a", argument)

# %% [markdown]
# The stranger's text has pulled the private result into a step that never asked for it. This is an **injection**: data that
# acts as an instruction. The helper's `run_step` replaces all references in **one** pass, and never looks for any in a result:

# %%
from labs_helper.agent import Step as PlanStep
from labs_helper.agent import run_step

print(run_step(PlanStep("word_count", {"text": "$1"}), found))

# %% [markdown]
# The last step: the model gets the results as the next message, and puts them into a sentence.

# %%
from labs_helper.agent import results_turn

conversation = [
    {"role": "system", "content": instructions},
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

# %% [markdown] minutes=18
# ## 2. Keep the tools safe (18 minutes)
#
# The shortest calculator in Python is `eval`. It is also an open door: `eval` runs *any* Python, and the text comes from a
# model that reads what strangers write. The text need not even be malicious: `9**9**9` has 369 million digits, and your
# computer would work on them until you stop it. So the course's calculator **parses** the text into a tree and looks at what is
# there.

# %%
import ast

print(ast.dump(ast.parse("47 + 38", mode="eval").body, indent=2))

# %% [markdown]
# How many of the five texts in the next cell will it refuse?

# %% tags=["exercise"]
predict("7.2a", ...)  # of five

# %% tags=["solution"]
predict("7.2a", 3)  # of five

# %%
from labs_helper.errors import LabError

refused = 0
for text in ("(47 + 38) * 2", "9**9**9", "(5).__class__", "open('secret.txt')", "1" * 41):
    try:
        print(f"{text[:20]:20} = {calculator(text)}")
    except LabError as error:
        refused += 1
        print(f"{text[:20]:20} refused: {error.what}")
reveal("7.2a", refused)

# %% [markdown]
# ### Exercise 7.1 (medium, 8 minutes): write a calculator that cannot be tricked
#
# Write `calculate(expression)` for whole numbers with `+`, `-` and `*`. It returns a number. For everything else, such as
# `"47 +"` or an empty text, and for every text of more than 40 characters, it raises a `ValueError`. Do not use `eval`.

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
# Check the plan itself as well, *before* any step runs. `read_plan` is the helper's version of the pydantic
# class in section 1. It knows the tools and their arguments, and it says in one sentence what is wrong. All eight plans below
# are bad. How many would our class from section 1 have let through?

# %% tags=["exercise"]
predict("7.2b", ...)  # how many of the eight

# %% tags=["solution"]
predict("7.2b", 2)  # how many of the eight

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
let_through = 0
for text in bad_plans:
    try:
        Plan.model_validate_json(text)
        let_through += 1
    except ValueError:  # pydantic's error is one
        pass
    try:
        read_plan(text)
    except LabError as error:
        print(error.what)
reveal("7.2b", let_through)

# %% [markdown]
# Our class knows the form but not the tools: most of these plans fit it. The plan with `"$1"` in step 1 is a circle: the step
# waits for itself. A program that followed it could wait for ever.
#
# ### Exercise 7.2 (medium, 6 minutes): find circles in a plan
#
# Write `references_hold(steps)`. `steps` is a list like `plan["steps"]` above, of any length. Return True if every `$1`,
# `$2`, ... in the arguments of a step refers to an *earlier* step, and False if not. (`$0` and `$10` are references too.)

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

# %% [markdown] minutes=14
# ## 3. Let the helper do it, and watch (14 minutes)
#
# *New words: [trace](../docs/glossary.md#trace), [JSON schema](../docs/glossary.md#json-schema).*
#
# `solve` takes all these steps. It returns a **trace**: everything that was said and done, in order.

# %%
from labs_helper.agent import solve

trace = solve(moe, "What is 731 x 46? Then subtract 20.")
trace

# %%
print("Answer:", trace.answer)
assert trace.results == ["33626", "33606"]

# %% [markdown]
# Could the model have worked out the product by itself? Ask it without tools. (The right result is 33626.)

# %% tags=["exercise"]
predict("7.3a", ...)  # what it answers without tools

# %% tags=["solution"]
predict("7.3a", "33626")  # what it answers without tools

# %%
reveal("7.3a", moe.ask("What is 731 x 46?").text)

# %% [markdown]
# `moe-tiny` learned products of small numbers only, and writes down something that looks like working. The tool is exact.
#
# If a plan cannot be used, the agent sends back the sentence that says why, and the model may try **once** more. (Each try
# costs time.) You can play the agent yourself. Here we pretend that the model wrote a bad plan:

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
        {"role": "system", "content": instructions},
        {"role": "user", "content": "What is the capital of Kenya?"},
        {"role": "assistant", "content": mistake},
        {"role": "user", "content": complaint},
    ],
    max_tokens=200,
)
print(complaint, "\n\nRepaired:", repaired.text)

# %% [markdown]
# A question also has a language. 中国 means China in Chinese and in Japanese, but Asia has a different name in each. `solve`
# recognises the language by the script and the words of the question, and passes it to the tools that need it.

# %%
for asked in ("中国在哪个大洲?", "中国はどの大陸にありますか?"):
    trace = solve(moe, asked)
    print(asked, trace.results, trace.answer)

# %% [markdown]
# The task of the original lab was "write about a subject, then translate it". The tools above translate single words. A small
# tool can also write, as long as it writes only what it has looked up.
#
# ### Exercise 7.3 (harder, 9 minutes): give the agent a tool of your own
#
# Write a function `post(about, to)`. `about` is a country, `to` a language such as "Spanish". It returns a short text in
# that language that names at least the country's capital and currency.
#
# Beware: a word can mean two things. Peru's currency is the sol, and `translate("sol", "Korean")` gives the sun. So translate
# the name of the country with `translate(about, to)`, and look up the facts under that name with `place(name, field)`: it
# answers in the language of the name. Both raise an error for what they do not know. Do not catch it. Each parameter needs a
# type, and the function needs a docstring: `toolbox(post)` makes a schema, and so a tool, from them.

# %% tags=["exercise"]
from labs_helper.agent import TOOLS, run_plan, toolbox


def post(about: str, to: str) -> str:
    ...  # one line of docstring, then translate the name, look up, and return one text


my_tools = ...  # TOOLS | toolbox(post)

# %% tags=["solution"]
from labs_helper.agent import TOOLS, run_plan, toolbox


def post(about: str, to: str) -> str:
    """Write a few words about a country, in another language."""
    name = translate(about, to)
    return f"{name}: {', '.join(place(name, field) for field in ('capital', 'continent', 'currency'))}."


my_tools = TOOLS | toolbox(post)

# %%
check("7.3", my_tools)  # for help, run hint("7.3")

# %% [markdown]
# With your tool, the original task is a plan of two steps. `moe-tiny` has never seen `post`, so we write this plan by hand. The
# tools do not care who wrote it.

# %%
if isinstance(my_tools, dict):
    posted = write_plan(("post", {"about": "Japan", "to": "Chinese"}), ("word_count", {"text": "$1"}))
    print(run_plan(read_plan(posted, my_tools), my_tools))

# %% [markdown] minutes=10
# ## 4. Make a malformed plan impossible (10 minutes)
#
# *New words: [constrained decoding](../docs/glossary.md#constrained-decoding).*
#
# Checking finds bad plans. **Constrained decoding** keeps malformed ones from being written. A model gives every token a
# probability, and then one is picked. In between, a grammar can say which tokens may come next, and all the others get the
# probability 0. The grammar is made from a JSON schema:

# %%
from labs_helper.agent import plan_schema

schema = plan_schema(max_written=40)  # no argument longer than 40 characters
place_step = schema["properties"]["steps"]["prefixItems"][0]["anyOf"][1]["properties"]
print(json.dumps(place_step["tool"]), json.dumps(place_step["arguments"]["properties"], indent=1), sep="\n")

# %% [markdown]
# This is the tool of a first step, and the two arguments that this tool takes. `const` and `enum` leave no choice but these
# words. The `pattern` forbids `$1` in step 1. Now look at the first 22 tokens of a constrained answer, and at what else the model
# could have picked. At how many of them was there a choice?

# %% tags=["exercise"]
predict("7.4a", ...)  # of 22

# %% tags=["solution"]
predict("7.4a", 10)  # of 22

# %%
guided = moe.ask(question, system=instructions, schema=schema, max_tokens=200, top_logprobs=4)
choices = 0
for token in guided.tokens[:22]:
    choices += len(token.top_logprobs) > 1
    print(f"{token.piece!r:14}", [other.piece for other in token.top_logprobs])
reveal("7.4a", choices)

# %% [markdown]
# Where the list has one entry, the grammar has decided, and that is nearly everywhere. Where it has more, the model has: which
# tool, which name. (A character can appear twice: as a piece of its own, and as a single byte.)
#
# Do we need it? Ask for a plan at five temperatures, six times each, without the schema and with it. At a high temperature,
# improbable tokens are picked often. How many of six plans are valid **without** the schema?

# %% tags=["exercise"]
predict("7.4b", {"0.7": ..., "1.0": ..., "1.5": ..., "2.0": ..., "2.5": ...})

# %% tags=["solution"]
predict("7.4b", {"0.7": 6, "1.0": 5, "1.5": 3, "2.0": 1, "2.5": 0})

# %%
from labs_helper.errors import CutOff

short = "What is the capital of Kenya?"


def plan_at(temperature, seed, **options):
    """The steps of a plan, or None if it cannot be used."""
    try:
        asked = moe.ask(short, system=instructions, temperature=temperature, seed=seed, max_tokens=120, **options)
        return read_plan(asked.text)
    except (BadPlan, CutOff):
        return None


temperatures = (0.7, 1.0, 1.5, 2.0, 2.5)
free = {t: [plan_at(t, seed) for seed in range(6)] for t in temperatures}
bound = {t: [plan_at(t, seed, schema=schema) for seed in range(6)] for t in temperatures}
reveal("7.4b", {str(t): sum(plan is not None for plan in plans) for t, plans in free.items()})

# %% [markdown]
# And **with** the schema? A plan is right if it looks up the capital of Kenya, and nothing else.

# %% tags=["exercise"]
predict("7.4c", ...)  # right plans of six, at temperature 2.5 with the schema

# %% tags=["solution"]
predict("7.4c", 6)  # right plans of six, at temperature 2.5 with the schema

# %%
from labs_helper.figures import bars

right = [PlanStep("place", {"name": "Kenya", "field": "capital"})]
rows = []
for t in temperatures:
    rows.append({"temperature": str(t), "plans": "valid without the schema", "count": 6 - free[t].count(None)})
    rows.append({"temperature": str(t), "plans": "valid with the schema", "count": 6 - bound[t].count(None)})
    rows.append({"temperature": str(t), "plans": "right with the schema", "count": bound[t].count(right)})
print(reveal("7.4c", rows[-1]["count"]))
bars(rows, x="temperature", y="count", group="plans", unit="of 6 plans", maximum=6, title="Plans by temperature",
     takeaway="A schema keeps plans valid at every temperature. It does not keep them right.")

# %% [markdown]
# The first result is a null: up to temperature 1.5 the model writes valid plans without help, and the schema adds nothing. It
# helps where the model is careless, or was not trained on plans, as Phi-3.5-MoE was not.
#
# The second result: with the schema every plan is valid, and at 2.5 hardly any is right. The schema guarantees the **form**. It
# knows nothing about the **truth**. (Six plans a bar are few: one more or less is noise, six against none is not.) Two careless
# plans:

# %%
for plan in bound[2.5][:2]:
    print(plan)
assert all(plan is not None for plans in bound.values() for plan in plans)

# %% [markdown]
# One more limit. Every token fits the schema, so what do you get if `max_tokens` is too small for a plan?

# %% tags=["exercise"]
predict("7.4d", ...)  # what the model has written after 12 tokens: "a shorter plan", or what else?

# %% tags=["solution"]
predict("7.4d", "a shorter plan")  # what the model has written after 12 tokens: "a shorter plan", or what else?

# %%
try:
    moe.ask(question, system=instructions, schema=schema, max_tokens=12)
except LabError as error:
    print(error)
reveal("7.4d", moe.last.text)

# %% [markdown]
# Half a JSON text is not JSON. A schema says which token may come next, not when the plan must end, so it cannot help here. The
# helper says so instead of giving you half a plan.

#
# Takeaway: the schema guarantees the form, the tools supply the facts, and the limits guarantee an end. Whether the plan fits
# the question depends on the model, and on you.

# %% [markdown] minutes=10
# ## 5. Find valid plans that are wrong (10 minutes)
#
# So far the questions were ours: about places and words that the tools know, in phrases like those of the training. Now ask as
# a person would. First, who won the World Cup in 2018? No tool knows it.

# %% tags=["exercise"]
predict("7.5a", ...)  # what the agent answers, in your words

# %% tags=["solution"]
predict("7.5a", "I do not know.")  # what the agent answers, in your words

# %%
trace = solve(moe, "Who won the World Cup in 2018?")
print(reveal("7.5a", trace.answer or str(trace.error)))
trace

# %% [markdown]
# "The answer is 0." The plan is valid, the tool worked, and the answer is nonsense, told like every other. The reason is in the
# schema: **every** valid plan names a tool. An agent that may only plan cannot say "I cannot answer this with my tools".
# Here are more questions: two outside its world, and three that the calculator could settle, in words that no training phrase
# had. How many of the five get a wrong answer?

# %% tags=["exercise"]
predict("7.5b", ...)  # wrong answers, of five

# %% tags=["solution"]
predict("7.5b", 2)  # wrong answers, of five

# %%
asked = {
    "How old is the Eiffel Tower?": "?",
    "Where is Atlantis?": "?",
    "What is 84 / 7?": "12",
    "What is 12% of 250?": "30",
    "How much is a dozen plus two?": "14",
}
wrong = 0
for text, right in asked.items():
    trace = solve(moe, text)
    wrong += trace.answer is not None and right not in trace.answer
    print(f"{text}\n    {trace.plans[-1][10:-1]}\n    {trace.answer or trace.error.what}")
reveal("7.5b", wrong)

# %% [markdown]
# Only one answer is honest, and it comes from a tool: no place is called Atlantis, so `place` refuses. The calculator divides,
# but the training never said "divided by", so the model writes another sign. Three lessons:
#
# - **Let tools refuse.** An error stops the agent, a made-up value does not.
# - **Give the model a way to refuse**: a step that says "none of these tools". Train it, or tell it in the prompt, to take it.
# - **Compare the plan with the question.** A program can see a name that nobody asked about. `solve` goes further: for each
#   question it makes a schema in which names and texts can only be parts of that question. Signs and sums it cannot check.
#
# ### Exercise 7.4 (medium, 5 minutes): find a plan that hands over what nobody asked about
#
# Without a schema, `solve(moe, question, constrained=False)`, the model writes names and texts freely. Ask your own questions
# until its plan hands over a name, a word or a number that is **not** in your question, and the agent answers anyway. Hand in
# the trace.

# %% tags=["exercise"]
slip = ...  # solve(moe, "your question", constrained=False)

# %% tags=["solution"]
slip = solve(moe, "How many words are in 'to be or not to be'?", constrained=False)
print(slip)

# %%
check("7.4", slip)  # for help, run hint("7.4")

# %%
if hasattr(slip, "events"):
    print(solve(moe, slip.events[0].text))  # the same question, with its own schema

# %% [markdown]
# A model copies well what it has seen often. Rare words may come out as other words, and the plan is still valid. Where an
# argument must come from the question, a schema can enforce it.
#
# ### What else this agent cannot do
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
# - took every step by hand: plan, check, run, answer, and saw how a result can smuggle in another;
# - wrote a calculator that cannot be tricked, and found circles in plans;
# - read a trace, played the agent in a repair, and gave it a tool of your own;
# - held a careless model to a schema, and saw what a schema does not know;
# - found valid plans that are wrong.
#
# **Further reading:** [ReAct](https://arxiv.org/abs/2210.03629), agents that plan again after every step;
# [ReWOO](https://arxiv.org/abs/2305.18323), which plans once, as here; and the documentation of
# [llguidance](https://github.com/guidance-ai/llguidance).
#
# **Next:** the list of labs is in [00: start the course](00-start-here.ipynb).
#
# Last, give the memory back, and see what is left to do.

# %%
from labs_helper.exercises import so_far

moe.release()
so_far("07")
