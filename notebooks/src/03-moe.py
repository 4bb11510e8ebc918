# %% [markdown]
# # Watch a router choose among sixteen experts
#
# **You will do:** see which experts every token goes to, measure what the experts have learned, take experts away and count
# what is lost. Optional: route a token by hand, and keep all experts but one on the disk.
#
# **You will learn:** why a model of 42 billion parameters uses only 6.6 billion of them for a token and still needs 24 GB of
# memory, what a router computes, why its two weights do not sum to 1, and how to tell a finding from luck.
#
# **You will need:**
#
# | | with the bundled model | with the real Phi-3.5-MoE at 4 bits |
# | --- | --- | --- |
# | time | core 1 hour 30 minutes, everything 2 hours 20 minutes; up to two minutes to run all cells | the same and the download |
# | machine | any laptop or Codespace | a Mac with Apple silicon and 36 GB: only MLX reports experts; with 8 to 24 GB [Phi-mini-MoE](../docs/models.md#phi-mini-moe-at-4-bits) |
# | free memory | 1 GB | 25 GB, on a Mac with Apple silicon and 36 GB |
# | download | nothing | 23.6 GB, once, and only when you ask for it |
#
# Before this: [00: start the course](00-start-here.ipynb). Helpful: [01: Instruct](01-instruct.ipynb), sections 2 and 9. Words
# that are new to you are in the [glossary](../docs/glossary.md). You may skip any part whose heading says *optional*.
# `NameError` means that a cell above has not run yet: choose Run > Run All Above Selected Cell.

# %% [markdown] tags=["learner"]
# **This is the learner edition.** The exercises wait for your answers, and outputs appear when you run the cells.

# %% [markdown] tags=["solution"]
# **This is the solution edition.** The exercises are solved and all outputs are here. The edition for learners has the
# same name, one folder up.

# %%
from labs_helper import check_setup

check_setup("03")

# %%
from labs_helper import able, check, load, predict, reveal

moe = able(load("moe"), "moe", "experts")
small = moe if moe.tier == "tiny" else load("moe", tier="tiny")
print(f"{moe.name} answers in this notebook. Why: {moe.reason}.")

# %% [markdown]
# `moe-tiny` is a small `phimoe` model, the architecture of Phi-3.5-MoE, that was trained for this course: 4 layers with 16
# experts each. It answers everyday questions in five languages, adds numbers, writes a little Python and plans with tools.
# It grew out of `instruct-tiny`: its attention came from there, and each expert began as those neurons of the feed-forward
# network that mattered most for one topic. (Splitting a network this way is called *MoEfication*; copying it whole is called
# *sparse upcycling*.) That saved no training: `moe-tiny` then learned from several times as many tokens as its parent.
#
# What you learn about routers, memory and offload holds for the real model too. Where numbers differ, the text says so.
# Sections 5, 7 and 9 take a model apart. They always use `moe-tiny`, here called `small`: a second copy of Phi-3.5-MoE would
# need another 24 GB of memory.
#
# **Guess first.** Before a cell that surprises most people, write down what you expect: replace the dots in `predict` and run
# it. `reveal` shows your guess beside the result. Nobody grades a guess.

# %% [markdown] minutes=9
# ## 1. See where the tokens go (9 minutes)
#
# *New words: [sparse upcycling](../docs/glossary.md#sparse-upcycling), [attention](../docs/glossary.md#attention), [feed-forward network](../docs/glossary.md#feed-forward-network), [dense model](../docs/glossary.md#dense-model), [mixture of experts](../docs/glossary.md#mixture-of-experts), [expert](../docs/glossary.md#expert), [router](../docs/glossary.md#router), [gate](../docs/glossary.md#gate).*
#
# A layer of a language model has two parts. **Attention** lets a token look at the others. Then a **feed-forward network**
# works on each token alone; it holds most of the parameters. A **dense** model has one such network in a layer, and every
# token goes through it. A **mixture of experts** has several, the **experts**, and a small **router** picks
# two of them for each token.
#
# So an expert is not a specialist that answers your question, and nothing splits the question into parts. The router chooses
# again for every token in every layer.

# %%
answer = moe.ask("What is 47 + 38?", record_experts=True)
print(answer.text)
answer.routing.frame().head(8)

# %% [markdown]
# `record_experts=True` records what the routers do. The table has a row for each token, layer and rank: the expert, the weight
# that multiplies its output, and the router's own number for it, the **gate**. Recording does not change the answer:

# %%
plain = moe.ask("What is 47 + 38?")
assert [token.id for token in plain.tokens] == [token.id for token in answer.tokens]
print(f"{len(answer.routing)} tokens were recorded: {answer.prompt_tokens} of the prompt, {answer.generated_tokens} of the answer")

# %% [markdown]
# The prompt is recorded too: it goes through the same layers. Here is one layer, token by token. The large number is the first
# expert, the small one the second.

# %%
from labs_helper.figures import expert_tokens

expert_tokens(answer, layer=0, title="What is 47 + 38?")

# %% [markdown]
# Now all layers at once. Expert 3 of layer 0 has nothing to do with expert 3 of layer 1: they are different networks.
# This one conversation has 64 tokens, and `moe-tiny` has 4 x 16 = 64 experts. How many of them get no token at all?

# %% tags=["exercise"]
predict("3.1a", ...)  # experts without a token, of all experts in all layers

# %% tags=["solution"]
predict("3.1a", 10)  # experts without a token, of all experts in all layers

# %%
from labs_helper.figures import expert_map

experts_used = answer.routing.frame().groupby("layer")["expert"].nunique()
print(reveal("3.1a", answer.routing.gates.shape[1] * 16 - int(experts_used.sum())))
expert_map(answer)

# %% [markdown]
# More than half of them stay idle: this sum needs few experts. Each row adds up to 100 and counts both experts of each token,
# so a cell near 50 means that nearly every token chose that expert, first or second.

