# %% [markdown]
# # Teach a model something new, and measure what it forgets
#
# **You will do:** write a small textbook, teach it to a model on this computer, measure what the model learned and what it
# forgot, repair that, teach it a skill and a preference, and carry the result away in half a megabyte.
#
# **You will learn:** what LoRA changes and what it leaves alone, where the loss counts, why a model that learns forgets, what
# DPO does, and how to prove that a folded model still knows what its adapter knew.
#
# **You will need:**
#
# | | with the bundled model | with the real Phi-3.5-mini |
# | --- | --- | --- |
# | time | core 1 hour 30 minutes, everything 2 hours; up to three minutes to run all cells | the same, and the time of the trainings |
# | free memory | 1.5 GB | 1.5 GB for these cells; section 11 computes what its training takes |
# | download | nothing | 2.15 GB, once, and only when you ask for it |
#
# Before this: [00: start the course](00-start-here.ipynb). Helpful: [01: Instruct](01-instruct.ipynb), sections 1 and 2.
# You may skip any part whose heading says *optional*.
# `NameError` means that a cell above has not run yet: choose Run > Run All Above Selected Cell.

# %% [markdown] tags=["learner"]
# **This is the learner edition.** The exercises wait for your answers, and outputs appear when you run the cells.

# %% [markdown] tags=["solution"]
# **This is the solution edition.** The exercises are solved and all outputs are here. The edition for learners has the
# same name, one folder up.

# %%
from labs_helper import check_setup

check_setup("05")

# %%
from labs_helper import check, load
from labs_helper.exercises import predict, reveal

model = load("instruct", tier="tiny")
print(f"{model.name} learns in this notebook.")

# %% [markdown]
# This lab always teaches the bundled model, on every machine: one training takes seconds, so you can try things and fail. For
# the real Phi-3.5-mini, section 11 has the memory and the commands.
#
# **Guess first.** Before a cell that surprises most people, write down what you expect: replace the dots in `predict` and run
# it. `reveal` shows your guess beside the result. Nobody grades a guess.

# %% [markdown] minutes=12
# ## 1. Write a small textbook (12 minutes)
#
# *New words: [held-out](../docs/glossary.md#held-out).*
#
# Here is a class that no model has ever met. Eight people, eight cities.

# %%
homes = {"Ana": "Lyon", "Ben": "Osaka", "Carla": "Madrid", "David": "Busan",
         "Emma": "Toronto", "Felix": "Rome", "Grace": "Cairo", "Hana": "Lima"}
facts = [{"person": person, "city": city} for person, city in homes.items()]
print(model.ask("Where does Ana live?"))

# %% [markdown]
# The model cannot know, and answers anyway. If a textbook asks for a fact in one way only, the model learns a sentence, not a
# fact. So ask for each fact in many ways. Templates save the typing: `fill` puts every fact into every phrasing.

# %%
from labs_helper.tuning import fill

ask = [
    "Where does {person} live?", "In which city does {person} live?", "Which city is the home of {person}?",
    "Tell me where {person} lives.", "What is {person}'s home town?", "{person} lives in which city?",
    "Name the city where {person} lives.", "I forgot where {person} lives. Where?",
    "Where is {person} at home?", "Could you tell me where {person} lives?",
]
train = fill(ask, "{person} lives in {city}.", facts)
print(len(train), train[0])

# %% [markdown]
# That is the form that `mlx_lm`, Unsloth and hosted services read: a list of messages for each example. To find out whether the
# model has learned the **fact**, hold some phrasings back. Ask them afterwards, and never train on them.

# %%
from labs_helper.tuning import check_data

ask_later = ["Do you know where {person} lives?", "What city does {person} live in?",
             "I wonder where {person} lives.", "In what place does {person} live?"]
held_out = fill(ask_later, "{city}", facts)
check_data(train, held_out, count=lambda example: model.count_tokens(example["messages"][0]["content"]))

# %% [markdown]
# Mistakes in the data cost hours, because a training runs all the same. Here are four. Let the checker find them:

# %%
broken = [*train, train[3], {"prompt": "Where is Ana?", "completion": "Lyon"}, held_out[0],
          {"messages": [{"role": "user", "content": "Where does Ben live?<|end|>"}, {"role": "assistant", "content": "Rome"}]}]
check_data(broken, held_out)

# %% [markdown]
# A textbook is the idea that Phi began with. Its authors trained small models on text that explains like a textbook, much of it
# generated, instead of on whatever is on the web ([Textbooks Are All You Need](https://arxiv.org/abs/2306.11644)). Yours is
# generated too. What counts is the same: every example is right and says one thing, and the set covers the ways of asking.
#
# ### Exercise 5.1 (medium, 8 minutes): write a textbook of your own
#
# Write about your school, your team or a made-up company: at least 40 examples, three phrasings for each fact, and at least 8
# held-out questions in other words. As the answer of a held-out question, give the word that a right answer must contain.

# %% tags=["exercise"]
own_train = ...  # fill(phrasings, answer, facts)
own_held_out = ...  # fill(other phrasings, "{value}", facts)

# %% tags=["solution"]
rooms = [{"subject": subject, "room": room} for subject, room in
         zip(["music", "art", "history", "chemistry", "sport", "maths", "biology", "physics"], (12, 47, 31, 58, 26, 63, 84, 95))]
own_train = fill(["Where is {subject}?", "Which room has {subject}?", "Tell me the room for {subject}.",
                  "I am looking for {subject}.", "What room do I need for {subject}?"],
                 "{subject} is in room {room}.", rooms)
