# %% [markdown]
# # Round a model to a few bits, and find out what breaks
#
# **You will do:** round weights by hand, watch a model lose its skills bit by bit, find the layers that matter, win
# back some of what two bits lost, round a cache, and plan the conversion of the real Phi-3.5-mini.
#
# **You will learn:** what a scale, a zero point and a group are; what perplexity hides and divergence shows; when a loss is
# only noise; what mlx-lm and GGUF offer, and what the letters in their names mean.
#
# **You will need:**
#
# | | with the bundled model | with the real Phi-3.5-mini |
# | --- | --- | --- |
# | time | core 1 hour 22 minutes, everything 1 hour 45 minutes; two minutes to run all cells | the same, and the time of a conversion |
# | free memory | 1.5 GB | 1.5 GB for these cells; section 10 has what a conversion takes |
# | download | nothing | 2.15 GB, once, and only when you ask for it; section 10 says what to fetch to convert it yourself |
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

check_setup("04")

# %%
from labs_helper import check, load
from labs_helper.exercises import predict, reveal, solved

model = load("instruct-tiny-16bit")
print(f"{model.name} is rounded in this notebook.")

# %% [markdown]
# Most labs use `instruct-tiny`, whose weights have 4 bits. This one begins with its twin, whose weights have 16 and went through
# 7,850 steps of training without being rounded. It is small, so a few more bits or fewer take seconds to try. Section 10 is about
# the real model.

# %% [markdown] minutes=11
# ## 1. Round a row by hand (11 minutes)
#
# *New words: [quantization](../docs/glossary.md#quantization), [scale](../docs/glossary.md#scale),
# [bias of a group](../docs/glossary.md#bias-of-a-group), [zero point](../docs/glossary.md#zero-point).*
#
# A layer of a model is a matrix of numbers. Here is one of the twin's, and the same one of the bundled 4-bit model.

# %%
import mlx.core as mx
import numpy as np

from labs_helper import catalog
from labs_helper.quantizing import levels

name = "model.layers.1.mlp.down_proj"
matrix = np.array(mx.load(str(model.path / "model.safetensors"))[f"{name}.weight"].astype(mx.float32))
print(matrix.shape, f"{len(np.unique(matrix)):,} different values; at most {levels(matrix)} in a group of 32")
assert len(np.unique(matrix)) > 1000

# %%
four = mx.load(str(catalog.find("instruct-tiny")[0].path / "model.safetensors"))
old = np.array(mx.dequantize(*(four[f"{name}.{part}"] for part in ("weight", "scales", "biases")), group_size=32, bits=4))
print(f"instruct-tiny: at most {levels(old)} different values in a group of 32")

# %% [markdown]
# Sixteen values: 4 bits can count from 0 to 15. Now round a group of 32 weights yourself. The smallest weight gets the code
# 0, the largest the code 15, and the others the code that is nearest. The **scale** is the step from one code to the next.

# %%
row = matrix[0, :32]
low, high = row.min(), row.max()
scale = (high - low) / 15
codes = np.round((row - low) / scale)
back = low + codes * scale
print(codes.astype(int))
print(f"scale {scale:.5f}; largest error {np.abs(back - row).max():.5f}, half a scale is {scale / 2:.5f}")

# %% [markdown]
# What is kept: 32 codes of 4 bits, the scale, and `low`, which MLX calls the **bias**. What is lost: at most half a scale for
# each weight.
#
# ### Exercise 4.1 (easy, 5 minutes): round a row
#
# Write the same for any row and any number of bits. Return the values that the model would compute with, as a NumPy array.

# %% tags=["exercise"]
def round_row(row, bits):
    ...  # the smallest and the largest weight stay as they are


# %% tags=["solution"]
def round_row(row, bits):
    values = np.linspace(np.min(row), np.max(row), 2**bits)  # what the codes can stand for
    return values[np.abs(np.subtract.outer(row, values)).argmin(axis=1)]


# %%
check("4.1", round_row)  # for help, run hint("4.1")

# %% [markdown]
# MLX packs the codes eight to a 32-bit number. It also moves the scale a little, so that zero stays zero: a weight of zero
# that came back as 0.001 would add up over thousands of weights. Formats that store the code of zero call it the **zero
# point**.

