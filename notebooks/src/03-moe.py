# %% [markdown]
# # Watch a router choose among sixteen experts
#
# **You will do:** see which experts every token goes to, route a token by hand, measure what the experts have learned, take
# one away, and keep all but one of them on the disk.
#
# **You will learn:** why a model of 42 billion parameters costs 6.6 billion for a token and 24 GB of memory, what a router
# computes, why its two weights do not sum to 1, and what a published score costs.
#
# **You will need:**
#
# | | with the bundled model | with the real Phi-3.5-MoE |
# | --- | --- | --- |
# | time | 2 hours 30 minutes; 90 seconds to run all cells | the same and the download |
# | free memory | 1 GB | 25 GB, on a Mac with Apple silicon and 48 GB |
# | download | nothing | 23.6 GB, once, and only when you ask for it |
#
# Before this: [00: start the course](00-start-here.ipynb). Helpful: [01: Instruct](01-instruct.ipynb), sections 2 and 9.

# %%
from labs_helper import check_setup

check_setup("03")

# %%
from labs_helper import check, load

moe = load("moe")
print(f"{moe.name} answers in this notebook. Why: {moe.reason}.")

# %% [markdown]
# `moe-tiny` is a small `phimoe` model, the architecture of Phi-3.5-MoE, that was trained for this course: 4 layers with 16
# experts each. It answers everyday questions in five languages, adds numbers, writes a little Python and plans with tools.
# It did not begin from nothing: its attention is that of `instruct-tiny`, and its experts began as pieces of the one
# feed-forward network there. This is called **sparse upcycling**, and it saves most of the training.
# What you learn about routers, memory and offload holds for the real one too; where the numbers differ, the text says so.

# %% [markdown] minutes=10
# ## 1. See where the tokens go (10 minutes)
#
# *New words: [feed-forward network](../docs/glossary.md#feed-forward-network), [dense model](../docs/glossary.md#dense-model), [mixture of experts](../docs/glossary.md#mixture-of-experts), [expert](../docs/glossary.md#expert), [router](../docs/glossary.md#router), [gate](../docs/glossary.md#gate).*
#
# A layer of a language model has two parts. **Attention** lets a token look at the others. Then a **feed-forward network**
# works on each token alone; most parameters are there. A **dense** model has one such network in a layer, and every token goes
# through it. A **mixture of experts** has several, the **experts**, and a small **router** picks two of them for each token.
#
# So an expert is not a specialist whom you ask a question, and the question is not split into parts. In every layer, for every
# single token, the router chooses again.

# %%
answer = moe.ask("What is 47 + 38?", record_experts=True)
print(answer.text)
answer.routing.frame().head(8)

# %% [markdown]
# `record_experts=True` keeps what the routers do. The table has a row for each token, layer and rank: the expert, the weight
# that its output is multiplied with, and the router's own number for it, the **gate**. Nothing else changes:

# %%
plain = moe.ask("What is 47 + 38?")
assert [token.id for token in plain.tokens] == [token.id for token in answer.tokens]
print(f"{len(answer.routing)} tokens were recorded: {answer.prompt_tokens} of the prompt, {answer.generated_tokens} of the answer")

# %% [markdown]
# The prompt is recorded too: it goes through the same layers. That is why such a request never uses the memory of an earlier
# one. Here are the tokens of one layer. The large number is the first expert, the small one the second.

# %%
from labs_helper.figures import expert_tokens

expert_tokens(answer, layer=0, title="What is 47 + 38?")

# %% [markdown]
# Now all layers at once. An expert 3 in layer 0 has nothing to do with an expert 3 in layer 1: they are different networks.

# %%
from labs_helper.figures import expert_map

expert_map(answer)

# %% [markdown] minutes=20
# ## 2. Count the parameters (20 minutes)
#
# *New words: [hidden size](../docs/glossary.md#hidden-size).*
#
# The shapes of Phi-3.5-MoE are public. They decide how large the model is, and how much of it a token needs.

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
# ### Exercise 3.1 (medium, 12 minutes): count the parameters from the shapes
#
# Write a function of a shape and a number of experts. With all 16 it gives the size of the model; with the 2 that a token
# uses, the parameters that one token goes through.

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
# 41.9 and 6.6: the numbers of the card. The name "16x3.8B" that you may see is not a product. Attention and tables exist once,
# whatever the number of experts.
#
# How much of the model are the experts? And which part would grow if there were 64 of them?