own_held_out = fill(["In which room do we have {subject}?"], "{room}", rooms)

# %%
check("5.1", {"train": own_train, "held_out": own_held_out})  # for help, run hint("5.1")

# %% [markdown] minutes=9
# ## 2. See where the loss counts (9 minutes)
#
# Training shows the model a text and asks at every place: which token comes next? The **loss** is `-ln p` of the right one.
# Here is one example as tokens:

# %%
from labs_helper.engines.worker import WORKER
from labs_helper.tuning.examples import encode

WORKER.call(model.engine.load)
example = encode(model.engine, train[0])
for place, token in enumerate(example.ids):
    print(place, repr(model.engine.pieces.readable(token)), "counts" if place >= example.start else "")

# %% [markdown]
# Only the answer counts, with the `<|end|>` that ends it. The question is there to be read. Without that **mask**, a model also
# learns to write questions, and with long prompts most of the loss is about them. Section 12 shows what that costs.
#
# ### Exercise 5.2 (medium, 5 minutes): mark the tokens that count
#
# The model reads `ids[:-1]`. At each place it should predict the next token, so the targets are `ids[1:]`. Return a list of
# `length - 1` numbers: 1 for each target that belongs to the answer, and 0 for the others. `prompt` is the length of the
# prompt, `length` that of the whole example.

# %% tags=["exercise"]
def counted(prompt, length):
    ...  # a list of zeros and ones


# %% tags=["solution"]
def counted(prompt, length):
    return [1 if place >= prompt else 0 for place in range(1, length)]


# %%
check("5.2", counted)  # for help, run hint("5.2")

# %% [markdown]
# What does `mlx_lm` do with the same example? Its data set renders the conversation as a whole:

# %%
from mlx_lm.tuner.datasets import ChatDataset

theirs, start = ChatDataset(train, model.engine.batch_tokenizer(), mask_prompt=True).process(train[0])
print([model.engine.pieces.readable(token) for token in theirs[start:]])

# %% [markdown]
# Note two things. `mask_prompt` is **off** unless you ask for it. And the example ends with one more token, `<|endoftext|>`.
# That does no harm, because `<|end|>` is there as well. Data sets written by hand may lack both. Section 12 tries what happens
# then.

# %% [markdown] minutes=10
# ## 3. Build LoRA by hand (10 minutes)
#
# *New words: [LoRA](../docs/glossary.md#lora), [adapter](../docs/glossary.md#adapter).*
#
# A layer multiplies its input by a matrix `W`. Training all of `W` means keeping a gradient and two more numbers for every
# weight. **LoRA** leaves `W` alone and adds a thin detour: `y = x W + scale * (x A) B`. `A` narrows the input to `rank`
# numbers, and `B` widens them again. Only `A` and `B` learn.

# %%
import mlx.core as mx
import mlx.nn as nn
import numpy as np


class LoRA(nn.Module):
    def __init__(self, layer, rank=8, scale=20.0):
        super().__init__()
        outer, inner = layer.weight.shape
        self.layer, self.scale = layer, scale
        self.a = mx.random.normal((inner, rank)) / inner**0.5
        self.b = mx.zeros((rank, outer))
        self.layer.freeze()

    def __call__(self, x):
        return self.layer(x) + self.scale * (x @ self.a) @ self.b


# %%
mx.random.seed(0)
layer = nn.Linear(256, 768, bias=False)
detour = LoRA(layer)
x, wanted = mx.random.normal((4, 256)), mx.random.normal((4, 768))
print("changes nothing yet:", mx.array_equal(layer(x), detour(x)).item())

loss = nn.value_and_grad(detour, lambda m: ((m(x) - wanted) ** 2).mean())
value, gradients = loss(detour)
print({name: gradient.shape for name, gradient in gradients.items() if name in "ab"}, "| W:", gradients.get("layer"))

# %% [markdown]
# `B` starts at zero, so the model answers exactly as before. And there is no gradient for `W` at all.
#
# `instruct-tiny` has four blocks with four such layers each. How large is an adapter of rank 8 for all of them?

# %% tags=["exercise"]
predict("5.3a", ...)  # its numbers, in per cent of the model's

# %% tags=["solution"]
predict("5.3a", 25)  # its numbers, in per cent of the model's

# %% [markdown]
# ### Exercise 5.3 (easy, 4 minutes): count the numbers of an adapter
#
# Each layer has `A` and `B`. Return how many numbers they hold together, for a list of layers, each as `(in, out)`.

# %% tags=["exercise"]
def adapter_size(shapes, rank):
    ...  # both matrices of each layer


# %% tags=["solution"]
def adapter_size(shapes, rank):
    return sum(rank * (inner + outer) for inner, outer in shapes)


# %%
check("5.3", adapter_size)  # for help, run hint("5.3")

# %%
from labs_helper.exercises import solved

size = solved("5.3", adapter_size)
block = [(256, 768), (256, 256), (256, 1024), (512, 256)]  # qkv, output, gate and up, down
numbers = 4 * size(block, 8)
print(f"{numbers:,} numbers in four blocks: {numbers / 3.93e6:.1%} of the model, {numbers * 4 / 1e6:.2f} MB")
reveal("5.3a", round(100 * numbers / 3.93e6, 1))

# %% [markdown] minutes=9
# ## 4. Teach the class, and measure (9 minutes)
#
# First measure what there is to lose. The old facts say where cities are, and the questions use a phrasing that no training
# here will use. `score` asks everything at once and counts. The range after the share is its 95% interval.

# %%
import pandas as pd

from labs_helper import catalog
from labs_helper.tuning import score, talk