# %%
packed, scales, biases = mx.quantize(mx.array(row[None]), group_size=32, bits=4)
theirs = np.array(mx.dequantize(packed, scales, biases, group_size=32, bits=4))[0]
print(packed.shape, packed.dtype, "| bytes:", packed.nbytes, "+", scales.nbytes + biases.nbytes)
print(f"mean error: yours {np.abs(back - row).mean():.5f}, MLX {np.abs(theirs - row).mean():.5f}")

# %% [markdown] minutes=12
# ## 2. See why there are groups (12 minutes)
#
# *New words: [group](../docs/glossary.md#group), [outlier](../docs/glossary.md#outlier).*
#
# One scale for a whole row would be cheaper. What speaks against it is one weight far larger than the rest, an **outlier**. Put
# one in, and look at what happens to **the others**.

# %% tags=["exercise"]
predict("4.2a", ...)  # one weight becomes ten times the largest: by how much does the error of the OTHERS grow, in one group of 512?

# %% tags=["solution"]
predict("4.2a", 2)  # one weight becomes ten times the largest: by how much does the error of the OTHERS grow, in one group of 512?

# %%
from labs_helper.quantizing import relative_error, round_groups


def error_of_others(weights, group, bits=4):
    others = np.arange(weights.size) != np.abs(weights).argmax()
    return relative_error(weights[others], round_groups(weights, bits, group).values[others])


spoiled = matrix[0].copy()
spoiled[7] = 10 * np.abs(spoiled).max()
errors = {}
for group in (None, 128, 32):
    for kind, weights in (("as it is", matrix[0]), ("with an outlier", spoiled)):
        errors[kind, group] = error_of_others(weights, group)
        print(f"{'whole row' if group is None else group:>9}, {kind:16} {errors[kind, group]:.3f}")
reveal("4.2a", round(errors["with an outlier", None] / errors["as it is", None], 1))

# %% [markdown]
# The outlier stretches the scale of everything that shares it. With one group for the whole row, that is every other weight.
# In groups of 32 the damage stays with 31 neighbours.
#
# ### Exercise 4.2 (easy, 3 minutes): count the bits of a weight
#
# Groups are not free. Each stores a scale and a bias, of `scale_bits` bits each. How many bits does a weight take in all?

# %% tags=["exercise"]
def weight_bits(bits, group, scale_bits=16):
    ...


# %% tags=["solution"]
def weight_bits(bits, group, scale_bits=16):
    return bits + 2 * scale_bits / group


# %%
check("4.2", weight_bits)  # for help, run hint("4.2")

# %%
from labs_helper.figures import error_by_size
from labs_helper.quantizing import error_table

error_by_size(error_table(matrix))

# %% [markdown]
# Further left is smaller, further down is better. Compare points above the same place. At 4 bits a weight you can have 3 bits
# in groups of 32, or 4 bits with a whole row as one group. At 6 you can have 5 bits in groups of 32, or 4 in groups of 16.
# The larger group wins both times, as long as no outlier is in it. Real models have outliers, so 32 and 64 are what people
# use.
#
# ### Exercise 4.3 (medium, 7 minutes): how much of an outlier can you carry?
#
# Take a row of `matrix` and multiply one weight by a large number. Find the **largest** group of 32, 64, 128, 256 or 512 with
# which the other weights, rounded to 4 bits, still have a relative error of at most 0.4. Hand in the row, with its outlier,
# and the group.

# %% tags=["exercise"]
my_row = ...  # a copy of a row of matrix, with one weight that is at least ten times the largest other one
my_group = ...

# %% tags=["solution"]
my_row = spoiled
my_group = max(group for group in (32, 64, 128, 256, 512) if error_of_others(my_row, group) <= 0.4)

# %%
check("4.3", (my_row, my_group))  # for help, run hint("4.3")

# %% [markdown] minutes=12
# ## 3. Let it read a text with fewer and fewer bits (12 minutes)
#
# *New words: [perplexity](../docs/glossary.md#perplexity), [divergence](../docs/glossary.md#divergence).*
#
# An error of weights is not an error of answers. How does a model behave whose weights are all rounded? `rounded` makes one;
# it is asked like any other.