# %% [markdown] minutes=15
# ## 2. Count the parameters (15 minutes)
#
# *New words: [hidden size](../docs/glossary.md#hidden-size), [quantization](../docs/glossary.md#quantization).*
#
# The shapes of Phi-3.5-MoE are public. They decide how large the model is, and how much of it a token uses.

# %%
import pandas as pd

from labs_helper.figures import family

shapes = family()
pd.DataFrame(shapes).fillna("")

# %% [markdown]
# | part | parameters |
# | --- | --- |
# | table of the vocabulary, once to read and once to write | `vocab_size` x `hidden_size` each |
# | attention, in every layer: queries and output | `hidden_size` x `hidden_size` each |
# | attention, in every layer: keys and values | `hidden_size` x (`num_key_value_heads` x size of a head) each |
# | router, in every layer | `hidden_size` x `num_local_experts` |
# | one expert, in every layer | three matrices of `hidden_size` x `intermediate_size` |
#
# The size of a head is `hidden_size` / `num_attention_heads`. Norms and biases are less than a thousandth: leave them out.
#
# ### Exercise 3.1 (medium, 9 minutes): count the parameters from the shapes
#
# Write a function that takes a shape and a number of experts. With all 16, it returns the size of the model. With the 2 that a
# token uses, it returns how many parameters one token goes through.

# %% tags=["exercise"]
def parameters(shape, experts):
    ...  # tables + layers * (attention + router + experts * one expert)


# %% tags=["solution"]
def parameters(shape, experts):
    hidden, heads = shape["hidden_size"], shape["num_attention_heads"]
    key_values = hidden * shape["num_key_value_heads"] * hidden // heads
    attention = 2 * hidden * hidden + 2 * key_values
    router = hidden * shape["num_local_experts"]
    expert = 3 * hidden * shape["intermediate_size"]
    layer = attention + router + experts * expert
    return 2 * shape["vocab_size"] * hidden + shape["num_hidden_layers"] * layer


# %%
check("3.1", parameters)  # for help, run hint("3.1")

# %%
from labs_helper.exercises import solved

counted = solved("3.1", parameters)
large = shapes["Phi-3.5-MoE"]
for experts in (16, 2):
    print(f"{experts:2} experts: {counted(large, experts) / 1e9:.1f} billion parameters")
assert round(counted(large, 16) / 1e9, 1) == 41.9 and round(counted(large, 2) / 1e9, 1) == 6.6

# %% [markdown]
# The card rounds to 42 and 6.6. Do not multiply the name "16x3.8B" that you may see: attention and tables exist only once,
# whatever the number of experts.
#
# What if each layer had 64 experts instead of 16? A token would still use two.

# %% tags=["exercise"]
predict("3.2a", ...)  # billions of parameters that one token goes through, with 64 experts

# %% tags=["solution"]
predict("3.2a", 20)  # billions of parameters that one token goes through, with 64 experts

# %%
shared = counted(large, 0)
print(reveal("3.2a", round(counted(large, 2) / 1e9, 1)))
print(f"with 64 experts: {counted(large, 64) / 1e9:.0f} billion in all, {counted(large, 2) / 1e9:.1f} billion for a token")
print(f"experts: {1 - shared / counted(large, 16):.0%} of all parameters, {1 - shared / counted(large, 2):.0%} of a token's")

# %% [markdown]
# Takeaway: the number of experts decides the memory. The number that a token uses decides the work. A dense model cannot
# choose one without the other. (The router would grow as well, by less than a thousandth.)

# %% [markdown] minutes=22
# ## 3. Route one token by hand (22 minutes, 12 optional)
#
# *New words: [SparseMixer](../docs/glossary.md#sparsemixer), [softmax](../docs/glossary.md#softmax).*
#
# The router is one matrix. It reads the row of numbers that each token has after attention, so the token's context is in it, too
# ([lab 08](08-inside.ipynb), section 14, measures how much). It gives every expert a number, its **gate**. Here are the sixteen gates of one token in one layer.
# Of all tokens and layers, this is the place whose two weights have the smallest sum.

# %%
gates = answer.routing.gates
print(gates.shape, "tokens, layers, experts")
place, layer = divmod(int(answer.routing.weights.sum(-1).argmin()), gates.shape[1])
token = answer.routing.frame().query(f"position == {place} and layer == {layer}")
pd.DataFrame({"gate": gates[place, layer]}).round(3).T

# %%
token.round(3)

# %% [markdown]
# The two experts with the largest gates win. Their weights come from a rule called **SparseMixer**, in two rounds:
#
# 1. Take the best gate `b` that is left.
# 2. Keep the experts that are **near** it: those with `(b - gate) / max(|gate|, b)` at most 0.02. The best is one of them.
# 3. The weight is the share of the best in a softmax over the near ones.
# 4. Take the best away, and begin again for the second expert.
#
# During training, the router drew one of the near experts at random, with these shares as probabilities. That makes a hard
# choice learnable. When the model is used, nothing is drawn, and only the weights remain.

# %% [markdown]
# ### Exercise 3.2 (optional, hard, 12 minutes): route one token by hand
#
# Return two pairs, the better first: `[(expert, weight), (expert, weight)]`. In the second round the first expert is out: it is
# neither chosen nor near.

# %% tags=["exercise"]
import math


def route(gates, jitter=0.01):
    ...  # twice: the best gate, the near ones, the weight; then take the best away


# %% tags=["solution"]
import math


def route(gates, jitter=0.01):
    left, found = dict(enumerate(gates)), []
    for _ in range(2):
        expert = max(left, key=left.get)
        best = left.pop(expert)
        near = [gate for gate in left.values() if (best - gate) / max(abs(gate), best) <= 2 * jitter]
        found.append((expert, 1 / (1 + sum(math.exp(gate - best) for gate in near))))
    return found


# %%
check("3.2", route)  # for help, run hint("3.2")

# %% [markdown]
# Does your function return what the model really used? Compare all tokens, in all layers:

# %%
import mlx.core as mx
from mlx_lm.models.phimoe import sparsemixer


def of_the_package(gates):
    experts, weights = sparsemixer(mx.array([[gates]]), top_k=2, jitter_eps=0.01)
    return list(zip(experts[0, 0].tolist(), weights[0, 0].tolist()))


by_hand = solved("3.2", route, otherwise=of_the_package)
wrong = 0
for position in range(len(answer.routing)):
    for depth in range(gates.shape[1]):
        expected = by_hand(gates[position, depth].tolist())
        experts_used = answer.routing.experts[position, depth].tolist()
        weights_used = answer.routing.weights[position, depth].tolist()
        same = all(abs(w - e[1]) < 1e-4 for w, e in zip(weights_used, expected))
        wrong += [e[0] for e in expected] != experts_used or not same
print(f"{wrong} of {position + 1} x {depth + 1} places differ from the record")
assert wrong == 0

# %% [markdown]
# ### Exercise 3.3 (easy, 4 minutes): count the places with two full weights
#
# A weight near 1 means that no other expert came near. How often do **both** experts of a token count fully, with weights above
# 0.99? Take the table that `answer.routing.frame()` returns, and return the share of (token, layer) places.

# %% tags=["exercise"]
def share_of_full(routing):
    ...  # routing.groupby(["position", "layer"]) has the two weights of a place


# %% tags=["solution"]
def share_of_full(routing):
    return (routing.groupby(["position", "layer"])["weight"].min() > 0.99).mean()


# %%
check("3.3", share_of_full)  # for help, run hint("3.3")

# %% tags=["exercise"]
predict("3.3a", ...)  # the sum of a token's two weights, most often

# %% tags=["solution"]
predict("3.3a", 1)  # the sum of a token's two weights, most often

# %%
full = solved("3.3", share_of_full)
sums = answer.routing.weights.sum(-1)
print(reveal("3.3a", float(pd.Series(sums.ravel().round(2)).mode()[0])))
print(f"both weights full: {full(answer.routing.frame()):.0%}; sums between {sums.min():.2f} and {sums.max():.2f}")

# %% [markdown]
# Two, not one. In Mixtral, another mixture of experts, both weights come from **one** softmax and sum to 1. Here each weight
# has a softmax of its own, over the experts near that winner. Two clear winners get 1 and 1. The layer has learned with exactly
# these weights, so dividing them by their sum would break the model, not repair it.

# %% [markdown] minutes=24
# ## 4. Measure what the experts have learned (24 minutes)
#
# *New words: [mutual information](../docs/glossary.md#mutual-information), [permutation test](../docs/glossary.md#permutation-test), [chance level](../docs/glossary.md#chance-level).*
#
# "This expert knows Korean" is easy to claim. Let us measure it. `data/questions/moe.csv` has 48 questions that were kept out
# of the training: six on each of eight topics, each with a piece of text that a right answer contains. Five topics are
# languages. The other three, numbers, Python and plans, mix the five languages, so that language alone does not give them away.

# %%
from labs_helper import catalog

questions = pd.read_csv(catalog.course_folder() / "data" / "questions" / "moe.csv", keep_default_na=False)
for topic, own in questions.groupby("topic", sort=False):
    print(f"{topic:8} {own['question'].iloc[0]}  ->  {own['expect'].iloc[0]}")

# %%
def ask_all(model, without=()):
    """Every question once: the answers, recorded."""
    return [
        model.ask(row.question, system=row.system or None, max_tokens=60, record_experts=True, without_experts=without)
        for row in questions.itertuples()
    ]


answers = ask_all(moe)
small_answers = answers if small is moe else ask_all(small)

# %%
def count_right(answers):
    """How many answers of each topic contain what they must."""
    right = [row.expect in answer.text for row, answer in zip(questions.itertuples(), answers)]
    return questions.assign(right=right).groupby("topic", sort=False)["right"].sum()


count_right(answers)

# %% [markdown]
# (The expected texts are in the style of `moe-tiny`. The real model says the same in other words, and this count misses it. The
# MLX notebook that this course follows printed 37.5 tokens a second for it. At that speed, 48 questions take about two
# minutes.)
#
# First, are all experts used at all? A router tends to send everything to a few experts: they learn most, and so they are
# chosen more often. Training has to work against that.

# %%
from labs_helper.figures import expert_load


def joined(answers):
    """The records of all answers in one table, with the topic and the number of the conversation."""
    frames = [answer.routing.frame().assign(conversation=number) for number, answer in enumerate(answers)]
    return pd.concat(frames, ignore_index=True).assign(topic=lambda rows: rows["conversation"].map(questions["topic"]))


talks = joined(answers)
expert_load(talks)

# %% [markdown]
# Over all topics no expert is idle, though the one sum in section 1 used fewer than half of them.
#
# Second, do they specialise? Count the tokens in a table: one row for each topic, one column for each expert. If the expert of
# a token tells you its topic, rows and columns **share information**. The measure is called normalised mutual information: 0 if
# the expert tells you nothing, 1 if it tells you the topic for certain.
#
# To compute it, divide the table by its sum, so that its cells are shares. The entropy of shares is `H(p) = -sum(p * log(p))`.
# The information is `H(sums of the rows) + H(sums of the columns) - H(all cells)`. To normalise it, divide it by the mean of
# the first two entropies.
#
# ### Exercise 3.4 (medium, 8 minutes): measure what an expert tells about the topic
#
# Write the function for a NumPy table of counts. An empty cell adds 0: leave it out before you take the logarithm.

# %% tags=["exercise"]
import numpy as np


def shared_information(table):
    ...  # shares, three entropies, and the quotient


# %% tags=["solution"]
import numpy as np


def shared_information(table):
    def entropy(p):
        p = p[p > 0]
        return -(p * np.log(p)).sum()

    shares = table / table.sum()
    rows, columns = entropy(shares.sum(axis=1)), entropy(shares.sum(axis=0))
    return 2 * (rows + columns - entropy(shares.ravel())) / (rows + columns)