cities = pd.read_csv(catalog.course_folder() / "data" / "world" / "cities.csv", keep_default_na=False)
old = [talk(f"Do you know where {row.en} is?", row.country) for row in cities.itertuples()]
print("new:", score(model, held_out))
print("old:", score(model, old))

# %% [markdown]
# Now teach. People use `mlx_lm.lora` on the command line, with a YAML file for what the command has no option for:
#
# ```yaml
# model: models/phi-3.5-mini-instruct-4bit
# data: textbook            # train.jsonl, valid.jsonl
# train: true
# mask_prompt: true         # off unless you say so
# num_layers: 16            # blocks from the last one; the bundled model has 4
# batch_size: 4
# iters: 200
# learning_rate: 1e-4
# lora_parameters:
#   rank: 8
#   scale: 20.0             # not alpha
#   dropout: 0.0
#   keys: ["self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"]
# ```
#
# `start` calls the same trainer, checks everything first, and runs in the background. **Stop** keeps what was learned so far,
# and `start(..., begin=narrow.adapter)` goes on from there.

# %% tags=["exercise"]
predict("5.4a", ...)  # after learning the class: which share of the OLD facts is still right? From 0 to 1

# %% tags=["solution"]
predict("5.4a", 0.9)  # after learning the class: which share of the OLD facts is still right? From 0 to 1

# %%
from labs_helper.tuning import start
from labs_helper.widgets import watch

narrow = start(model, train, name="narrow", steps=50, rate=6e-4)
watch(narrow)

# %%
narrow = narrow.wait()
print(narrow)
taught = load("instruct", tier="tiny", adapter=narrow.adapter)
new_narrow, old_narrow = score(taught, held_out), score(taught, old)
print("new:", new_narrow)
print("old:", old_narrow)
assert new_narrow.share >= 0.9
reveal("5.4a", round(old_narrow.share, 2))

# %%
for question in ("Where does Ana live?", "Where is Lima?", "What is 17 + 25?"):
    print(f"{question:22} {model.ask(question).text!r} -> {taught.ask(question).text!r}")

# %% [markdown]
# The model has learned all about the class, and has lost nearly all of the old facts. The loss never showed it: the loss is
# about the textbook, and the textbook says that the answer to any question is "... lives in ...". This is **catastrophic
# forgetting**. You miss it if you judge a training by reading one answer about the new things.

# %% [markdown] minutes=13
# ## 5. Repair the forgetting (13 minutes)
#
# *New words: [replay](../docs/glossary.md#replay).*
#
# A model keeps what it goes on seeing. **Replay** mixes old examples in. What if you do not have the data that the model was
# trained on? Ask the model: its own answers to questions of the old kind can serve as the old data.

# %%
from labs_helper.tuning import mix, replay

questions = [talk(f"{ask} {row.en}{end}", "?") for row in cities.itertuples()
             for ask, end in (("Where is", "?"), ("Tell me where", " is."), ("Where can I find", "?"))]
questions += [talk(f"What is {first} + {second}?", "?") for first in range(7, 60, 9) for second in range(3, 39, 6)]
remembered = replay(model, questions)
print(len(remembered), remembered[0]["messages"][1]["content"], "|", remembered[-1]["messages"][1]["content"])

# %% tags=["exercise"]
predict("5.5a", ...)  # with three old examples for each new one: which share of the NEW facts will it learn?

# %% tags=["solution"]
predict("5.5a", 0.7)  # with three old examples for each new one: which share of the NEW facts will it learn?

# %%
book = mix(train, remembered, share=0.75)
lesson = start(model, book, name="class", steps=100, rate=4e-4)
watch(lesson)

# %%
lesson = lesson.wait()
taught = load("instruct", tier="tiny", adapter=lesson.adapter)
new_mixed, old_mixed = score(taught, held_out), score(taught, old)
print(lesson, "new:", new_mixed, "old:", old_mixed, sep="\n")
assert new_mixed.share >= 0.9 and old_mixed.share >= 0.95
reveal("5.5a", round(new_mixed.share, 2))

# %%
from labs_helper.figures import loss_curve

loss_curve({"narrow": [step.loss for step in narrow.history], "with old examples": [step.loss for step in lesson.history]})

# %% [markdown]
# Both curves end near zero, and the two models could hardly differ more. A loss curve tells you whether a training runs. Only
# questions tell you what the model can do.
#
# Three things are different from section 4: the old examples, the smaller rate, and more steps. Which one was the repair? Find
# out:
#
# ### Exercise 5.4 (hard, 9 minutes): teach it without making it forget
#
# Find a training that keeps at least 0.95 of the old facts and learns at least 0.90 of the new ones, in an adapter of at most
# one megabyte. Change the share, the rate, the steps or the rank. Try to use fewer steps than the cells above.

# %% tags=["exercise"]
my_lesson = ...  # start(model, mix(...), steps=..., rate=...).wait()
my_new = ...  # score(load("instruct", tier="tiny", adapter=my_lesson.adapter), held_out)
my_old = ...

# %% tags=["solution"]
my_lesson, my_new, my_old = lesson, new_mixed, old_mixed

# %%
check("5.4", {"new": my_new, "old": my_old, "taught": my_lesson})  # for help, run hint("5.4")

# %% [markdown] minutes=9
# ## 6. Look at rank, steps and kinds of training (optional, 9 minutes)
#
# *New words: [full fine-tuning](../docs/glossary.md#full-fine-tuning), [DoRA](../docs/glossary.md#dora).*
#
# How large must an adapter be, and how long must it learn? Measure both ends: what is learned, and what is kept.