# %%
from labs_helper.quantizing import compare, questions, read, rounded, score_skills

copies = {bits: rounded(model, bits) for bits in (16, 8, 6, 5, 4, 3, 2)}
for bits in (16, 4, 3, 2):
    print(f"{bits:2} bits, {copies[bits].bytes / 1e6:.2f} MB: {copies[bits].ask('Where is Osaka?', max_tokens=24).text!r}")

# %% [markdown]
# One answer says little. Let the copies read a text: conversations that no training has seen, questions and answers alike.
# **Perplexity** is `exp` of the mean of `-ln p(token)`. Three means: as unsure as with three equally likely tokens.

# %%
talks = [question.talk for question in questions() if question.skill != "needle"][::4]
full = read(copies[16], talks)
print(full)

# %% tags=["exercise"]
predict("4.3a", ...)  # perplexity with 3 bits, divided by that with 16

# %% tags=["solution"]
predict("4.3a", 1.5)  # perplexity with 3 bits, divided by that with 16

# %%
distances = {bits: compare(full, read(copies[bits], talks)) for bits in (8, 6, 5, 4, 3, 2)}
for bits, distance in distances.items():
    print(f"{bits} bits: perplexity x {distance.ratio}")
reveal("4.3a", round(distances[3].ratio.value, 3))

# %% [markdown]
# The interval is about the ratio: both read the same text, and chance decides only which conversations are in it. Where it
# holds 1, nothing was shown. Perplexity may even fall by rounding: it looks at one token only, the one that came next in the
# text.
#
# The **divergence** (of Kullback and Leibler) looks at all tokens at each place: how far the expectation of the rounded
# model is from that of the full one. Nobody's text decides what is right; the full model does.

# %%
import pandas as pd

from labs_helper.figures import by_bits

table = [{"group": "all tokens (divergence)", "bits": bits, "value": distance.divergence.value,
          "low": distance.divergence.low, "high": distance.divergence.high} for bits, distance in distances.items()]
table += [{"group": "text (ln of the perplexity's ratio)", "bits": bits, "value": abs(np.log(distance.ratio.value))}
          for bits, distance in distances.items()]
by_bits(table, what="nats a token", log=True)

# %%
pd.DataFrame([{"bits": bits, "same most likely token": distance.same} for bits, distance in distances.items()]).round(3)

# %% [markdown]
# Divergence rises with each bit that goes, and its intervals are narrow. The ratio of perplexities stays near 1 for a long
# time and then jumps: most of its sum comes from tokens that nobody can foresee, such as which city a question names. There a
# rounded model is lucky as often as unlucky. llama.cpp's programs compare formats by divergence for that reason.

# %% [markdown] minutes=13
# ## 4. Ask it, and count (13 minutes)
#
# *New words: [held-out](../docs/glossary.md#held-out), [confidence interval](../docs/glossary.md#confidence-interval).*
#
# People do not use a model to read. They ask. Here are held-out questions about ten skills, in five languages.

# %%
asked = questions()[::4]
print(len(asked), "questions:", ", ".join(dict.fromkeys(question.skill for question in asked)))

# %% tags=["exercise"]
predict("4.4a", ...)  # which skill breaks first?  "sums", "facts, Korean", "translate", "list", "JSON" or "needle"

# %% tags=["solution"]
predict("4.4a", "facts, Korean")  # which skill breaks first?  "sums", "facts, Korean", "translate", "list", "JSON" or "needle"

# %%
from labs_helper.quantizing import altogether

scores = {bits: score_skills(copies[bits], asked) for bits in (16, 8, 6, 5)}
for bits, score in scores.items():
    print(f"{bits:2} bits: {altogether(score)}")

# %%
scores |= {bits: score_skills(copies[bits], asked) for bits in (4, 3, 2)}
total = {bits: altogether(score) for bits, score in scores.items()}
for bits in (4, 3, 2):
    print(f"{bits:2} bits: {total[bits]}")