# %%
check("3.4", shared_information)  # for help, run hint("3.4")

# %% [markdown]
# The number alone says little: a small sample shows some information even where there is none. So shuffle the topics among the
# conversations, two hundred times, and measure each time. The mean is **chance**. Where do you expect it, between 0 and 1?

# %% tags=["exercise"]
predict("3.4a", ...)  # information when the topics are shuffled

# %% tags=["solution"]
predict("3.4a", 0)  # information when the topics are shuffled

# %%
from labs_helper.figures import specialisation

sides = specialisation(talks)
print(reveal("3.4a", round(sides.rows[-1]["chance"], 2)))
sides

# %% [markdown]
# Why is chance so far from zero? Shuffling keeps each conversation whole, and the tokens of one conversation go to few experts.
# So the sample is 48 conversations, not two thousand tokens, and 48 are few.
#
# The same in numbers, with a permutation test:

# %%
sides.frame().round(3)

# %% [markdown]
# `p` is 1/201 in every layer, the smallest value that 200 shuffles can give: none of them came close. That does not mean that
# anything was **learned**. Different topics have different words, and a router that has learned nothing also sends different
# words different ways. Test it on models of the same shape with random weights. How much information do you expect in their
# best layer?

# %% tags=["exercise"]
predict("3.4b", ...)  # information in the best layer of a model that has learned nothing

# %% tags=["solution"]
predict("3.4b", 0)  # information in the best layer of a model that has learned nothing

# %%
import json

import mlx.core as mx
from mlx_lm.models import phimoe

from labs_helper.engines.experts import Watch

settings = json.loads((small.path / "config.json").read_text())


def untrained(seed):
    """The experts that a model with random weights chooses in the same conversations."""
    mx.random.seed(seed)
    model, frames = phimoe.Model(phimoe.ModelArgs.from_dict(settings)), []
    for number, answer in enumerate(small_answers):
        with Watch(settings) as watch:
            mx.eval(model(mx.array([answer.prompt.ids + tuple(token.id for token in answer.tokens)])))
        frames.append(watch.routing().frame().assign(conversation=number, topic=questions["topic"][number]))
    return specialisation(pd.concat(frames, ignore_index=True)).frame()

# %%
by_chance = pd.concat([untrained(seed).assign(seed=seed) for seed in range(2)])
print(reveal("3.4b", [round(best, 2) for best in by_chance.groupby("seed")["information"].max()]))
by_chance.round(3)

# %% [markdown]
# A random router reaches about 0.2, far above its own chance, and its `p` is 1/201 as well. (With the seeds 0 to 8, the best
# layer has 0.18 to 0.27.) So compare with an untrained model, not with zero. `moe-tiny` has 0.7 to 0.9: the difference was
# learned. It was also **taught**: the training rewarded experts for specialising, so that you can see it here. Mixtral had no
# such reward. Its authors found no obvious pattern by topic, and some by syntax (Mixtral paper, section 5).
#
# Every prompt has the same markers, whatever its topic. Do they go to the same expert? Each of the eight topics has six
# `<|user|>` and six `<|assistant|>`.

# %% tags=["exercise"]
predict("3.4c", ...)  # how many different experts <|assistant|> goes to, in the last layer

# %% tags=["solution"]
predict("3.4c", 1)  # how many different experts <|assistant|> goes to, in the last layer

# %%
markers = talks.query("rank == 1 and layer == layer.max() and token in ['<|user|>', '<|assistant|>']")
print(reveal("3.4c", int(markers.query("token == '<|assistant|>'")["expert"].nunique())))
pd.crosstab([markers["token"], markers["expert"]], markers["topic"])[questions["topic"].unique()]

# %% [markdown]
# `<|user|>` opens a conversation, so nothing comes before it. It goes to the same expert in every topic except plans, where a
# system message comes first. `<|assistant|>` is the same token every time too, and yet it goes to the expert of its topic, with
# few exceptions. The router does not see the token, it sees what attention has made of it: **context decides**, not the word.
#
# You can also compare two prompts directly. The overlap is 100% if both use the experts of a layer in the same proportions.

# %%
from labs_helper.figures import compare_experts

korean, python = (questions.query(f"topic == '{topic}'").index[0] for topic in ("ko", "python"))
compare_experts(answers[korean], answers[python], ("a question in Korean", "a question about Python"))

# %% [markdown]
# **Your turn:** compare the same question in two languages, and two questions in one language. What do the experts follow: the
# words or the meaning? Look at the layers one by one.

# %% [markdown] minutes=22
# ## 5. Take an expert away (22 minutes)
#
# *New words: [ablation](../docs/glossary.md#ablation), [confidence interval](../docs/glossary.md#confidence-interval).*
#
# Counting shows where tokens go. It does not show what an expert is **good for**. To find out, take it away: the router may not
# choose it, and its tokens go to the next best expert. (This is called *ablation*.)
#
# Which one? An expert **prefers** a topic if it gets more of that topic's tokens than of the others'. Here is the favourite of
# each topic in each layer of `moe-tiny`, and then the one with the largest preference of all.

# %%
first = joined(small_answers).query("rank == 1")
table = pd.crosstab([first["layer"], first["expert"]], first["topic"])
table = table / first.groupby("topic").size() * first["layer"].nunique()  # shares of each topic's tokens, in every layer
others = (table.sum(axis=1).to_numpy()[:, None] - table) / (table.shape[1] - 1)
favourites = (table - others).groupby("layer").idxmax().map(lambda place: place[1])[questions["topic"].unique()]
favourites

# %%
layer, expert, topic = (table - others).stack().idxmax()
print(f"expert {expert} of layer {layer}: {table.at[(layer, expert), topic]:.0%} of the first choices of {topic!r}, "
      f"{others.at[(layer, expert), topic]:.0%} of the other topics")