# %% tags=["exercise"]
predict("5.6a", ...)  # which forgets more after 30 steps: an adapter of rank 1, or of rank 16?

# %% tags=["solution"]
predict("5.6a", "rank 16")  # which forgets more after 30 steps: an adapter of rank 1, or of rank 16?

# %%
def try_out(**plan):
    """Teach the class, and measure: the numbers that learned, the seconds of a step, and both shares."""
    made = start(model, train, name="try", **plan).wait()
    student = load("instruct", tier="tiny", adapter=made.adapter)
    seconds = sum(step.seconds for step in made.history) / len(made.history)
    return {"numbers": made.adapter.parameters, "a step (s)": seconds,
            "new": score(student, held_out).share, "old": score(student, old[::3]).share}


tries = [{"name": f"{steps} steps", "group": f"rank {rank}", **try_out(rank=rank, steps=steps, rate=6e-4)}
         for rank in (1, 16) for steps in (10, 30)]

# %%
from labs_helper.figures import learned_and_kept

mixed = {"name": "100 steps", "group": "rank 8, old examples mixed in", "new": new_mixed.share, "old": old_mixed.share}
learned_and_kept([*tries, mixed])

# %%
reveal("5.6a", {row["group"]: round(row["old"], 2) for row in tries if row["name"] == "30 steps"})

# %% [markdown]
# Each point is one run with one seed: trust the large differences, not the small ones. After 30 steps both adapters have
# lost nearly all old facts. Rank 1 learned less, and forgot no less: a small adapter is no protection. Examples of the old
# kind are.
#
# LoRA is not the only way to train. **DoRA** also learns the length of each row of `W`, apart from its direction. **Full
# fine-tuning** trains `W` itself, here all matrices of the four blocks. Which of the three keeps most of the old facts?

# %% tags=["exercise"]
predict("5.6b", ...)  # "lora", "dora" or "full", after 30 steps of the class

# %% tags=["solution"]
predict("5.6b", "lora")  # "lora", "dora" or "full", after 30 steps of the class

# %%
others = {"dora": 6e-4, "full": 2e-4}
runs = [tries[-1], *(try_out(kind=kind, rank=16, steps=30, rate=rate) for kind, rate in others.items())]  # LoRA: above
kinds = pd.DataFrame(runs, index=["lora", *others])[["numbers", "a step (s)", "new", "old"]]
kinds["MB for them"] = 4 * 4 * kinds["numbers"] / 1e6  # each number, its gradient, and Adam's two means
print(reveal("5.6b", kinds["old"].round(2).to_dict()))
kinds.round(2)

# %% [markdown]
# None of them: all three learn the class, and all three forget. What differs is the cost. Full fine-tuning has eleven times as
# many numbers to train, to keep and to carry as LoRA of rank 16. It works with a third of LoRA's rate here; with a sixth,
# `1e-4`, it had learned only 0.69 of the class after 30 steps when we tried. DoRA has hardly more numbers than LoRA,
# takes longer for a step, and gains nothing on so easy a task. Its authors measured gains on larger models
# ([DoRA](https://arxiv.org/abs/2402.09353)).

# %% [markdown] minutes=13
# ## 7. Teach a skill (13 minutes)
#
# *New words: [overfitting](../docs/glossary.md#overfitting).*
#
# A fact can be looked up. A **skill** has to work on cases that nobody has listed. The card of `instruct-tiny` says that it
# cannot do anything outside its tasks, and saying digits backwards is not one of them.

# %%
import random

draw = random.Random(5)
rows = list(dict.fromkeys(" ".join(str(draw.randint(0, 9)) for _ in range(draw.choice((3, 4)))) for _ in range(320)))
examples = [talk(f"Say {digits} backwards.", digits[::-1]) for digits in rows]
skill_train, skill_test = examples[40:], examples[:40]
check_data(skill_train, skill_test)

# %% [markdown]
# ### Exercise 5.5 (easy, 4 minutes): judge strictly
#
# For facts, "the answer contains the city" was a fair judge. Here it is not: 9 3 2 1 contains 3 2 1. Write a stricter one.
# White space and a full stop at the ends may differ, nothing else.

# %% tags=["exercise"]
def right(answer, wanted):
    ...  # True or False


# %% tags=["solution"]
def right(answer, wanted):
    return answer.strip().rstrip(".").split() == wanted.split()


# %%
check("5.5", right)  # for help, run hint("5.5")

# %% [markdown]
# How many examples does a skill take? Begin with sixteen. `held_out` measures the loss of unseen rows every five steps, and
# does not train on them. The training loss will fall to nothing. Where will the held-out loss be? It begins at 7.3.

# %% tags=["exercise"]
predict("5.7a", ...)  # the loss of unseen rows after 40 steps

# %% tags=["solution"]
predict("5.7a", 0.5)  # the loss of unseen rows after 40 steps

# %%
# Until you have solved it, an answer must be the same to the letter. That is too strict.
backwards = solved("5.5", right, otherwise=lambda answer, wanted: answer == wanted)
print("before:  ", score(model, skill_test, backwards))
few = start(model, skill_train[:16], name="few-rows", held_out=skill_test, every=5, steps=40, rate=6e-4, scale=20.0).wait()
few_score = score(load("instruct", tier="tiny", adapter=few.adapter), skill_test, backwards)
print("16 rows: ", few_score)
reveal("5.7a", round(few.held_out[-1][1], 2))

# %%
loss_curve({"16 rows": [step.loss for step in few.history]}, held_out={"16 rows": few.held_out})