# %%
lines = []
for skill in ("facts", "sums", "translate", "list", "JSON", "needle"):
    for bits, score in scores.items():
        part = altogether({name: one for name, one in score.items() if name.startswith(skill)})
        lines.append({"group": skill, "bits": bits, "value": part.share, "low": part.low, "high": part.high})
by_bits(lines, what="share right")

# %%
reveal("4.4a", {skill: round(score.share, 2) for skill, score in scores[2].items()})

# %% [markdown]
# A cliff, not a slope. Behind the facts are fifty questions, behind each other line ten to fifteen, so look at the length of
# the intervals first. As long as they overlap, nothing was lost that could be told from chance. Then one or two bits take
# nearly everything. Perplexity did not say how near the edge was: an answer is right or wrong as a whole, and it goes wrong
# at the one place where another token overtakes the right one.
#
# ### Exercise 4.4 (medium, 8 minutes): which skill breaks first?
#
# Choose a number of bits and at least three skills, and ask at least 20 questions of each: `questions("sums", "JSON",
# "needle")` has 150. Hand in the scores with 16 bits, those with yours, and your verdict: a skill, `"cannot tell"` or
# `"nothing broke"`. A skill breaks first if its interval is below those of all others. Nothing broke if the intervals of all
# questions together overlap.

# %% tags=["exercise"]
before = ...  # score_skills(copies[16], ...)
after = ...  # score_skills(copies[...], ...)
verdict = ...

# %% tags=["solution"]
more = questions("sums", "JSON", "needle")[::2]
before, after = (score_skills(copies[bits], more) for bits in (16, 3))
lowest = min(after, key=lambda skill: after[skill].high)
if altogether(after).high >= altogether(before).low:
    verdict = "nothing broke"
else:
    alone = all(after[lowest].high < score.low for skill, score in after.items() if skill != lowest)
    verdict = lowest if alone else "cannot tell"

# %%
check("4.4", (before, after, verdict))  # for help, run hint("4.4")

# %% [markdown] minutes=15
# ## 5. Find the layers that matter, and spend bits on them (15 minutes, 8 optional)
#
# *New words: [mixed precision](../docs/glossary.md#mixed-precision).*
#
# Need all layers the same bits? Round **one** at a time to 2 bits, and let the model read. All the others keep 16.

# %% tags=["exercise"]
predict("4.5a", ...)  # which of the 18 matrices hurts most? "embed_tokens", "lm_head", or such as "layers.0.mlp.down_proj"

# %% tags=["solution"]
predict("4.5a", "embed_tokens")  # which of the 18 matrices hurts most? "embed_tokens", "lm_head", or such as "layers.0.mlp.down_proj"

# %%
from labs_helper.figures import bars
from labs_helper.quantizing import sensitivity

few = talks[::4]
hurts = sensitivity(model, few, bits=2)
worst = max(hurts, key=lambda hurt: hurt.divergence.value)
reveal("4.5a", worst.layer.removeprefix("model."))

# %%
bars([{"layer": hurt.layer.removeprefix("model."), "divergence": hurt.divergence.value} for hurt in hurts],
     x="layer", y="divergence", unit="nats a token", decimals=3, title="One matrix rounded to 2 bits, all others whole")

# %% [markdown]
# The head decides directly between all tokens, and nothing comes after it that could make up for an error. It is also large,
# so a bit more for it costs most. What counts is what a layer gains **for each weight**.
#
# Spend one more bit where it is worth most: 3 bits for all, a fourth for half of the weights. `spend` takes the layers with
# the best gain for each weight until the budget is spent. As a control, the same budget for those with the worst gain.

# %%
from labs_helper.quantizing import spend

gains = {hurt.layer: hurt.divergence.value for hurt in hurts}
sizes = {hurt.layer: hurt.weights for hurt in hurts}
best = spend(gains, sizes, extra=sum(sizes.values()) / 2)
least = spend(gains, sizes, extra=sum(sizes.values()) / 2, worst=True)
print("best: ", ", ".join(layer.removeprefix("model.") for layer in best))
print("worst:", ", ".join(layer.removeprefix("model.") for layer in least))

# %% tags=["exercise"]
predict("4.5b", ...)  # of the divergence at 3 bits, which share is left if the best half has 4? And if the worst half has?