# %%
shared = counted(large, 0)
print(f"experts: {1 - shared / counted(large, 16):.0%} of all parameters, {1 - shared / counted(large, 2):.0%} of a token's")
print(f"with 64 experts: {counted(large, 64) / 1e9:.0f} billion in all, {counted(large, 2) / 1e9:.1f} billion for a token")

# %% [markdown]
# Takeaway: the number of experts decides the memory. The number that a token uses decides the work. A dense model cannot
# choose one without the other.

# %% [markdown] minutes=20
# ## 3. Route one token by hand (20 minutes)
#
# *New words: [SparseMixer](../docs/glossary.md#sparsemixer), [softmax](../docs/glossary.md#softmax).*
#
# The router is one matrix. It makes a number for each expert, the **gate**. Here are the sixteen gates of one token.

# %%
gates = answer.routing.gates
print(gates.shape, "tokens, layers, experts")
place, layer = divmod(int(answer.routing.weights.sum(-1).argmin()), gates.shape[1])
token = answer.routing.frame().query(f"position == {place} and layer == {layer}")
pd.DataFrame({"gate": gates[place, layer]}).round(3).T

# %%
token.round(3)

# %% [markdown]
# Which two experts win is easy to see: the largest gates. The weights come from a rule called **SparseMixer**. In two rounds:
#
# 1. Take the best gate `b` that is left.
# 2. Keep the experts that are **near** it: those with `(b - gate) / max(|gate|, b)` at most 0.02.
# 3. The weight is the share of the best in a softmax over the near ones.
# 4. Take the best away, and begin again for the second expert.
#
# In training, one of the near experts was drawn by these shares. That makes a hard choice learnable. When the model is used,
# nothing is drawn, and only the weights remain.
#
# ### Exercise 3.2 (hard, 15 minutes): route one token by hand
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
# Does it give what the model really used? Not for one token only: for all of them, in all layers.

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
# ### Exercise 3.3 (easy, 5 minutes): count the places with two full weights
#
# A weight near 1 means: no other expert came near. How often do **both** experts of a token count fully, with weights above
# 0.99? Take the table that `answer.routing.frame()` gives and return the share of (token, layer) places.

# %% tags=["exercise"]
def share_of_full(routing):
    ...  # routing.groupby(["position", "layer"]) has the two weights of a place


# %% tags=["solution"]
def share_of_full(routing):
    return (routing.groupby(["position", "layer"])["weight"].min() > 0.99).mean()


# %%
check("3.3", share_of_full)  # for help, run hint("3.3")

# %%
full = solved("3.3", share_of_full)
sums = answer.routing.weights.sum(-1)
print(f"both weights full: {full(answer.routing.frame()):.0%}; sums between {sums.min():.2f} and {sums.max():.2f}")

# %% [markdown]
# In Mixtral, another mixture of experts, the two weights come from **one** softmax, and sum to 1. Here each weight has a softmax
# of its own, over the experts near that winner. Two clear winners give 1 and 1, and the sum is 2. The layer has learned with
# exactly these weights, so dividing them by their sum would be a mistake, not a repair.

# %% [markdown] minutes=25
# ## 4. Measure what the experts have learned (25 minutes)
#
# *New words: [chance level](../docs/glossary.md#chance-level).*
#
# "This expert knows Korean" is quickly said. Let us count. `data/questions/moe.csv` has 48 questions that were kept out of the
# training: six of each of eight topics, with what a right answer holds.

# %%
from labs_helper import catalog

questions = pd.read_csv(catalog.course_folder() / "data" / "questions" / "moe.csv", keep_default_na=False)
questions.groupby("topic", sort=False).first()[["question", "expect"]]

# %%
def ask_all(without=()):
    """Every question once: the answers, recorded."""
    return [
        moe.ask(row.question, system=row.system or None, max_tokens=60, record_experts=True, without_experts=without)
        for row in questions.itertuples()
    ]


answers = ask_all()

# %%
def count_right(answers):
    """How many answers of each topic hold what they must."""
    right = [row.expect in answer.text for row, answer in zip(questions.itertuples(), answers)]
    return questions.assign(right=right).groupby("topic", sort=False)["right"].sum()


count_right(answers)