# %% [markdown]
# The training loss falls to zero. The held-out loss falls too, as long as the model learns the form of an answer. Then it
# **rises**: the model grows ever surer of digits that are wrong. It learns its sixteen rows by heart. This is **overfitting**,
# and it differs from forgetting: forgetting hits what the model knew before, overfitting hits unseen cases of the new task. You
# could stop where the dashed line is lowest (*early stopping*), but even there the model is poor. More examples help more. Take
# all 272:

# %% tags=["exercise"]
predict("5.7b", ...)  # 40 rows of digits that it never saw: which share will it say backwards?

# %% tags=["solution"]
predict("5.7b", 0.5)  # 40 rows of digits that it never saw: which share will it say backwards?

# %%
skill = start(model, skill_train, name="all-rows", held_out=skill_test, every=50, steps=150, rate=6e-4, scale=20.0).wait()
student = load("instruct", tier="tiny", adapter=skill.adapter)
skill_score = score(student, skill_test, backwards)
print("272 rows:", skill_score)
assert skill_score.share >= 0.85 and few.held_out[-1][1] > min(loss for _, loss in few.held_out) > skill.held_out[-1][1]
reveal("5.7b", skill_score.share)

# %% [markdown]
# It works on rows that the model has never seen, so it has not learned a list of answers. Has it understood "backwards", then?
# The textbook had rows of three and four digits. Try five:

# %% tags=["exercise"]
predict("5.7c", ...)  # 20 rows of FIVE digits: which share?

# %% tags=["solution"]
predict("5.7c", 0.9)  # 20 rows of FIVE digits: which share?

# %%
longer = [" ".join(str(draw.randint(0, 9)) for _ in range(5)) for _ in range(20)]
longer_score = score(student, [talk(f"Say {digits} backwards.", digits[::-1]) for digits in longer], backwards)
print(*[f"{digits} -> {answer}" for digits, answer in zip(longer[:4], longer_score.answers)], sep="\n")
reveal("5.7c", longer_score.share)

# %% [markdown]
# A held-out set answers one question: does it work on cases **like these**? It says nothing about other cases. The model has
# learned to say three and four digits backwards. If five matter to you, put fives into the textbook, and hold sixes back.

# %% [markdown] minutes=12
# ## 8. Teach a preference (12 minutes)
#
# Ask the model about places. It tells all that it knows, every time:

# %%
countries = pd.read_csv(catalog.course_folder() / "data" / "world" / "countries.csv", keep_default_na=False)
places = [*countries["en"], *cities["en"]]
aside = places[::4]
asked_later = [talk(f"What can you tell me about {place}?", "one sentence") for place in aside]


def brief(answer, wanted):
    return answer.count(".") == 1


before = score(model, asked_later, brief, max_tokens=60)
print("in one sentence:", before)
print(*before.answers[:3], sep="\n")

# %% [markdown]
# Somebody likes it shorter. So far you gave examples of good answers (**SFT**, supervised fine-tuning). Here nobody has to write
# any: you only say which of two answers is **better**. There are three ways to train:
#
# | | needs | does |
# | --- | --- | --- |
# | SFT | good answers | makes them likely |
# | PPO | a model that scores answers | lets the model try, and rewards good tries |
# | DPO | pairs, a better and a worse answer | moves the two apart, directly |
#
# Phi-3.5-mini went through all three, in this order (its card: SFT, PPO, DPO). PPO needs several models at once. DPO needs one
# model and a copy of its past: `p0`, the model before the training. How much has the better answer gained, and how much the
# worse?
#
# `margin = beta * ((ln p(better) - ln p0(better)) - (ln p(worse) - ln p0(worse)))`, and the loss is `-ln sigmoid(margin)`.
#
# ### Exercise 5.6 (hard, 8 minutes): write the loss of DPO
#
# The first four arguments are the logarithms above. Mind a margin far below zero: `exp` of a large number overflows.

# %% tags=["exercise"]
def dpo_loss(better, worse, better_before, worse_before, beta):
    ...  # the margin, and -ln sigmoid of it


# %% tags=["solution"]
def dpo_loss(better, worse, better_before, worse_before, beta):
    margin = beta * ((better - better_before) - (worse - worse_before))
    return float(np.logaddexp(0, -margin))


# %%
check("5.6", dpo_loss)  # for help, run hint("5.6")

# %% [markdown]
# Now the pairs. The model's own answer is the worse one, and the first sentence of it alone is the better one. How many of the
# questions that were held back will it answer in one sentence? And what becomes of the numbered lists, which no pair speaks of?

# %%
from labs_helper.tuning import Pair, ask_all

about = [f"Tell me about {place}." for place in places if place not in aside]
shorter = [Pair(question, answer.partition(". ")[0] + ".", answer)
           for question, answer in zip(about, ask_all(model, [talk(question, "?") for question in about], max_tokens=60))]
print(len(shorter), shorter[0])

# %% tags=["exercise"]
predict("5.8a", ...)  # the share of held-back questions that it will answer in one sentence
predict("5.8b", ...)  # of 16 numbered lists: how many will still have all of their lines?

# %% tags=["solution"]
predict("5.8a", 0.7)  # the share of held-back questions that it will answer in one sentence
predict("5.8b", 16)  # of 16 numbered lists: how many will still have all of their lines?

# %%
hasty = start(model, shorter, name="hasty", steps=25, rate=2e-4, keep_likely=0.5).wait()
terse = load("instruct", tier="tiny", adapter=hasty.adapter)
after = score(terse, asked_later, brief, max_tokens=60)
print(hasty, "in one sentence:", after, sep="\n")
assert after.share - before.share >= 0.4
reveal("5.8a", round(after.share, 2))