# %% tags=["solution"]
predict("4.5b", [0.4, 0.8])  # of the divergence at 3 bits, which share is left if the best half has 4? And if the worst half has?

# %%
mixed = {"best half": rounded(model, 3, layers=dict.fromkeys(best, 4)),
         "worst half": rounded(model, 3, layers=dict.fromkeys(least, 4))}
mixed_distances = {name: compare(full, read(copy, talks)) for name, copy in mixed.items()}
for name, copy in {"3 bits": copies[3], **mixed, "4 bits": copies[4]}.items():
    distance = mixed_distances.get(name) or distances[int(name[0])]
    print(f"{name:10} {copy.bits_per_weight:.2f} bits a weight, divergence {distance.divergence}")
reveal("4.5b", [round(distance.divergence.value / distances[3].divergence.value, 2) for distance in mixed_distances.values()])

# %% [markdown]
# Both spend the same, and the choice decides what it buys. mlx-lm has the idea twice. `convert` knows **recipes**, such as
# `mixed_3_6`: 6 bits for the head and for some of the value and down matrices, wherever those are sensitive in most models.
# `mlx_lm.dynamic_quant` measures, as you did, but by gradients and in one pass. Do the two agree?

# %%
from labs_helper.quantizing import dynamic

estimates = dynamic(model, few, low=2, high=4)
table = pd.DataFrame({"yours": {hurt.layer: hurt.divergence.value / hurt.weights * 1e6 for hurt in hurts},
                      "mlx-lm": estimates})
print(f"rank correlation {table.rank().corr().iloc[0, 1]:.2f} over {len(table)} matrices")
table.sort_values("yours", ascending=False).round(3).head(6)

# %% [markdown]
# A mixture of experts has one more layer of this kind, the **router**: it picks two of sixteen experts by small differences,
# and a rounded router may pick others. mlx-lm rounds it like everything else. The course's converter gives it 8 bits.

# %% [markdown]
# ### Exercise 4.5 (optional, hard, 8 minutes): beat three bits without more room
#
# Find bits for the layers, such that the model takes at most as many bits a weight as `copies[3]` and diverges less.
# MLX rounds to 2, 3, 4, 5, 6 and 8 bits. Hand in your model, its distance, and the pair of three bits. It may turn out to be
# hard: the check accepts any model that is better by more than chance.

# %% tags=["exercise"]
my_copy = ...  # rounded(model, 3, layers={...})
my_distance = ...  # compare(full, read(my_copy, talks))

# %% tags=["solution"]
down = spend(gains, sizes, extra=sum(sizes.values()) / 4, worst=True)
up = spend({layer: gain for layer, gain in gains.items() if layer not in down}, sizes, extra=sum(map(sizes.get, down)))
my_copy = rounded(model, 3, layers={**dict.fromkeys(down, 2), **dict.fromkeys(up, 4)})
my_distance = compare(full, read(my_copy, talks))

# %%
check("4.5", {"mine": (my_copy, my_distance), "three": (copies[3], distances[3])})  # for help, run hint("4.5")

# %% [markdown] minutes=10
# ## 6. Win back some of what two bits lost (10 minutes, 6 optional)
#
# *New words: [distillation](../docs/glossary.md#distillation).*
#
# At 2 bits a weight has four values, and the model is lost. The codes are spent. But each group has a scale and a bias as
# well, and those were chosen by a rule that knows nothing of the model. Let them **learn**: the rounded model reads, the full
# one says what it would expect, and the scales move to bring the two together. Nobody has to know right answers.
#
# This is **distillation** of quantized weights, `mlx_lm.dwq`. Its loop goes through MLX's product with packed weights, which
# takes seconds a step on a CPU. `distil` does the same with full numbers.

# %%
from labs_helper.quantizing import distil

short = [question.talk for question in questions() if question.skill not in ("needle", "JSON")][1::2]
learned = distil(copies[2], model, short, steps=60, rate=3e-4)
print(learned)

# %%
from labs_helper.figures import loss_curve

loss_curve({"divergence from the full model": learned.losses})