# %% [markdown]
# First, are all experts used at all? A router likes to send everything to a few experts, because those then learn most. The
# training works against that.

# %%
from labs_helper.figures import expert_load

talks = pd.concat(
    [answer.routing.frame().assign(topic=topic, conversation=number)
     for number, (answer, topic) in enumerate(zip(answers, questions["topic"]))],
    ignore_index=True,
)
expert_load(talks)

# %% [markdown]
# Second, do they take sides? Make a table of counts: one row a topic, one column an expert. If the expert of a token tells you
# its topic, rows and columns **share information**. The number for it is the normalised mutual information: 0 if the expert
# tells nothing, 1 if it tells all.
#
# For a table of counts, divided by its sum: `H(p) = -sum(p * log(p))` is the entropy. The information is
# `H(sums of the rows) + H(sums of the columns) - H(all cells)`. Normalised, it is divided by the mean of the first two.
#
# ### Exercise 3.4 (medium, 10 minutes): measure what an expert tells about the topic
#
# Write the function for a NumPy table of counts. An empty cell counts as 0: leave it out before you take the logarithm.

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
# A number alone says little: a small sample shows some information even where there is none. So deal out the topics to the
# conversations at random, two hundred times, and measure again. That is **chance**.

# %%
from labs_helper.figures import specialisation

sides = specialisation(talks)
sides

# %% [markdown]
# Read it with care. All plans begin with the same system message, so a part of what marks them is that text. And every prompt
# has the same markers, `<|user|>` and `<|assistant|>`, whatever its topic: they make the number smaller. Last, a router that
# has learned nothing also sends different words different ways: with random weights, this measurement gives about 0.02 in the
# best layer, a little above chance too. So compare with that, and not with zero.
#
# Two prompts can also be compared directly. The overlap is 100% if they use the experts of a layer alike.

# %%
from labs_helper.figures import compare_experts

korean, python = (questions.query(f"topic == '{topic}'").index[0] for topic in ("ko", "python"))
compare_experts(answers[korean], answers[python], ("a question in Korean", "a question about Python"))

# %% [markdown]
# **Your turn:** compare the same question in two languages, and two questions in one language. What do the experts follow: the
# words, or what is meant? Look at the layers one by one.

# %% [markdown] minutes=12
# ## 5. Take an expert away (12 minutes)
#
# *New words: [ablation](../docs/glossary.md#ablation).*
#
# Counting shows where tokens go. It does not show what an expert is **good for**. For that, take it away: the router may not
# choose it, and each token goes to the next best.
#
# Which one? The expert with the largest preference: its share among the tokens of one topic, less its share among all others.

# %%
first = talks.query("rank == 1")
table = pd.crosstab([first["layer"], first["expert"]], first["topic"])
table = table / first.groupby("topic").size() * gates.shape[1]  # shares of each topic's tokens, in every layer
others = (table.sum(axis=1).to_numpy()[:, None] - table) / (table.shape[1] - 1)
layer, expert, topic = (table - others).stack().idxmax()
print(f"expert {expert} of layer {layer}: {table.at[(layer, expert), topic]:.0%} of the first choices of {topic!r}, "
      f"{others.at[(layer, expert), topic]:.0%} of the other topics")

# %%
ablated = ask_all(without=[(layer, expert)])
assert expert not in set(ablated[0].routing.frame().query(f"layer == {layer}")["expert"])
rights = pd.DataFrame({"all experts": count_right(answers), "without it": count_right(ablated)})
rights["difference"] = rights["without it"] - rights["all experts"]
rights

# %%
from labs_helper.figures import bars

long = rights.drop(columns="difference").reset_index().melt("topic", var_name="model", value_name="right")
bars(long, x="topic", y="right", group="model", unit="right answers of 6", maximum=6,
     title=f"Right answers with and without expert {expert} of layer {layer}")

# %% [markdown]
# Six questions a topic are few: one answer more or less is no finding, half of one topic and none of the others is. With sixty
# questions a topic, `moe-tiny` gets 58 plans right, and 17 without expert 14 of layer 3; of the other topics it loses none.
#
# Is every expert missed like this one? No. The last layer of `moe-tiny` was trained so that a topic has **one** expert to
# itself there, and the second choice of a token is open to all topics. In the layers before it, **two** experts share a topic,
# and its tokens use both. Take one of such a pair away, and then both.