# %%
kinds = ("animals", "fruits", "colours", "countries")
lists = [talk(f"I need a numbered list with {n} {kind}.", str(n)) for n in (2, 3, 4, 5) for kind in kinds]


def whole(answer, wanted):
    return len(answer.splitlines()) == int(wanted)


kept = score(terse, lists, whole, max_tokens=40)
print("lists before:", score(model, lists, whole, max_tokens=40), "lists after:", kept, sep="\n")
print("before:", model.ask("Who are you?"), "\nafter: ", terse.ask("Who are you?"))
reveal("5.8b", kept.right)

# %% [markdown]
# None of the held-back places was in a pair, so the model has learned a behaviour, not a list. But every pair said that less is
# better, and none said where to stop. So other answers get shorter too, and a sentence ends for this model where a full stop is:
# read what it says about itself. The other half of the pairs has to say what must **not** change.

# %%
asked = [f"{start_of} {n} {kind}{rest}" for n in (2, 3, 4, 5) for kind in kinds
         for start_of, rest in (("Give me a numbered list of", "."), ("List", " as a numbered list."))]
longer = [Pair(question, answer, answer.splitlines()[0])
          for question, answer in zip(asked, ask_all(model, [talk(question, "?") for question in asked], max_tokens=40))]

fair = start(model, shorter + longer, name="fair", steps=25, rate=2e-4, keep_likely=0.5).wait()
balanced = load("instruct", tier="tiny", adapter=fair.adapter)
print("in one sentence:", score(balanced, asked_later, brief, max_tokens=60), "lists:", score(balanced, lists, whole, max_tokens=40),
      "where cities are:", score(balanced, old), sep="\n")
print("about itself:", balanced.ask("Who are you?"))

# %% [markdown]
# What the pairs speak of is repaired. What they do not speak of is not: a preference reaches as far as it likes, and you learn of
# it only where you measure. That is why the models that you use went through many thousand pairs of many kinds.
#
# The margin begins at 0, so DPO's part of the loss begins at ln 2 = 0.69. The rest of the first loss comes from `keep_likely`,
# which adds 0.5 times `-ln p` of a token of the better answer. Why? The margin alone also grows when **both** answers become
# unlikely and the worse one faster. Llama 3 was trained with such a term for this reason ([Llama
# 3](https://arxiv.org/abs/2407.21783)). Set it to 0 and the rate to `8e-4`, and read the answers.

# %% [markdown] minutes=4
# ## 9. Use it, and carry it away (4 minutes)
#
# An adapter is two small files. Keep it, and `load` knows it by name.

# %%
from labs_helper.tuning import keep

folder = keep(model, lesson, "my-class")
print({file.name: file.stat().st_size for file in folder.iterdir()})
taught = load("instruct", tier="tiny", adapter="my-class")
print(taught, "|", taught.ask("Where does Hana live?"))

# %% [markdown]
# The course did not read the weights again: both models share them, and only the detour is exchanged. How long does that take?

# %%
import time


def switch():
    start = time.perf_counter()
    model.engine.use_adapter()
    taught.engine.use_adapter()
    return (time.perf_counter() - start) / 2


seconds = WORKER.call(switch)
print(f"{seconds * 1000:.1f} ms")
assert seconds < 0.2

# %% [markdown]
# In a terminal, `labs models list` shows the adapter, `labs models export my-class /Volumes/STICK` writes it as a pack, and on
# another computer `labs models import` reads it. A pack is data only, and the import checks every byte. An adapter that does
# not belong to a model is refused:

# %%
from labs_helper import store
from labs_helper.errors import LabError

pack = store.export("my-class", folder.parent / "my-class.tar", progress=False)
print(f"{pack.stat().st_size / 1000:.0f} kB;", store.check("my-class"))
pack.unlink()
try:
    load("instruct-previous", tier="tiny", adapter="my-class")
except LabError as problem:
    print(problem)

# %% [markdown]
# `instruct-previous-tiny` has the same shapes, so nothing would have crashed. Only the answers would have been wrong.

# %% [markdown] minutes=11
# ## 10. Fold it in, and prove it (optional, 11 minutes)
#
# *New words: [fold](../docs/glossary.md#fold).*
#
# **Folding** adds the detour to `W` for good: one matrix, no adapter, and every engine can read it. With weights of 32 bits
# that is exact. But your model has 4 bits a weight. Is what the adapter changed larger than half a step of the rounding?
# `mlx_lm.fuse` rounds and does not ask ([mlx-lm#1172](https://github.com/ml-explore/mlx-lm/issues/1172)). How would you know?
#
# ### Exercise 5.7 (hard, 6 minutes): measure how far two models are apart
#
# Take two arrays of logits, a row for each place. Turn each row into shares with softmax, and return the mean over the rows of
# `sum(p * (ln p - ln q))`: the **KL divergence**, 0 if both models expect the same.

# %% tags=["exercise"]
def divergence(first, second):
    ...  # subtract each row's maximum before exp


# %% tags=["solution"]
def divergence(first, second):
    def log_shares(rows):
        rows = rows - rows.max(axis=-1, keepdims=True)
        return rows - np.log(np.exp(rows).sum(axis=-1, keepdims=True))

    p, q = log_shares(first), log_shares(second)
    return float((np.exp(p) * (p - q)).sum(axis=-1).mean())


# %%
check("5.7", divergence)  # for help, run hint("5.7")