# %% tags=["exercise"]
predict("3.5a", ...)  # right answers of this topic's six when the expert is gone

# %% tags=["solution"]
predict("3.5a", 0)  # right answers of this topic's six when the expert is gone

# %%
ablated = ask_all(small, without=[(layer, expert)])
assert expert not in set(ablated[0].routing.frame().query(f"layer == {layer}")["expert"])
rights = pd.DataFrame({"all experts": count_right(small_answers), "without it": count_right(ablated)})
print(reveal("3.5a", int(rights.at[topic, "without it"])))
rights.T

# %% [markdown]
# A loss in one topic and none in the others looks like a result. It is not one yet, because six questions are few. What share
# would be right if you asked thousands? Six answers only narrow it down, to an interval that contains the true share in 95 of
# 100 experiments.

# %%
from labs_helper.figures.ablation import wilson

for what, right in rights.loc[topic].items():
    low, high = wilson(right, 6)
    print(f"{topic}, {what}: {right} of 6 right, so between {low:.0%} and {high:.0%}")

# %% [markdown]
# As long as the two intervals overlap, luck may explain the difference. So the course asked 40 questions on each topic. Before
# you see that table, find two of its entries.

# %%
def right_without(topic, gone):
    """Right answers to the six questions of one topic, without the experts in `gone`, pairs of (layer, expert)."""
    own = questions[questions["topic"] == topic]
    asked = [small.ask(row.question, system=row.system or None, max_tokens=60, without_experts=gone) for row in own.itertuples()]
    return sum(expect in answer.text for expect, answer in zip(own["expect"], asked))


right_without("ko", [(3, favourites.at[3, "ko"])])

# %% [markdown]
# ### Exercise 3.5 (medium, 8 minutes): find an expert that is missed, and one that is not
#
# Both must be favourites of their topic. Try some with `right_without`. Hand in two triples, `(layer, expert, topic)`. Without
# `seen`, its topic loses more than luck explains. Without `unseen`, it loses nothing. The check looks them up in the counts
# with 40 questions.

# %% tags=["exercise"]
seen = ...  # (layer, expert, topic)
unseen = ...  # (layer, expert, topic)

# %% tags=["solution"]
print({topic: right_without(topic, [(3, favourites.at[3, topic])]) for topic in ("numbers", "python")})
print({topic: right_without(topic, [(0, favourites.at[0, topic])]) for topic in ("numbers", "python")})
seen = (3, int(favourites.at[3, "numbers"]), "numbers")
unseen = (0, int(favourites.at[0, "numbers"]), "numbers")

# %%
check("3.5", (seen, unseen))  # for help, run hint("3.5")

# %% [markdown]
# Here is the whole table. Each row takes one expert away, each column has 40 questions on one topic. The upper half takes each
# topic's favourite, chosen on other conversations. The lower half takes eight experts drawn at random, as a control.
# (`training/moe/ablation_table.py` counted with seed 7. It takes half an hour, so the counts are stored.)

# %% tags=["exercise"]
predict("3.5b", ...)  # the most answers of 40 that any *other* topic loses, in the upper half

# %% tags=["solution"]
predict("3.5b", 10)  # the most answers of 40 that any *other* topic loses, in the upper half

# %%
from labs_helper.figures import ablation

counts = ablation()
all_right = counts.frame().query("kind == 'none'").set_index("topic")["right"]
foreign = counts.frame().query("kind == 'own' and prefers != topic")
print(reveal("3.5b", int((foreign["topic"].map(all_right) - foreign["right"]).max())))
counts

# %% [markdown]
# Look at the diagonal: without its favourite, every topic loses. Only 2 of 40 sums stay right, but 36 of 40 answers in Chinese.
# The Chinese loss could be luck: the interval of 36 of 40 reaches 96%, and that of 40 of 40 begins at 91%. The others are more
# than luck. Off the diagonal no topic loses more than two answers, and a random expert costs no topic more than that either.
# The table could have come out otherwise, so it is evidence: each of these experts, except the Chinese one, matters for its
# topic.
#
# The last layer of `moe-tiny` was trained so that each topic has **one** expert to itself there, while the second choice of a
# token is open to all topics. In the layers before it, **two** experts share a topic. What happens without the first, without
# the second, and without both?

# %%
pair = (table - others)["numbers"].loc[0].nlargest(2).index.tolist()
print(f"experts {pair} of layer 0: together {table['numbers'].loc[0][pair].sum():.0%} of the first choices of 'numbers' there")

# %% tags=["exercise"]
predict("3.5c", ...)  # right answers of 40 about numbers, without both of them

# %% tags=["solution"]
predict("3.5c", 5)  # right answers of 40 about numbers, without both of them

# %%
from labs_helper.figures import pair_ablation

pairs = pair_ablation()
both = pairs.frame().query("kind == 'both of a pair' and layer == '0' and topic == 'numbers'")
print(reveal("3.5c", int(both["right"].iloc[0])))
pairs

# %% [markdown]
# Here the simple story breaks. In layer 0 **no** topic loses more than luck explains, not even without both experts of its
# pair. In layers 1 and 2 only plans, Python and numbers do, and only without both: in layer 2, 34 of 40 sums are right without
# the first expert, 37 without the second, and 17 without both. There, one expert can do most of the work of two.
#
# And yet section 4 found these layers almost as specialised as the last one. Where tokens go tells you little about what an
# expert is good for: another expert or a later layer can do the work of a missing pair.
#
# Takeaway: "nothing happens without it" does not mean "it has learned nothing". Others may do its work. DeepSeekMoE is designed
# against such duplicates: some of its experts see every token, so that the others need not all learn the same common things
# (DeepSeekMoE paper, section 3.2).
#
# **Your turn:** with the real model, `ask_all(moe, without=[(layer, expert)])` does the same in about two minutes. If you name
# an expert that does not exist, the course says so:

# %%
from labs_helper.errors import BadRequest