# %%
liked = (table - others)[topic].drop(index=layer, level="layer")
pairs = liked.groupby("layer", group_keys=False).nlargest(2)  # the two that prefer this topic most, in each layer
pair = pairs[[pairs.groupby("layer").sum().idxmax()]].index.tolist()
rights = rights.drop(columns="difference")
rights["without one of a pair"] = count_right(ask_all(without=pair[:1]))
rights["without both"] = count_right(ask_all(without=pair))
print(f"the pair {pair}: together {table[topic][pair].sum():.0%} of the first choices of {topic!r} in their layer")
rights

# %% [markdown]
# Takeaway: an expert is missed if no other does its work. In a pair, one does the work of both, so "nothing happens without it"
# does not mean "it has learned nothing". DeepSeekMoE goes against such doubles by design: some experts see every token, so that
# the others need not all learn what is common (DeepSeekMoE paper, section 3.2).
#
# In `moe-tiny` the training rewarded experts for taking sides, so that you can see it. Mixtral had no such reward: its authors
# saw no clear pattern by subject, and some by the form of words (Mixtral paper, section 5).
#
# **Your turn:** take away the expert that another topic has to itself in the last layer. A request for an expert that is not
# there is refused in words:

# %%
from labs_helper.errors import BadRequest

try:
    moe.ask("Hi", without_experts=[(0, 16)])
except BadRequest as problem:
    print(problem)

# %% [markdown] minutes=15
# ## 6. Find out what fits on which Mac (15 minutes)
#
# *New words: [group](../docs/glossary.md#group).*
#
# A token uses two experts, but the next one may use any. So **all** must be in memory. What the model takes follows from its
# parameters and the bits of a weight. In MLX, a group of 64 weights also has a scale and a bias of 16 bits each.
#
# ### Exercise 3.5 (easy, 5 minutes): compute the bytes of quantized weights

# %% tags=["exercise"]
def weight_bytes(parameters, bits, group):
    ...  # bits of a weight, its part of what the group shares, and eight bits a byte


# %% tags=["solution"]
def weight_bytes(parameters, bits, group):
    return parameters * (bits + 32 / group) / 8


# %%
check("3.5", weight_bytes)  # for help, run hint("3.5")

# %%
from labs_helper.figures import expert_memory

expert_memory()

# %% [markdown]
# "Needed" is the weights, the cache of 4,096 tokens and room to work. Metal gives the GPU two thirds of a Mac's memory, three
# quarters above 32 GB; the last column counts with that. Nothing here was measured on a Mac: it is computed from the shapes.
#
# The cache is small: 8 heads for keys and values, not 32. A token takes 128 KiB at 16 bits; in Phi-3.5-mini it takes 384.

# %%
from labs_helper.figures import kv_cache

kv_cache()

# %% [markdown] minutes=12
# ## 7. Quantize the router, and see why not (12 minutes)
#
# *New words: [4 bits](../docs/glossary.md#4-bits), [offload](../docs/glossary.md#offload).*
#
# Everything is quantized to 4 bits. Why not the router? It decides by small differences, and a wrong choice sends a token
# through another network. Let us round the routers, and only them, and count the tokens that change their first expert.
#
# The model is made in these cells here, with the plain package, so use it in cells only.

# %%
import mlx.core as mx
import mlx.nn as nn
import mlx_lm
import transformers

from labs_helper.engines.experts import Watch

transformers.logging.set_verbosity_error()  # its warning about rope_parameters is harmless, see lab 01
raw_model, _ = mlx_lm.load(str(moe.path))
blocks = [layer.block_sparse_moe for layer in raw_model.layers]
kept = [block.gate for block in blocks]  # the routers as they came
print(kept[0])

# %%
def weights_of(gate):
    """A router's matrix as plain numbers."""
    if not hasattr(gate, "scales"):
        return gate.weight
    return mx.dequantize(gate.weight, gate.scales, gate.biases, group_size=gate.group_size, bits=gate.bits)


def round_routers(bits=None):
    """Put routers into the model whose weights are rounded to so many bits; without a number, as they are."""
    for block, gate in zip(blocks, kept):
        weight = weights_of(gate)
        block.gate = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        if bits:
            weight = mx.dequantize(*mx.quantize(weight, group_size=32, bits=bits), group_size=32, bits=bits)
        block.gate.weight = weight