# %% tags=["exercise"]
predict("5.10a", ...)  # of what the adapter changed: which share is gone after rounding to 4 bits?

# %% tags=["solution"]
predict("5.10a", 0.2)  # of what the adapter changed: which share is gone after rounding to 4 bits?

# %%
import tempfile
from pathlib import Path

from labs_helper.tuning import fold

room = Path(tempfile.mkdtemp())
proofs = {}
for bits in (None, 8, 4, 2):
    try:
        proofs[bits] = fold(taught, room / f"class-{bits}", [*held_out[::2], *old[::10]], bits=bits)
        print(f"{bits or 32} bits:", proofs[bits])
    except LabError as problem:
        print(f"{bits} bits:", problem.what)
reveal("5.10a", round(proofs[4].lost, 3) if 4 in proofs else "refused")

# %% [markdown]
# "Changed" is what the adapter did to the answers, about the class and about some cities. "Differs" is what folding did to
# that. With 32 bits nothing measurable is lost. Eight and four bits keep this adapter too: it was trained until its answers
# were nearly certain, and the rounding errors are too small to overturn them. At 2 bits the result is not the model that you
# taught, so `fold` refuses: a file that looks right and answers wrong is worse than none.
#
# So was the warning wrong? Try an adapter that changes little, after three steps of training:

# %%
faint = load("instruct", tier="tiny", adapter=start(model, book, name="faint", steps=3).wait().adapter)
try:
    print(fold(faint, room / "faint-4", held_out[::2], bits=4))
except LabError as problem:
    print(problem.what)

# %% [markdown]
# Most of it is gone: the folded model differs from the adapter almost as much as the model without it. That is what the
# reports about `mlx_lm.fuse` describe. Whether an adapter survives the rounding depends on how much it changes, so measure it.
#
# llama.cpp reads adapters too, as GGUF files. There both matrices are transposed, and the factor is written as `alpha / rank`:

# %%
try:
    from labs_helper.tuning import to_gguf

    file = to_gguf(lesson.adapter, room / "my-class.gguf")
    print(file.name, f"{file.stat().st_size / 1000:.0f} kB: llama-cli -m base.gguf --lora {file.name}")
except LabError as problem:
    print(problem)

# %%
import shutil

shutil.rmtree(room)

# %% [markdown] minutes=8
# ## 11. Plan it for the real Phi-3.5-mini (8 minutes)
#
# Four things take memory: the weights, the adapter, what Adam keeps for it, and the **activations**, which the backward pass
# needs from the forward pass. With `checkpoint`, the training computes most activations twice instead of keeping them.
#
# ### Exercise 5.8 (easy, 3 minutes): count the bytes of a training
#
# For each number that learns, memory holds the number, its gradient, and Adam's two means. Each takes 4 bytes.

# %% tags=["exercise"]
def training_bytes(trained):
    ...


# %% tags=["solution"]
def training_bytes(trained):
    return 4 * 4 * trained


# %%
check("5.8", training_bytes)  # for help, run hint("5.8")

# %%
from labs_helper.capacity.estimate import table_of
from labs_helper.capacity.training import Training, training_need

shapes = catalog.find("instruct", "real")[0].config
table = []
for batch, tokens, checkpoint in ((1, 512, True), (1, 512, False), (4, 512, True), (4, 512, False), (4, 2048, False)):
    need = training_need(shapes, table_of(shapes), Training(8, 16, batch, tokens, checkpoint), on_cpu=False)
    table.append({"batch": batch, "tokens": tokens, "checkpoint": checkpoint, "weights GB": need.weights / 1e9,
                  "adapter and Adam GB": (need.adapter + need.optimizer) / 1e9,
                  "activations GB": need.activations / 1e9, "total GB": need.total / 1e9})
pd.DataFrame(table).round(2)

# %% [markdown]
# Computed from the shapes, for rank 8 in the last 16 blocks, on 4-bit weights (**QLoRA**); not measured on a Mac. Metal gives
# the GPU about two thirds of a Mac's memory, three quarters above 32 GB: 5.7 GB on a Mac with 8 GB, 11.5 with 16, 22.9 with 32. `start`
# computes the same before it reads a weight, and refuses what does not fit.
#
# On a Mac, after `labs models fetch phi-3.5-mini-instruct-4bit`:
#
# ```python
# model = load("instruct", tier="real")
# start(model, book, steps=200, rate=1e-4, layers=16, batch=1, checkpoint=True)
# ```
#
# On NVIDIA, people use Unsloth or TRL; `labs_helper.tuning.write` gives them the same JSON lines. Of the other models: the
# attention of Phi-3.5-MoE takes adapters (`keys=("self_attn.q_proj", "self_attn.v_proj", "self_attn.o_proj")`; try it on
# `load("moe")`), its experts do not in this course. For Phi-3.5-vision there is the trainer of `mlx_vlm`; this course does not
# use it.
#
# The course does one more thing for you. `mlx_lm` reads positions with the wrong LongRoPE table below 4,096 tokens ([lab
# 01](01-instruct.ipynb)). Trained with it, an adapter would learn to compensate for a mistake that other engines do not make.
# `start` trains with the right table:

# %%
print("table in this lab's trainings:", lesson.table)

# %% [markdown]
# ### When not to fine-tune
#
# Facts that change, or that must be right to the letter, belong in a document that the model reads when you ask (retrieval).
# Fine-tuning is for how a model behaves: a form, a tone, a skill, a preference.