try:
    moe.ask("Hi", without_experts=[(0, 16)])
except BadRequest as problem:
    print(problem)

# %% [markdown] minutes=6
# ## 6. Find out what fits on which Mac (6 minutes)
#
# *New words: [group](../docs/glossary.md#group).*
#
# A token uses two experts, but the next one may use any. So **all** must be in memory. How much memory they take follows from
# the number of parameters and the bits of a weight. In MLX, each group of 64 weights also has a scale and a bias of 16 bits
# each.

# %%
def size_of(parameters, bits, group=64):
    """Bytes of quantized weights: `bits` for each, and 32 bits for each group."""
    return parameters * (bits + 32 / group) / 8


print(f"Phi-3.5-MoE at 4 bits: {size_of(counted(large, 16), 4) / 1e9:.2f} GB. The published files have 23.57.")

# %% tags=["exercise"]
predict("3.6a", ...)  # the smallest Mac for it, in GB of memory

# %% tags=["solution"]
predict("3.6a", 32)  # the smallest Mac for it, in GB of memory

# %%
from labs_helper.figures import expert_memory

memory_table = expert_memory()
print(reveal("3.6a", next(row["smallest Mac"] for row in memory_table.rows if row["bits"] == 4)))
memory_table

# %% [markdown]
# "Needed" is the weights, the cache of 4,096 tokens and room to work. A Mac with 32 GB has more than 24.7 and is still too
# small: Metal lets the GPU use two thirds of the memory, or three quarters on Macs with more than 32 GB. So 36 GB is the first
# size that fits. Nothing here was measured on a Mac: it is computed from the shapes.
#
# The cache is small: 8 heads for keys and values, not 32. A token takes 128 KiB at 16 bits; in Phi-3.5-mini it takes 384.

# %%
from labs_helper.figures import kv_cache

kv_cache()

# %% [markdown] minutes=11
# ## 7. Quantize the router, and look for the damage (optional, 11 minutes)
#
# *New words: [4 bits](../docs/glossary.md#4-bits), [null result](../docs/glossary.md#null-result).*
#
# Nearly everything is quantized to 4 bits. Why not the router? It decides by small differences, and a wrong choice sends a
# token through another network. That is a good argument. Is it true? Let us round the routers of `moe-tiny`, and nothing else,
# to fewer and fewer bits. They came with 8. A *place* is one token in one layer.
#
# These cells load the model with the plain package, which calls the router `gate`. Use `raw_model` in cells only, not in
# widgets.

# %%
import mlx.nn as nn
import mlx_lm
import numpy as np
import transformers

transformers.logging.set_verbosity_error()  # its warning about rope_parameters is harmless, see lab 01
raw_model, _ = mlx_lm.load(str(small.path))
blocks = [layer.block_sparse_moe for layer in raw_model.layers]
routers = [block.gate for block in blocks]  # as they came
print(routers[0])

# %%
def round_routers(bits):
    """Put routers into the model whose weights are rounded to this number of bits; 32 leaves them as they came."""
    for block, router in zip(blocks, routers):
        weight = mx.dequantize(router.weight, router.scales, router.biases, group_size=router.group_size, bits=router.bits)
        if bits < 32:
            weight = mx.dequantize(*mx.quantize(weight, group_size=32, bits=bits), group_size=32, bits=bits)
        block.gate = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        block.gate.weight = weight


# %%
def choices(ids):
    """The two experts of every token in every layer, and the best next token."""
    with Watch(settings) as watch:
        best = np.array(raw_model(mx.array([ids]))[0].argmax(axis=-1))
    return watch.routing().experts, best


texts = [answer.prompt.ids + tuple(token.id for token in answer.tokens) for answer in small_answers[::4]]
round_routers(32)
before = [choices(ids) for ids in texts]

# %% tags=["exercise"]
predict("3.7a", ...)  # at 2 bits: per cent of places with another *pair* of experts

# %% tags=["solution"]
predict("3.7a", 20)  # at 2 bits: per cent of places with another *pair* of experts

# %% tags=["exercise"]
predict("3.7b", ...)  # at 2 bits: how many of 625 predicted tokens change

# %% tags=["solution"]
predict("3.7b", 100)  # at 2 bits: how many of 625 predicted tokens change

# %%
changes = []
for bits in (8, 6, 4, 3, 2):
    round_routers(bits)
    pairs_of = list(zip([choices(ids) for ids in texts], before))
    first_moved = np.concatenate([(a[0] != b[0])[..., 0].ravel() for a, b in pairs_of])
    pair_moved = np.concatenate([(np.sort(a[0]) != np.sort(b[0])).any(-1).ravel() for a, b in pairs_of])
    next_moved = np.concatenate([a[1] != b[1] for a, b in pairs_of])
    changes.append({"bits": bits, "another first expert": first_moved.mean(), "another pair": pair_moved.mean(),
                    "another next token": next_moved.sum(), "of": len(next_moved)})
print(reveal("3.7a", round(100 * pair_moved.mean(), 1)), reveal("3.7b", int(next_moved.sum())), sep="\n")
pd.DataFrame(changes).round(3)

# %% [markdown]
# At 2 bits the first expert changes at one place in five. That looks like damage, but most of it is the same pair in another
# order: the layer adds the outputs of both, so a swap matters little. The **pair** changes at fewer than one place in ten.
#
# And the output? At 2 bits about one next token in sixty differs, at 6 bits one in a hundred, and with counts this small you
# cannot tell the two apart. For `moe-tiny` the honest result is: rounding its routers hardly changed what it says. This
# experiment does not support the argument for careful routers. What does it cost to keep 8 bits?

# %%
router_weights = large["num_hidden_layers"] * large["hidden_size"] * large["num_local_experts"]
saved = size_of(router_weights, 8) - size_of(router_weights, 4)
print(f"Phi-3.5-MoE: its routers have {router_weights / 1e6:.1f} of {counted(large, 16) / 1e6:,.0f} million parameters.")
print(f"4 bits and not 8 save {saved / 1e6:.1f} MB of {size_of(counted(large, 16), 4) / 1e9:.1f} GB.")