# %% tags=["exercise"]
predict("4.6a", ...)  # of the questions of section 4: which share will be right with 2 bits and new scales?

# %% tags=["solution"]
predict("4.6a", 0.3)  # of the questions of section 4: which share will be right with 2 bits and new scales?

# %%
distilled = compare(full, read(learned.model, talks))
rescued = altogether(score_skills(learned.model, asked))
print("plain:    ", distances[2], total[2], sep="\n")
print("distilled:", distilled, rescued, sep="\n")
reveal("4.6a", round(rescued.share, 2))

# %% [markdown]
# The file is as large as before: not one code has changed. The conversations that it learned from are not those that it is
# measured with (every second question against the others).

# %% [markdown]
# ### Exercise 4.6 (optional, medium, 6 minutes): distil better
#
# More steps, another rate, 3 bits in place of 2? Bring the divergence of a rounded model to less than half of what it was.
# Watch the loss: a rate that is too large makes it worse.

# %% tags=["exercise"]
plain_distance = ...  # compare(full, read(rounded(model, ...), talks)), or one that you have
my_distilled = ...  # distil(...)
distilled_distance = ...

# %% tags=["solution"]
plain_distance, my_distilled, distilled_distance = distances[2], learned, distilled

# %%
check("4.6", {"before": plain_distance, "distilled": my_distilled, "after": distilled_distance})  # for help, run hint("4.6")

# %% [markdown] minutes=8
# ## 7. Read the names of formats (8 minutes)
#
# *New words: [GGUF](../docs/glossary.md#gguf).*
#
# What else is there? First, mlx-lm 0.32. All of it was tried on this model and on a CPU:
#
# | tool | does | here |
# | --- | --- | --- |
# | `convert --quantize` | rounds as you did; recipes mix bits | runs |
# | `dynamic_quant` | measures layers, mixes bits | runs (section 5) |
# | `dwq` | distils scales | runs, seconds a step; section 6 is faster |
# | `gptq` | rounds weight after weight; the next ones make up for the error | runs; the next cell |
# | `awq` | stretches weights that matter before rounding | refuses `phi3` and `phimoe`: it has no settings for them |
#
# The commands of the last four download a text first. The course calls their functions with its own.

# %%
from labs_helper.quantizing import gptq

clever = gptq(model, short[::3], bits=2)
print("plain:", distances[2].divergence, "| GPTQ:", compare(full, read(clever, talks)).divergence)

# %% [markdown]
# MLX also has small floating-point formats, whose groups share one small number: `mxfp4` takes 4.25 bits a weight, `nvfp4`
# 4.5.

# %%
for mode in ("mxfp4", "nvfp4"):
    copy = rounded(model, mode=mode)
    print(f"{mode}: {copy.bits_per_weight:.2f} bits, divergence {compare(full, read(copy, talks)).divergence}")
print(f"affine: {copies[4].bits_per_weight:.2f} bits, divergence {distances[4].divergence}")

# %% [markdown]
# llama.cpp's files name their type. `Q4_K_M` says: about 4 bits, of the K family, in the medium mixture.

# %%
from labs_helper.errors import LabError
from labs_helper.quantizing import gguf_error, gguf_types, write_gguf

pd.set_option("display.max_colwidth", 90)
pd.DataFrame(gguf_types()).round(4)

# %% [markdown]
# `_0` has a scale, `_1` a scale and a smallest value, `_K` groups in groups. The last letter of a file's name (S, M, L) is
# how many layers got more bits: in `Q4_K_M`, half of the value and down matrices are `Q6_K`. Those that begin with Q and
# have no K need no data and no program of llama.cpp to make. Round the same matrix both ways:

# %%
for kind in ("Q8_0", "Q5_1", "Q4_1", "Q4_0"):
    print(f"{kind}: error {gguf_error(matrix, kind):.4f}")
print(f"MLX, 4 bits, groups of 32: {relative_error(matrix, round_groups(matrix, 4).values):.4f}")

# %%
import tempfile
from pathlib import Path

room = Path(tempfile.mkdtemp())
try:
    file = write_gguf(model, room / "q4", "Q4_0")
    print(f"{file.stat().st_size / 1e6:.2f} MB;", load(str(file.parent)).ask("Where is Osaka?"))