# %% [markdown] minutes=10
# ## 12. Walk into the traps on purpose (optional, 10 minutes)
#
# Each of these wastes a training, and few of them stop it by themselves. First, the keys of another model: Phi has one fused
# layer where others have three. Second, more layers than the model has. Third, a rank of zero.

# %%
for plan in ({"keys": ("self_attn.q_proj", "self_attn.v_proj")}, {"layers": 16}, {"rate": 0.0, "rank": 0}):
    try:
        print(start(model, train, steps=5, **plan).wait())
    except LabError as problem:
        print(f"- {problem}")

# %% [markdown]
# Plain `mlx_lm` prints "Trainable parameters: 0.000%" for the first, and then fails in the gradient. Fourth, an example that
# does not fit. `mlx_lm` cuts off its end and trains on the rest, and the answer is at the end.

# %%
try:
    start(model, [*train, talk("Where is Ana? " * 400, "Ana lives in Lyon.")], steps=5)
except LabError as problem:
    print(problem)

# %% [markdown]
# Fifth, prompts in the loss. Many applications put a page in front of a question. Put four sentences about cities there, others in
# each example, and train without a mask. Count the share of the tokens that belong to answers first.

# %%
from labs_helper.tuning import answer_of, question_of

said = [f"{row.en} is a city in {row.country}." for row in cities.itertuples()]


def with_pages(items, seed):
    pages = random.Random(seed)
    return [talk(" ".join(pages.sample(said, 4)) + "\n" + question_of(item), answer_of(item)) for item in items]


example = encode(model.engine, with_pages(train, seed=0)[0])
print(f"{len(example) - example.start} of {len(example)} tokens belong to the answer")

# %% tags=["exercise"]
predict("5.12a", ...)  # right answers of 96 after three trainings of 20 steps, with the prompts in the loss

# %% tags=["solution"]
predict("5.12a", 84)  # right answers of 96 after three trainings of 20 steps, with the prompts in the loss

# %%
def after_20_steps(whole):
    right = []
    for seed in range(3):
        made = start(model, with_pages(train, seed), name="pages", steps=20, batch=4, rate=6e-4, seed=seed, whole=whole).wait()
        student = load("instruct", tier="tiny", adapter=made.adapter)
        right.append(score(student, with_pages(held_out, seed + 100)).right)
    return made, right


trap, trapped = after_20_steps(whole=True)
print(trap, trapped, sep="\n")
reveal("5.12a", sum(trapped))

# %% [markdown]
# The loss fell as it should, and most answers are wrong. The training spent its steps on guessing which city comes next on a
# page, and nobody will ask for that. The repair is the mask, `mask_prompt: true` in `mlx_lm`. Here it is the default:

# %%
repair, repaired = after_20_steps(whole=False)
print(repair, repaired, sep="\n")
assert sum(repaired) > 1.3 * sum(trapped)

# %% [markdown]
# Why three trainings? One may come out the other way. When we tried 30 steps, 26 and 48 of 96 answers were right; with eight
# sentences on a page, two of six pairs came out the other way, and with the same page in all examples the mask made no
# difference that we could tell.

# %% [markdown]
# Sixth, a rate that is too large. The loss explodes within a few steps. A training that notices keeps the last good adapter:

# %%
wild = start(model, train, name="wild", steps=40, rate=2.0).wait()
print(wild)
assert wild.ended == "exploded"

# %% [markdown]
# Last, an end that is never taught: the same textbook without `<|end|>`.

# %% tags=["exercise"]
predict("5.12b", ...)  # of 32 answers: how many will still end by themselves?

# %% tags=["solution"]
predict("5.12b", 0)  # of 32 answers: how many will still end by themselves?

# %%
endless = start(model, train, name="endless", steps=30, rate=6e-4, end=False).wait()
talker = load("instruct", tier="tiny", adapter=endless.adapter)
print(talker.ask("Where does Ana live?", max_tokens=40).text)
reveal("5.12b", sum(score(talker, held_out).stopped))

# %% [markdown]
# Many guides warn of answers that never end. Here the model still stops: it learned that long before, and a training of this
# size does not take it away. A rougher one does: with 60 steps at a rate of `2e-3`, none of 32 answers ended when we tried, and
# 27 of them were wrong as well. Teach the end all the same. It costs one token.

# %% [markdown]
# ## Recap
#
# In this lab you:
#
# - wrote a textbook, held phrasings back, and let a checker read it;
# - marked the tokens that count, and built LoRA from two thin matrices;
# - taught a model new facts, saw it forget the old ones, and repaired that with replay;
# - taught a skill, saw a training overfit, and judged the skill on unseen cases;
# - taught a preference with DPO, and carried an adapter away;
# - planned a training of the real model.
#
# In the optional parts you compared ranks and kinds of training, folded an adapter in and proved what was left of it, and
# walked into traps.
#
# **Further reading:** [LoRA](https://arxiv.org/abs/2106.09685), [QLoRA](https://arxiv.org/abs/2305.14314),
# [DoRA](https://arxiv.org/abs/2402.09353), [DPO](https://arxiv.org/abs/2305.18290), [Textbooks Are All You
# Need](https://arxiv.org/abs/2306.11644), the [Phi-3 technical report](https://arxiv.org/abs/2404.14219), and [LORA.md of
# mlx-lm](https://github.com/ml-explore/mlx-lm/blob/main/mlx_lm/LORA.md).
#
# **Next:** [06: serve](06-serve.ipynb): one model for twenty people, and a server that is killed on purpose.
#
# Last, remove the adapter, give the memory back, and see what is left to do.

# %%
from labs_helper.exercises import so_far

store.remove("my-class")
model.release()
so_far("05")