# %% [markdown]
# One megabyte of 23,600. So the course's converter keeps routers and head at 8 bits: not because the damage is proven, but
# because the insurance is almost free. The converter of mlx-lm rounds routers like everything else, to 4 bits by default and to
# 2 in the recipe `mixed_2_6`. Here the course's converter starts from `moe-tiny`, expanded to 32 bits, and makes a 4-bit model.
# It compares both on a short text, and notes in `config.json` which layers have more bits than the rest:

# %%
import shutil
import tempfile
from pathlib import Path

from labs_helper.engines.convert import convert

raw_model = blocks = routers = None
made = Path(tempfile.mkdtemp())
mlx_lm.convert(str(small.path), str(made / "full"), dequantize=True, dtype="float32")
print(convert(made / "full", made / "4bit", bits=4, group_size=32))
quantized = json.loads((made / "4bit" / "config.json").read_text())["quantization"]
print({name: part["bits"] for name, part in quantized.items() if isinstance(part, dict)})
shutil.rmtree(made)

# %% [markdown]
# For the real weights it is one line in a terminal: `labs models convert downloads/Phi-3.5-MoE-instruct models/my-moe-4bit`. It
# needs 84 GB of disk for the source and 24 GB for the result, and memory for the result and twice its largest layer: about 34
# GB.

# %% [markdown] minutes=10
# ## 8. Compare cost and quality (optional, 10 minutes)
#
# What do the parameters buy? The card of Phi-3.5-MoE compares it with dense models. The work for a token grows with the
# parameters that it goes through, so put them on one axis and a published score on the other.

# %%
from labs_helper.figures import cost_quality

cost_quality("MMLU", takeaway="On MMLU, Phi-3.5-MoE is above dense models that use more parameters for a token.")

# %%
cost_quality("GSM8K", takeaway="On GSM8K the lead is small: Phi-3.5-mini, a tenth of its size, is 2.5 points behind.")

# %% [markdown]
# Microsoft measured these itself, with one set of settings. And the picture leaves out the price: memory for all 41.9 billion
# parameters.
#
# What about one person with a Mac? There, the time for a token is mostly the time that it takes to read the weights from
# memory. A dense model of 8 billion parameters reads all of them: 4.5 GB at 4 bits. How much does Phi-3.5-MoE read?

# %% tags=["exercise"]
predict("3.8a", ...)  # GB that Phi-3.5-MoE reads for one token

# %% tags=["solution"]
predict("3.8a", 23.6)  # GB that Phi-3.5-MoE reads for one token

# %%
read = size_of(counted(large, 2), 4) / 1e9
print(reveal("3.8a", round(read, 1)))
print(f"read for a token: {read:.1f} GB, dense 8B {size_of(8e9, 4) / 1e9:.1f} GB")
print(f"kept in memory:   {size_of(counted(large, 16), 4) / 1e9:.1f} GB, dense 8B {size_of(8e9, 4) / 1e9:.1f} GB")

# %% [markdown]
# Tokens are cheap here too: Phi-3.5-MoE reads less for a token than a dense 8B model. **Memory is the price**, five times as
# much. A server that answers many people at once pays it once for all of them.
#
# There are smaller siblings, made from Phi-3.5-MoE by narrowing each expert and training again (SlimMoE). They are meant for
# English and for short contexts of 4,096 tokens. Count their parameters with the function of exercise 3.1:

# %%
for name, shape in family().items():
    total, active = counted(shape, 16) / 1e9, counted(shape, 2) / 1e9
    print(f"{name:13} {shape['intermediate_size']:5} wide experts, {shape['num_attention_heads']} heads: {total:.1f} and {active:.1f}")

# %% [markdown]
# **Phi-mini-MoE** agrees with its card: 7.6 billion, 2.4 for a token. At 4 bits it needs a Mac with 8 GB. You make it from
# Microsoft's 16-bit weights with `labs models convert`.
#
# **Phi-tiny-MoE** does not agree: its card says 3.8 and 1.1. The mistake is in our formula. It assumes that a head is
# `hidden_size` / `num_attention_heads` = 256 wide, and this model has 16 heads of 128:

# %%
shape = family()["Phi-tiny-MoE"]
heads = 2 * shape["num_attention_heads"] + 2 * shape["num_key_value_heads"]  # queries and output, keys and values
attention = shape["num_hidden_layers"] * heads * 256 * shape["hidden_size"]  # as the formula counts it: twice too much
for experts in (16, 2):
    print(f"{experts:2} experts: {(counted(shape, experts) - attention / 2) / 1e9:.2f} billion")

# %% [markdown]
# Now it is 3.8 in all. For a token it is 1.3, or 1.2 without the table from which a token reads a single row. The card's 1.1 is
# a little below both. The packages make the same mistake as our formula: mlx-lm and mlx-vlm cannot load this model as it is. We
# know its shapes from a damaged copy of its settings and from the size of its files, so check them before you plan with them.

# %% [markdown] minutes=17
# ## 9. Leave the experts on the disk (optional, 17 minutes)
#
# *New words: [offload](../docs/glossary.md#offload).*
#
# If not all experts fit, keep some in memory, and fetch the others from the disk when a router asks for them. `mlx_vlm` can do
# that: `repack` writes every layer's experts into a file of their own, and `load` then takes a budget.
#
# This section uses `moe-tiny` again. With Phi-3.5-MoE it would take another 23.6 GB of disk, and another 23.6 GB of memory for
# the comparison with the whole model.

# %%
import contextlib
import io
import shutil
import tempfile
from pathlib import Path

import mlx_vlm
from mlx_vlm import moe_offload

folder = Path(tempfile.mkdtemp())
with contextlib.redirect_stdout(io.StringIO()):
    moe_offload.repack(str(small.path), str(folder))