except LabError as problem:
    print(problem)

# %% [markdown] minutes=9
# ## 8. Round the cache (optional, 9 minutes)
#
# *New words: [KV cache](../docs/glossary.md#kv-cache), [needle in a haystack](../docs/glossary.md#needle-in-a-haystack).*
#
# In long texts the weights are not what takes the room. The keys and values of everything that was read are kept, for each
# token:

# %%
from labs_helper.quantizing import bytes_per_token, score_with_cache

real = catalog.find("phi-3.5-mini-instruct-4bit")[0]
for bits in (16, 8, 4):
    print(f"{bits:2} bits: {bytes_per_token(real.config, bits) * 32_768 / 1e9:5.2f} GB for 32,768 tokens of Phi-3.5-mini")

# %% [markdown]
# Keys and values can be rounded like weights. The test is a **needle**: a code that is told once, far back in a text. mlx-lm
# needs three options for it, and one has a trap for Phi:

# %%
needles = questions("needle")[::4]
try:
    score_with_cache(model, needles[:1], bits=4, group=64)
except LabError as problem:
    print(problem)

# %% [markdown]
# mlx-lm's default is 64 numbers a group. A head of Phi-3.5-mini has 96, so the default fails with `ValueError`, and only
# after 5,000 tokens, where rounding begins by default (`quantized_kv_start`). Use `kv_group_size=32`.

# %% tags=["exercise"]
predict("4.8a", ...)  # with how many bits of the cache does the model begin to lose codes?

# %% tags=["solution"]
predict("4.8a", 4)  # with how many bits of the cache does the model begin to lose codes?

# %%
for bits in (16, 2):
    print(f"{bits:2} bits: codes: {score_with_cache(copies[16], needles, bits)}")

# %% [markdown]
# Ten texts are few. Do the two intervals overlap? Ask more, and something whose answer looks back at itself, digit by digit:

# %%
sums = questions("sums")[::3]
cached = {bits: score_with_cache(copies[16], sums, bits, max_tokens=80) for bits in (16, 3, 2)}
for bits, score in cached.items():
    print(f"{bits:2} bits: sums: {score}")
reveal("4.8a", {bits: round(score.share, 2) for bits, score in cached.items()})

# %% [markdown]
# A code is copied: one strong signal. A sum takes some ten steps, and each must find the right digit among others. One
# slip is enough. So the bits that a cache needs depend on what you ask.
#
# ### Exercise 4.7 (medium, 4 minutes): choose bits for the cache
#
# Which is the smallest number of bits whose interval still overlaps that of 16 bits? Hand in the scores and your number.

# %% tags=["exercise"]
my_bits = ...

# %% tags=["solution"]
my_bits = min(bits for bits, score in cached.items() if score.high >= cached[16].low)

# %%
check("4.7", (cached, my_bits))  # for help, run hint("4.7")

# %% [markdown] minutes=7
# ## 9. Is it faster? (7 minutes)
#
# To write one token, a model reads every weight once. If reading takes the time, half the bytes take half the time. If
# computing takes it, they do not. One vector times one matrix of 4,096 x 4,096 tells:

# %% tags=["exercise"]
predict("4.9a", ...)  # how many times faster is the product with 4 bits than with 32, on this machine?

# %% tags=["solution"]
predict("4.9a", 8)  # how many times faster is the product with 4 bits than with 32, on this machine?

# %%
from labs_helper.quantizing import products

measured = products((32, 8, 4, 2))
print(*measured, sep="\n")
reveal("4.9a", round(measured[0].seconds / measured[2].seconds, 2))

# %% [markdown]
# ### Exercise 4.8 (easy, 3 minutes): what takes the time here?
#
# If reading does, all products read about as many gigabytes a second. Hand in the products and your verdict: `"reading"` if
# the fastest reads at most 1.5 times as much a second as the slowest, else `"computing"`.

# %% tags=["exercise"]
takes_the_time = ...

# %% tags=["solution"]
speeds = [product.gigabytes_per_second for product in measured]
takes_the_time = "reading" if max(speeds) <= 1.5 * min(speeds) else "computing"