# %%
def choices(ids):
    """The first expert of every token in every layer, and the best next token."""
    with Watch(moe.engine.config) as watch:
        logits = raw_model(mx.array([ids]))
        best = logits[0].argmax(axis=-1).tolist()
    return watch.routing().experts[:, :, 0], np.array(best)


texts = [answer.prompt.ids + tuple(token.id for token in answer.tokens) for answer in answers[::4]]
round_routers()
before = [choices(ids) for ids in texts]

# %%
changes = []
for bits in (6, 4, 3, 2):  # they came with 8
    round_routers(bits)
    after = [choices(ids) for ids in texts]
    moved = np.concatenate([(a[0] != b[0]).ravel() for a, b in zip(after, before)]).mean()
    other = np.concatenate([a[1] != b[1] for a, b in zip(after, before)]).mean()
    changes.append({"bits of the router": bits, "first experts that changed": moved, "next tokens that changed": other})
pd.DataFrame(changes).round(3)

# %%
size_of = solved("3.5", weight_bytes)
router = large["num_hidden_layers"] * large["hidden_size"] * large["num_local_experts"]
saved = size_of(router, 8, 64) - size_of(router, 4, 64)
print(f"Phi-3.5-MoE: its routers have {router / 1e6:.1f} of {counted(large, 16) / 1e6:,.0f} million parameters.")
print(f"4 bits and not 8 save {saved / 1e6:.1f} MB of {size_of(counted(large, 16), 4, 64) / 1e9:.1f} GB.")

# %% [markdown]
# A router is tiny: rounding it saves nothing and moves tokens. The converter of mlx-lm rounds it like everything else, to 4 bits
# by default and to 2 in the recipe `mixed_2_6`. The course's converter keeps routers and head at 8. Here it makes a 4-bit model of
# `moe-tiny` in full numbers, compares the two on a short text, and notes in `config.json` what has more bits than the rest:

# %%
import json
import tempfile
from pathlib import Path

from labs_helper.engines.convert import convert

raw_model = blocks = kept = None
made = Path(tempfile.mkdtemp())
mlx_lm.convert(str(moe.path), str(made / "full"), dequantize=True, dtype="float32")
print(convert(made / "full", made / "4bit", bits=4, group_size=32))
settings = json.loads((made / "4bit" / "config.json").read_text())["quantization"]
print({name: part["bits"] for name, part in settings.items() if isinstance(part, dict)})

# %% [markdown]
# With the real weights it is one line in a terminal: `labs models convert downloads/Phi-3.5-MoE-instruct models/my-moe-4bit`. It
# needs the 84 GB of the source on the disk, and memory for the result.

# %% [markdown] minutes=8
# ## 8. Compare cost and quality (8 minutes)
#
# What do the parameters buy? The card of Phi-3.5-MoE compares it with dense models. The work for a token grows with the
# parameters that it goes through, so put them on one axis and a published score on the other.

# %%
from labs_helper.figures import cost_quality

cost_quality("MMLU")

# %%
cost_quality("GSM8K")

# %% [markdown]
# These are Microsoft's own runs, for one set of settings. And the picture leaves out the other price: the memory is that of
# 41.9 billion parameters. On a server that answers many people at once, memory is shared and work is dear: there this model
# shines. On your own Mac it is the other way round.
#
# There are smaller siblings, made from Phi-3.5-MoE by making each expert narrower and training again (SlimMoE). They are for
# English and short contexts, 4,096 tokens.

# %%
for name, shape in family().items():
    print(f"{name:13} {shape['intermediate_size']:5} wide experts, {shape['num_attention_heads']} heads")

# %% [markdown]
# **Phi-mini-MoE** (7.6 billion, 2.4 for a token) at 4 bits fits where Phi-3.5-mini does. **Phi-tiny-MoE** (3.8 billion, 1.1 for a
# token) has a catch: it has 16 heads of 128, while mlx-lm and mlx-vlm take a head to be 4096 / 16 = 256 wide. They cannot load
# it as it is. We know its shapes from a damaged copy of its settings and from the size of its files, so check before you plan
# with them.

# %% [markdown] minutes=20
# ## 9. Leave the experts on the disk (20 minutes)
#
# If not all experts fit, keep some in memory, and fetch the others from the disk when a router asks for them. `mlx_vlm` can do
# that: `repack` writes every layer's experts into a file of their own, and `load` then takes a budget.