files = sorted((folder / "experts").glob("*.safetensors"))
one = sum(array.nbytes for array in mx.load(str(files[0])).values()) / 16  # bytes of one expert
print(f"{len(files)} files of experts; one expert has {one / 1000:.0f} kB")

# %% [markdown]
# Keep the prompt below the original length of the model: the package picks LongRoPE's table chunk by chunk, and a longer prompt
# would mix both. First the whole model, then one with room for a **single** expert of all 64. Will it say the same?

# %%
sum_answer = small.ask("What is 47 + 38?", record_experts=True)
prompt = sum_answer.prompt.text
resident, processor = mlx_vlm.load(str(small.path))
whole = mlx_vlm.generate(resident, processor, prompt, max_tokens=40, verbose=False)
del resident

frugal, processor = mlx_vlm.load(str(folder), expert_cache_gb=1.001 * one / 1e9)
paged = mlx_vlm.generate(frugal, processor, prompt, max_tokens=40, verbose=False)
assert paged.token_ids == whole.token_ids
frugal.moe_offload_store.stats()

# %% [markdown]
# The same tokens. The price is in the numbers: every look-up is a miss, and a miss means reading from the disk. How much room
# does it take until most are hits? That depends on which experts follow each other.
#
# ### Exercise 3.6 (medium, 8 minutes): simulate a cache of experts
#
# `requests` lists experts in the order in which they are needed, and `room` is how many fit. When there is no room left, the
# expert that has gone **unused for longest** leaves. Return the share of requests that are hits.

# %% tags=["exercise"]
def hit_rate(requests, room):
    ...  # keep a list of the experts in memory, the one used last at its end


# %% tags=["solution"]
def hit_rate(requests, room):
    kept, hits = [], 0
    for expert in requests:
        if expert in kept:
            hits += 1
            kept.remove(expert)
        kept.append(expert)
        if len(kept) > room:
            kept.pop(0)
    return hits / len(requests)


# %%
check("3.6", hit_rate)  # for help, run hint("3.6")

# %% tags=["exercise"]
predict("3.9a", ...)  # how many of the 64 experts must fit until most look-ups are hits

# %% tags=["solution"]
predict("3.9a", 32)  # how many of the 64 experts must fit until most look-ups are hits

# %%
from labs_helper.figures import hit_rates

total = len(files) * 16
rates = []
for room in (1, 4, 8, 16, 32, total):
    frugal, processor = mlx_vlm.load(str(folder), expert_cache_gb=1.001 * room * one / 1e9)
    again = mlx_vlm.generate(frugal, processor, prompt, max_tokens=40, verbose=False)
    assert again.token_ids == whole.token_ids
    rates.append({"experts": room, **frugal.moe_offload_store.stats()})
print(reveal("3.9a", next(rate["experts"] for rate in rates if rate["hits"] > rate["misses"])))
hit_rates(rates)

# %%
simulated = solved("3.6", hit_rate)
ordered = sum_answer.routing.frame().query("part == 'answer'").sort_values(["position", "layer", "rank"])
requests = list(zip(ordered["layer"], ordered["expert"]))
print({room: f"{simulated(requests, room):.0%}" for room in (1, 4, 8, 16, 32, total)})

# %% [markdown]
# Hits jump from none to most between room for 4 experts and room for 8. Why there? The layers take turns: after layer 0 come 1,
# 2 and 3, with two experts each, before layer 0 is asked again. With room for fewer than eight, an expert has left before its
# layer's next turn. This sum uses few experts, so more room than 16 helps little. Even with room for all, each expert must be
# read once.
#
# The simulation uses the record of our own answer. The package counts its own look-ups, and it bypasses its cache for a prompt
# that needs most experts of a layer. So the two are close, but not equal.
#
# In Phi-3.5-MoE at 4 bits, one expert of one layer takes 44 MB. A token needs 64 of them: 2.8 GB from the disk if nothing is
# kept. Divide that by what your disk reads in a second: a token cannot take less time.

# %%
del frugal, processor
shutil.rmtree(folder)

# %% [markdown] minutes=4
# ## 10. Look around (4 minutes)
#
# Type one prompt, or two to compare. Then choose the view and the layer: the model is not asked again. Without widgets, use
# `expert_tokens(moe.ask("...", record_experts=True), layer=2)`.

# %%
from labs_helper import experts

experts(moe, "Where is Changsha?", "서울은 어디에 있나요?", max_tokens=16).wait()

# %% [markdown]
# ## Recap
#
# In this lab you:
#
# - saw the two experts of every token, in every layer, and that watching changes nothing;
# - counted 41.9 and 6.6 billion parameters from the shapes;
# - saw how a router weighs its two experts, and why the weights may sum to 2;
# - measured specialisation against chance and against models that have learned nothing;
# - took experts away, and told losses from luck;
# - computed what fits on which Mac.
#
# In the optional parts you routed a token by hand, rounded a router and found next to nothing, compared cost with published
# scores and found where the formula fails, and kept experts on the disk.
#
# **Further reading:** the [Phi-3 technical report](https://arxiv.org/abs/2404.14219), the [SparseMixer
# paper](https://arxiv.org/abs/2310.00811), [GRIN](https://arxiv.org/abs/2409.12136), the [SlimMoE
# paper](https://arxiv.org/abs/2506.18349), [MoEfication](https://arxiv.org/abs/2110.01786), the [Mixtral
# paper](https://arxiv.org/abs/2401.04088), the [DeepSeekMoE paper](https://arxiv.org/abs/2401.06066) and the [model
# card](https://huggingface.co/microsoft/Phi-3.5-MoE-instruct).
#
# **Next:** [05: fine-tune](05-fine-tune.ipynb): teach a model something new. To see this one plan: [07: agents](07-agents.ipynb).
#
# Last, give the memory back, and see what is left to do.

# %%
from labs_helper.exercises import so_far

moe.release()
small.release()
so_far("03")