# %%
check("4.8", (measured, takes_the_time))  # for help, run hint("4.8")

# %% [markdown]
# On a Mac's GPU reading usually decides, and fewer bits write faster. MLX's product with packed weights on a CPU computes so
# slowly that the bytes hardly matter; this course expands small models for that reason. llama.cpp has better ones for x86.

# %% [markdown] minutes=8
# ## 10. Convert the real one (8 minutes)
#
# How many bits fit? Phi-3.5-mini has 3.82 billion weights. Metal gives the GPU about two thirds of a Mac's memory.
#
# ### Exercise 4.9 (easy, 4 minutes): choose the bits for a machine
#
# Return the most bits of 2, 3, 4, 5, 6, 8 and 16 whose weights, in groups of 64 with a 16-bit scale and bias, take at most
# two thirds of `memory_gb` gigabytes. 16 bits have no groups. If none fits, return 0.

# %% tags=["exercise"]
def most_bits(weights, memory_gb):
    ...


# %% tags=["solution"]
def most_bits(weights, memory_gb):
    def size(bits):
        return weights * (bits + (0.5 if bits < 16 else 0)) / 8e9

    return max((bits for bits in (2, 3, 4, 5, 6, 8, 16) if size(bits) <= memory_gb * 2 / 3), default=0)


# %%
check("4.9", most_bits)  # for help, run hint("4.9")

# %%
from labs_helper.quantizing import bits_per_weight

choose = solved("4.9", most_bits)
weights = 3_821_079_552
print({f"{gb} GB": choose(weights, gb) for gb in (8, 16, 32)})
table = [{"bits": bits, "GB on disk": weights * (16 if bits == 16 else bits_per_weight(bits, 64)) / 8e9}
         for bits in (16, 8, 6, 5, 4, 3)]
pd.DataFrame(table).round(2)

# %% [markdown]
# Computed from the shapes; the published 4-bit conversion has 2.15 GB. The cache and the work come on top: `labs doctor` and
# `load` compute those as well. To do it yourself, in a terminal:
#
# ```
# labs models fetch phi-3.5-mini-instruct-bf16
# labs models convert phi-3.5-mini-instruct-bf16 models/my-phi-4bit
# ```
#
# The download is 7.65 GB, the result 2.15 GB, so have 10 GB of disk. `convert` reads one layer at a time. It needs room for
# the result and the largest layer, not for the whole source: 8 GB are enough. It lets both models read a text before it gives
# the result its name. Here is the same with the small one:

# %%
from labs_helper.engines.convert import convert

made = convert(model.path, room / "my-4bit", bits=4, group_size=32, dtype="float32")
print(str(made).replace(f"{room}/", ""))

# %% [markdown]
# Then compare what **you** will ask, at the bits that you can afford, with intervals. Published numbers are about other
# models, and tasks that break last are easy to find.
#
# ## Recap
#
# In this lab you:
#
# - rounded a row with a scale and a bias, and saw why groups stop an outlier;
# - measured a rounded model by perplexity, by divergence and by skills, with intervals;
# - found the layers that hurt, and spent bits on them against a control;
# - distilled scales, and measured how much of two bits' loss that wins back;
# - read the names of mlx-lm's and llama.cpp's formats, and rounded a cache;
# - found what limits the speed of your machine, and planned a conversion.
#
# **Further reading:** [GPTQ](https://arxiv.org/abs/2210.17323), [AWQ](https://arxiv.org/abs/2306.00978),
# [LEARNED_QUANTS.md of mlx-lm](https://github.com/ml-explore/mlx-lm/blob/main/mlx_lm/LEARNED_QUANTS.md), and
# [how llama.cpp measures divergence](https://github.com/ggml-org/llama.cpp/tree/master/tools/perplexity).
#
# **Next:** [05: fine-tune](05-fine-tune.ipynb): teach a model something new, and measure what it forgets.
#
# Last, take the files away, give the memory back, and see what is left to do.

# %%
import shutil

from labs_helper.exercises import so_far

shutil.rmtree(room)
for copy in copies.values():
    copy.release()
model.release()
so_far("04")