# %%
import contextlib
import io

import mlx_vlm
from mlx_vlm import moe_offload

folder = Path(tempfile.mkdtemp())
with contextlib.redirect_stdout(io.StringIO()):
    moe_offload.repack(str(moe.path), str(folder))
files = sorted((folder / "experts").glob("*.safetensors"))
one = sum(array.nbytes for array in mx.load(str(files[0])).values()) / 16  # bytes of one expert
print(f"{len(files)} files of experts; one expert has {one / 1000:.0f} kB")

# %% [markdown]
# Two copies of the model are on the disk while this runs: for the real one, 47 GB. Keep the prompt below the original length of
# the model: the package picks LongRoPE's table chunk by chunk, and a longer prompt would mix both.

# %%
prompt = answer.prompt.text
resident, processor = mlx_vlm.load(str(moe.path))
whole = mlx_vlm.generate(resident, processor, prompt, max_tokens=40, verbose=False)

frugal, processor = mlx_vlm.load(str(folder), expert_cache_gb=1.001 * one / 1e9)
paged = mlx_vlm.generate(frugal, processor, prompt, max_tokens=40, verbose=False)
assert paged.token_ids == whole.token_ids
frugal.moe_offload_store.stats()

# %% [markdown]
# The same tokens, with room for **one** expert of all. The price is in the numbers: almost every look-up is a miss, and a miss
# means reading from the disk. How much room does it take until most are hits? That depends on which experts follow each other.
#
# ### Exercise 3.6 (medium, 10 minutes): simulate a cache of experts
#
# `requests` are experts in the order in which they are needed, `room` is how many fit. When there is no room, the one that was
# **not used for longest** leaves. Return the share of requests that are hits.

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

# %%
from labs_helper.figures import hit_rates

total = len(files) * 16
rates = []
for room in (1, 4, 8, 16, 32, total):
    frugal, processor = mlx_vlm.load(str(folder), expert_cache_gb=1.001 * room * one / 1e9)
    again = mlx_vlm.generate(frugal, processor, prompt, max_tokens=40, verbose=False)
    assert again.token_ids == whole.token_ids
    rates.append({"experts": room, **frugal.moe_offload_store.stats()})
hit_rates(rates)

# %%
simulated = solved("3.6", hit_rate)
ordered = answer.routing.frame().query("part == 'answer'").sort_values(["position", "layer", "rank"])
requests = list(zip(ordered["layer"], ordered["expert"]))
print({room: f"{simulated(requests, room):.0%}" for room in (1, 4, 8, 16, 32, total)})

# %% [markdown]
# The simulation uses the record of our own answer, the package counts its own look-ups; a prompt that needs most experts of a
# layer is read past its cache. So the two are alike and not the same. With all layers in turn, an expert of the same layer comes
# back only after all other layers had theirs: room for fewer than two a layer helps little.
#
# For Phi-3.5-MoE at 4 bits, one expert of one layer has 44 MB. A token needs 64 of them: 2.8 GB from the disk if nothing is
# kept. Divide that by what your disk reads in a second, and you have the least time for a token.

# %%
import shutil

del resident, frugal, processor
shutil.rmtree(folder)

# %% [markdown] minutes=5
# ## 10. Look around (5 minutes)
#
# Type one prompt, or two to compare. Choose the view and the layer afterwards: nothing is asked again. Without widgets:
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
# - routed a token by hand, and saw why two weights may sum to 2;
# - measured load and specialisation, against chance, and took an expert away;
# - computed what fits on which Mac, rounded a router, and compared cost with published scores;
# - kept experts on the disk, and counted hits and misses.
#
# **Further reading:** the [Phi-3 technical report](https://arxiv.org/abs/2404.14219), the
# [SparseMixer paper](https://arxiv.org/abs/2310.00811), [GRIN](https://arxiv.org/abs/2409.12136), the
# [SlimMoE paper](https://arxiv.org/abs/2506.18349), the [Mixtral paper](https://arxiv.org/abs/2401.04088), the
# [DeepSeekMoE paper](https://arxiv.org/abs/2401.06066) and the
# [model card](https://huggingface.co/microsoft/Phi-3.5-MoE-instruct).
#
# **Next:** [07: agents](07-agents.ipynb): this model plans, and tools that are real do the work.
#
# Last, give the memory back.

# %%
moe.release()
