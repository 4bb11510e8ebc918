# %% [markdown]
# # Build Phi yourself, and look inside
#
# **You will do:** write a Phi-3.5 in plain NumPy, run the bundled weights in it, get the same answers as MLX token for token, and
# then find out with experiments which head copies, where the model looks, and at which layer it knows.
#
# **You will learn:** what each part of a layer does, why only distances matter to RoPE, why a cache saves time, and why a
# picture of attention is no proof.
#
# **You will need:**
#
# | | with the bundled model |
# | --- | --- |
# | time | core 1 hour 30 minutes, everything 2 hours 30 minutes; two minutes to run all cells |
# | free memory | 1 GB |
# | download | nothing |
#
# Before this: [01: Instruct](01-instruct.ipynb), and some NumPy. You may skip any part whose heading says *optional*.
# `NameError` means that a cell above has not run yet: choose Run > Run All Above Selected Cell.

# %% [markdown] tags=["learner"]
# **This is the learner edition.** The exercises wait for your answers, and outputs appear when you run the cells.

# %% [markdown] tags=["solution"]
# **This is the solution edition.** The exercises are solved and all outputs are here. The edition for learners has the
# same name, one folder up.

# %%
from labs_helper import check_setup

check_setup("08")

# %%
import numpy as np

from labs_helper import check, load
from labs_helper.exercises import predict, reveal, solved

model = load("instruct", tier="tiny")
print(model.ask("Where is Changsha?"))

# %% [markdown]
# This lab opens the bundled models, on every machine: they have the architecture of Phi-3.5 and answer in milliseconds, so you
# can take them apart. A learned weight of the real model sits in a matrix of the same name, 3,072 wide instead of 256.
#
# The package has a Phi in NumPy, `labs_helper.reference`. It is made to be read, and it contains what you are going to write.
# Look at it **after** you have tried.

# %% [markdown] minutes=8
# ## 1. Open the weights (8 minutes)
#
# *New words: [residual stream](../docs/glossary.md#residual-stream).*
#
# A checkpoint is a list of arrays with names. The file holds them with 4 bits a number (lab 04 rounds them). Here they are
# unpacked:

# %%
from labs_helper.reference import read

true = read(model)
w = true.weights
for name in [name for name in w if "layers" not in name or "layers.0." in name]:
    print(f"{name:46} {w[name].shape}")

# %% [markdown]
# That is all there is: a table of tokens, four layers with six arrays each, a last norm, and a head. Layers 1 to 3 look like
# layer 0. A prompt is a list of token ids, and each id picks one row of the table:

# %%
ids = model.prompt("长沙在哪里?").ids
x = w["model.embed_tokens.weight"][list(ids)]
print(ids)
print("one row of 256 numbers for each of", len(ids), "tokens:", x.shape)

# %% [markdown]
# From here on, each token owns a row of 256 numbers. Every layer reads the rows and **adds** something to them. That is why people
# speak of the residual stream: a row is never replaced, it collects. At the end, the head turns the last row into a score for each
# of the 2,560 tokens.
#
# What if there were no layers at all?

# %%
scores = x @ w["lm_head.weight"].T
print([model.engine.pieces.readable(token) for token in scores[-1].argsort()[:-6:-1]])

# %% [markdown]
# Without layers, the last token knows of no other. The rest of this part builds what is missing.

# %% [markdown] minutes=8
# ## 2. Keep numbers in bounds: RMSNorm (8 minutes)
#
# *New words: [RMSNorm](../docs/glossary.md#rmsnorm).*
#
# Rows that only ever collect would grow without bounds. So each part reads a **normed** copy: the row divided by the root of the
# mean of its squares. A learned weight then stretches each of the 256 numbers. The small `eps` keeps the root away from zero.
#
# ### Exercise 8.1 (easy, 6 minutes): write RMSNorm
#
# `x` has the shape (tokens, width), `weight` (width,). Each token is normed by itself.

# %% tags=["exercise"]
def rms_norm(x, weight, eps):
    ...  # an array like x


# %% tags=["solution"]
def rms_norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + eps) * weight


# %%
check("8.1", rms_norm)  # for help, run hint("8.1")

# %%
from labs_helper.reference import parts

norm = solved("8.1", rms_norm, otherwise=parts.rms_norm)
recorded = true.run(ids, record=True)
for stage, rows in enumerate(recorded.residual):
    print(f"stage {stage}: length of the last row {np.linalg.norm(rows[-1]):6.1f}, normed",
          f"{np.linalg.norm(norm(rows, 1.0, 1e-5)[-1]):.1f}")

# %% [markdown]
# Stage 0 is the embedding, stage 4 what the last layer passes on. The rows grow from stage to stage. After the norm each has
# the length 16, the root of 256.

# %% [markdown] minutes=14
# ## 3. Tell positions apart: RoPE is a rotation (14 minutes)
#
# *New words: [RoPE](../docs/glossary.md#rope), [LongRoPE](../docs/glossary.md#longrope).*
#
# Attention compares a **query** of one token with the **keys** of others, by a dot product. A dot product knows nothing of order.
# RoPE puts the order in: it takes the numbers of a head in pairs, and turns each pair like the hand of a clock, by an angle that
# grows with the position.
#
# A head has 32 numbers here. Phi pairs number `i` with number `i + 16`: the **halves**, not neighbours. Turning a pair `(a, b)` by
# an angle gives `(a cos - b sin, b cos + a sin)`.
#
# ### Exercise 8.2 (medium, 8 minutes): turn a head
#
# `x` has the shape (tokens, D). `cos` and `sin` have (tokens, D / 2), one angle for each pair.

# %% tags=["exercise"]
def rotate(x, cos, sin):
    ...  # an array like x


# %% tags=["solution"]
def rotate(x, cos, sin):
    a, b = np.split(x, 2, axis=-1)
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


# %%
check("8.2", rotate)  # for help, run hint("8.2")

# %% [markdown]
# Take any query and any key, five tokens apart. Now move both of them 100 tokens further on.

# %% tags=["exercise"]
predict("8.3a", ...)  # does their dot product change? "yes" or "no"

# %% tags=["solution"]
predict("8.3a", "no")  # does their dot product change? "yes" or "no"

# %%
turn = solved("8.2", rotate, otherwise=parts.rotate)
waves = 10000.0 ** (np.arange(16) / 16)
chance = np.random.default_rng(8)
query, key = chance.normal(size=(2, 1, 32))


def at(row, place):
    angles = np.array([[place]]) / waves
    return turn(row, np.cos(angles), np.sin(angles))[0]


for place in (5, 105, 905):
    print(f"query at {place}, key at {place - 5}: {at(query, place) @ at(key, place - 5):.6f}")
reveal("8.3a", "no")

# %% [markdown]
# Only the **distance** counts: turning both by the same angle changes nothing between them. Draw the dot product for every
# distance, with the query at three different positions:

# %%
import matplotlib.pyplot as plt

from labs_helper.figures import Figure

drawing, axis = plt.subplots(figsize=(7, 2.6), layout="constrained")
for start, style, width in ((40, "-", 5), (400, "--", 3), (800, ":", 2)):
    dots = [at(query, start) @ at(key, start - far) for far in range(41)]
    axis.plot(range(41), dots, style, linewidth=width, label=f"query at {start}")
axis.set(xlabel="distance to the key, in tokens", ylabel="dot product")
axis.legend()
plt.close(drawing)
Figure.from_matplotlib(drawing, alt="Three lines of a dot product against distance. They lie on top of each other.",
                       takeaway="The three lines are one: the position itself does not matter, only the distance.")

# %% [markdown]
# The first pair turns once in 6 tokens, the last one once in some 35,000. Slow pairs are the problem of long texts: in training
# they never completed a turn, so a longer text shows angles that the model has never seen. **LongRoPE** stretches the waves with
# two tables, one for texts up to the original length (256 here, 4,096 in Phi-3.5), and one beyond. It also makes queries and
# keys a little longer, so that attention stays sharp among more tokens.

# %%
scaling = true.config["rope_scaling"]
print("short:", scaling["short_factor"][:3], "...", scaling["short_factor"][-1])
print("long: ", scaling["long_factor"][:3], "...", scaling["long_factor"][-1])
sharper = np.sqrt(1 + np.log(1024 / 256) / np.log(256))  # 1,024 is the longest text


def turns(places, total):
    factors = np.array(scaling["long_factor" if total > 256 else "short_factor"])
    angles = np.array(places)[:, None] / (factors * waves)
    return sharper * np.cos(angles), sharper * np.sin(angles)


print(f"queries and keys are {sharper:.3f} times longer")

# %% [markdown]
# The table is chosen once, by the length of prompt **and** answer. Keys in the cache are turned already, so nobody can change it
# halfway.

# %% [markdown] minutes=13
# ## 4. Look back: one head of attention (13 minutes)
#
# *New words: [attention](../docs/glossary.md#attention), [head](../docs/glossary.md#head).*
#
# A head does four things:
#
# 1. It compares each query with each key: `q @ k.T`, divided by the root of the size of the head. Without that, large heads
#    would look at one token only.
# 2. It hides what comes later: a token must not see the token that it should predict. Hidden scores become minus infinity.
# 3. It turns each row of scores into shares that sum to 1 (**softmax**). Subtract the largest score of a row first, or `exp`
#    overflows.
# 4. It mixes the **values** of the tokens by these shares.
#
# ### Exercise 8.3 (hard, 10 minutes): write a head of attention
#
# `q` has the queries of the newest T tokens, (T, D). `k` and `v` have the keys and values of all S tokens so far, (S, D). Usually S
# is T. With a cache, S is larger, and the **last** query belongs to the **last** key.

# %% tags=["exercise"]
def attend(q, k, v):
    ...  # (T, D): the mixtures


# %% tags=["solution"]
def attend(q, k, v):
    scores = q @ k.T / np.sqrt(q.shape[-1])
    ahead = np.triu(np.ones(scores.shape, bool), k=len(k) - len(q) + 1)
    scores = np.where(ahead, -np.inf, scores)
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True) @ v


# %%
check("8.3", attend)  # for help, run hint("8.3")

# %% [markdown]
# Now on real weights. One matrix makes queries, keys and values of all heads at once. Take layer 0, head 0, and give your head
# rows of ones and zeros as values: then what comes out are the shares themselves.

# %%
head = solved("8.3", attend, otherwise=lambda q, k, v: parts.attend(q[None], k[None], v[None])[0][0])
rows = norm(x, w["model.layers.0.input_layernorm.weight"], 1e-5)
q, k, v = np.split(rows @ w["model.layers.0.self_attn.qkv_proj.weight"].T, 3, axis=-1)
cos, sin = turns(range(len(ids)), len(ids))
shares = head(turn(q[:, :32], cos, sin), turn(k[:, :32], cos, sin), np.eye(len(ids)))
print("largest difference to the recorded head:", f"{np.abs(shares - recorded.attention[0, 0]).max():.1e}")
assert np.abs(shares - recorded.attention[0, 0]).max() < 1e-3

# %% [markdown]
# Your head looks where the true one looks. What do trained heads look at? Record them for a whole answer:

# %%
from labs_helper.figures import attention_view

answer = model.ask("长沙在哪里?", record_attention=True)
attention_view(answer)

# %% [markdown]
# Heads of large models that have nothing to do look at the first token ([attention sinks](https://arxiv.org/abs/2309.17453)). The
# line under the picture says how many of these do. Choose a head in the list to read where each token looked. Which head looks most at
# the token **right before**? Here it is, drawn large. Choose a token in the list to read its numbers:

# %%
to_the_left = np.diagonal(answer.attention.weights, offset=-1, axis1=2, axis2=3).mean(axis=-1)
attention_view(answer, *divmod(int(to_the_left.argmax()), 8))

# %% [markdown]
# Remember this head: it comes back in section 10.

# %% [markdown] minutes=6
# ## 5. Look back eight times at once (6 minutes)
#
# Eight heads work side by side, each on its own 32 of the 256 numbers.
#
# ### Exercise 8.4 (easy, 4 minutes): give each head its numbers
#
# Turn (T, 256) into (heads, T, 32). Head 0 has the first 32 numbers of each token, head 1 the next 32, and so on.

# %% tags=["exercise"]
def split_heads(x, heads):
    ...  # (heads, T, D)


# %% tags=["solution"]
def split_heads(x, heads):
    return x.reshape(len(x), heads, -1).transpose(1, 0, 2)


# %%
check("8.4", split_heads)  # for help, run hint("8.4")

# %%
heads_of = solved("8.4", split_heads, otherwise=parts.split_heads)


def look(y, layer, cos, sin, cache):
    """What a layer's attention adds to the rows y; `cache` keeps keys and values of earlier tokens."""
    name = f"model.layers.{layer}.self_attn"
    q, k, v = (heads_of(part, 8) for part in np.split(y @ w[f"{name}.qkv_proj.weight"].T, 3, axis=-1))
    q, k = (np.stack([turn(each, cos, sin) for each in part]) for part in (q, k))
    if layer in cache:
        k, v = (np.concatenate(pair, axis=1) for pair in zip(cache[layer], (k, v)))
    cache[layer] = k, v
    mixed = np.concatenate([head(*each) for each in zip(q, k, v)], axis=-1)
    return mixed @ w[f"{name}.o_proj.weight"].T


print(look(rows, 0, cos, sin, {}).shape)

# %% [markdown] minutes=8
# ## 6. Do not compute it twice: the KV cache (8 minutes)
#
# *New words: [KV cache](../docs/glossary.md#kv-cache).*
#
# A token never looks ahead, so nothing about it changes when more tokens come. Its keys and values can be **kept**. Then a new
# token computes only its own query, key and value. `look` above does this in three lines. One thing must be right: the new token
# is not the first one.
#
# ### Exercise 8.5 (easy, 3 minutes): find the positions of new tokens
#
# The cache holds `cached` tokens, and `new` more come. Return their positions, counted from 0.

# %% tags=["exercise"]
def positions(cached, new):
    ...  # a list or an array of `new` whole numbers


# %% tags=["solution"]
def positions(cached, new):
    return np.arange(cached, cached + new)


# %%
check("8.5", positions)  # for help, run hint("8.5")

# %% [markdown]
# How much does the cache save? The true model writes 40 tokens after a prompt of 200, once with its cache, and once from the start
# for each token.

# %% tags=["exercise"]
predict("8.6a", ...)  # how many times faster is it with the cache?

# %% tags=["solution"]
predict("8.6a", 5)  # how many times faster is it with the cache?

# %%
import time

from labs_helper.reference import generate, pick

long_prompt = (list(ids) * 20)[:200]
start = time.perf_counter()
kept = list(generate(true, long_prompt, 40))
with_cache = time.perf_counter() - start
start, again = time.perf_counter(), []
for _step in range(40):
    again.append(pick(true.run([*long_prompt, *again], total=240).logits[-1]))
without = time.perf_counter() - start
assert again == kept
print(f"with: {40 / with_cache:.0f} tokens/s, without: {40 / without:.0f}; the tokens are the same")
reveal("8.6a", round(without / with_cache, 1))

# %% [markdown]
# The longer the prompt, the more it saves. What it costs is memory: for each token, keys and values of every layer. Lab 01 counts
# them.

# %% [markdown] minutes=12
# ## 7. Think: the MLP, and a whole layer (12 minutes)
#
# *New words: [SwiGLU](../docs/glossary.md#swiglu).*
#
# Attention moves information between tokens. The **MLP** then works on each token alone. Phi uses **SwiGLU**: one matrix makes two
# rows of 512, a gate and a value. The gate goes through `silu(g) = g * sigmoid(g)` and multiplies the value. A second matrix
# leads back to 256.
#
# ### Exercise 8.6 (medium, 5 minutes): write the MLP
#
# `gate_up` has the shape (2 * inner, width), the gate in its first half. `down` has (width, inner).

# %% tags=["exercise"]
def swiglu(x, gate_up, down):
    ...  # an array like x


# %% tags=["solution"]
def swiglu(x, gate_up, down):
    gate, up = np.split(x @ gate_up.T, 2, axis=-1)
    return (gate / (1 + np.exp(-gate)) * up) @ down.T


# %%
check("8.6", swiglu)  # for help, run hint("8.6")

# %% [markdown]
# ### Exercise 8.7 (medium, 5 minutes): put a layer together
#
# `look` and `think` are the two parts, and each has its norm. All four are functions of rows. A part reads the normed rows, and
# what it makes is added to the rows as they were.

# %% tags=["exercise"]
def layer(x, look, think, norm_look, norm_think):
    ...  # an array like x


# %% tags=["solution"]
def layer(x, look, think, norm_look, norm_think):
    x = x + look(norm_look(x))
    return x + think(norm_think(x))


# %%
check("8.7", layer)  # for help, run hint("8.7")

# %% [markdown] minutes=12
# ## 8. Run the whole model (12 minutes)
#
# Everything is there. Four layers, a last norm, the head:

# %%
mlp = solved("8.6", swiglu, otherwise=parts.swiglu)
where = solved("8.5", positions, otherwise=lambda cached, new: np.arange(cached, cached + new))
whole_layer = solved("8.7", layer, otherwise=lambda x, a, b, c, d: (lambda y: y + b(d(y)))(x + a(c(x))))


def normed(name):
    return lambda rows: norm(rows, w[f"{name}.weight"], 1e-5)


def own_model(new, cache, total):
    """Scores for the next token after each of the new ones."""
    cached = cache[0][0].shape[1] if cache else 0
    cos, sin = turns(where(cached, len(new)), total)
    x = w["model.embed_tokens.weight"][list(new)]
    for n in range(4):
        name = f"model.layers.{n}"
        matrices = w[f"{name}.mlp.gate_up_proj.weight"], w[f"{name}.mlp.down_proj.weight"]
        x = whole_layer(x, lambda y, n=n: look(y, n, cos, sin, cache), lambda y, m=matrices: mlp(y, *m),
                        normed(f"{name}.input_layernorm"), normed(f"{name}.post_attention_layernorm"))
    return normed("model.norm")(x) @ w["lm_head.weight"].T


# %% [markdown]
# Is it Phi? Compare with what MLX computes for the same tokens, below, at and above the original length:

# %%
from labs_helper.engines.worker import WORKER

for length in (40, 256, 257):
    tokens = chance.integers(3, 2500, length).tolist()
    theirs = WORKER.call(model.engine.logits, tokens)
    apart = np.abs(own_model(tokens, {}, length) - theirs).max()
    print(f"{length} tokens: largest difference {apart:.1e}, largest score {np.abs(theirs).max():.0f}")
    assert apart < 1e-2

# %% [markdown]
# The rest is rounding: NumPy and MLX add up in another order. Now let it write. Take the best token, append it, go on until a stop
# token comes:

# %%
def own_answer(prompt, limit=40):
    cache, written, new = {}, [], prompt
    while len(written) < limit:
        scores = own_model(new, cache, len(prompt) + limit)
        written.append(int(scores[-1].argmax()))
        if written[-1] in model.engine.stop_ids:
            break
        new = written[-1:]
    return written


mine = own_answer(ids)
print("".join(model.engine.pieces.readable(token) for token in mine))
assert mine == [token.id for token in answer.tokens]

# %% [markdown]
# Those are your functions, and that is the answer of MLX, token for token.
#
# ### Exercise 8.8 (medium, 6 minutes): answer twenty questions with your own model
#
# Ask at least 20 different questions, in more than one language if you like. Hand in a list of pairs: the ids of the prompt, and
# the ids that your model wrote, the stop token included.

# %% tags=["exercise"]
pairs = ...  # [(prompt ids, answer ids), ...]

# %% tags=["solution"]
cities = ["Paris", "Lima", "Nairobi", "Hanoi", "Madrid", "Rome", "Cairo", "Tokyo", "Osaka", "Lyon"]
asked = [f"Where is {city}?" for city in cities] + [f"What is {n} + {3 * n + 1}?" for n in range(11, 21)]
pairs = [(model.prompt(question).ids, own_answer(model.prompt(question).ids, 60)) for question in asked]

# %%
check("8.8", pairs)  # for help, run hint("8.8")

# %% [markdown] minutes=9
# ## 9. Roll the dice: sampling (9 minutes)
#
# Always taking the best token gives the same answer each time. To draw one instead, turn the scores into probabilities. A
# **temperature** above 1 makes rare tokens likelier. **Top-p** keeps only the **nucleus**: the smallest set of best tokens
# that has at least the probability p together.
#
# ### Exercise 8.9 (medium, 7 minutes): find the nucleus
#
# Return the numbers of the tokens that stay, in any order.

# %% tags=["exercise"]
def nucleus(chances, top_p):
    ...  # numbers of tokens


# %% tags=["solution"]
def nucleus(chances, top_p):
    order = np.argsort(-chances, kind="stable")
    before = np.cumsum(chances[order]) - chances[order]
    return order[before < top_p]


# %%
check("8.9", nucleus)  # for help, run hint("8.9")

# %%
begun = model.ask("Name a colour.").tokens[:3]
print("after", *(token.piece for token in begun))
chances = parts.softmax(true.run([*model.prompt("Name a colour.").ids, *(token.id for token in begun)]).logits[-1].astype(float))
for top_p in (0.5, 0.9, 0.99):
    stay = (np.sort(chances)[::-1].cumsum() < top_p).sum() + 1
    print(f"top_p {top_p}: {stay} of {len(chances)} tokens stay")
for seed in range(3):
    drawn = generate(true, model.prompt("Name a colour.").ids, 20, stop=model.engine.stop_ids, temperature=1.5, seed=seed)
    print("".join(model.engine.pieces.readable(token) for token in drawn))

# %% [markdown]
# You have built Phi: some 60 lines. The second part of this lab looks at what these weights do with it.

# %% [markdown] minutes=22
# ## 10. Find the heads that copy (optional, 22 minutes)
#
# *New words: [ablation](../docs/glossary.md#ablation), [induction head](../docs/glossary.md#induction-head).*
#
# Lab 01 hides a code in a text and asks for it. Which head fetches it? Here are such texts, and for each digit of the answer it is
# known where the digit is in the text. One draw of 20 texts chooses heads, and another one of 40 measures what they do. On the
# texts that chose it, a head may look better than it is.

# %%
from labs_helper.reference import Change
from labs_helper.reference.copying import count_right, needles, repeats

choosing, codes = needles(model, 20, seed=8), needles(model, 40, seed=9)
first = codes[0]
print(len(first.ids), "tokens; the digits are chosen at", first.lookers, "and are at", first.sources)
intact = count_right(true, codes)
print(f"intact: {intact} of 40 codes right")

# %% [markdown]
# ### Exercise 8.10 (medium, 5 minutes): score heads that copy
#
# `attention` has the shape (layers, heads, tokens that look, tokens that are looked at). `lookers` and `sources` are lists of
# positions that belong together one by one. Return the mean share that each head gives to the source: (layers, heads).

# %% tags=["exercise"]
def copy_scores(attention, lookers, sources):
    ...  # (layers, heads)


# %% tags=["solution"]
def copy_scores(attention, lookers, sources):
    return attention[:, :, lookers, sources].mean(axis=-1)


# %%
check("8.10", copy_scores)  # for help, run hint("8.10")

# %%
def mean_share(attention, lookers, sources):
    return np.mean([attention[:, :, a, b] for a, b in zip(lookers, sources)], axis=0)


scores_of = solved("8.10", copy_scores, otherwise=mean_share)


def mean_scores(texts, without=()):
    """What each head gives to the place it should copy from: the mean over texts, without some heads."""
    records = ((text, true.run(text.ids, record=True, change=Change(heads=without)).attention) for text in texts)
    return np.mean([scores_of(seen, list(text.lookers), list(text.sources)) for text, seen in records], axis=0)


needle_scores = mean_scores(choosing)
best = sorted(np.ndindex(4, 8), key=lambda place: -needle_scores[place])
for place in best[:10]:
    print(f"layer {place[0]}, head {place[1]}: {needle_scores[place]:.2f} of its attention on the digit")

# %% [markdown]
# There they are: heads that put most of their attention on the right digit, among some hundred tokens. Switch off the best one, so
# that it adds nothing. How many of the 40 codes will still be right?

# %% tags=["exercise"]
predict("8.10a", ...)  # codes that are still right, of 40

# %% tags=["solution"]
predict("8.10a", 5)  # codes that are still right, of 40

# %%
without_best = count_right(true, codes, Change(heads=best[:1]))
print(f"without the best head {without_best}, intact {intact}, of 40")
reveal("8.10a", without_best)

# %% [markdown]
# **A head that looks is not yet a head that matters.** Its picture is clear, but other heads look at the digit too, and they may do
# the same work. So switch off more and more of those that give the digit over half of their attention. The control is as many
# heads **of the same layers** that do not look at it, in five draws.

# %%
looking = [place for place in best if needle_scores[place] > 0.5]
layers_that_look = {place[0] for place in looking}
others = [place for place in best if place not in looking and place[0] in layers_that_look]
draw = np.random.default_rng(1)
size = min(len(looking), len(others))
control_sets = [[others[n] for n in draw.permutation(len(others))[:size]] for _set in range(5)]
for count in sorted({1, 2, len(looking) // 2, len(looking)}):
    print(f"without the best {count}: {count_right(true, codes, Change(heads=best[:count]))} of 40")
print(f"without {size} others:", [count_right(true, codes, Change(heads=heads)) for heads in control_sets])

# %% [markdown]
# Together they matter, and the control shows that it is not the mere number of heads that are off. Does the answer depend on any **single**
# head? Switch off each of the 32 alone, on ten of the texts:

# %%
few = codes[:10]
alone = np.array([[count_right(true, few, Change(heads=[(n, h)])) for h in range(8)] for n in range(4)])
print("right of 10 without one head (a row for each layer):", alone, sep="\n")
needed = divmod(int(alone.argmin()), 8)
print(f"needed most: layer {needed[0]}, head {needed[1]}, which gives the digit {needle_scores[needed]:.2f} of its attention")

# %% [markdown]
# The head that is needed most does not look at the digit at all. What does it look at? Measure how much each head gives to **the token
# right before**, wherever that is:

# %%
seen = [true.run(text.ids, record=True).attention for text in few]
before = np.mean([np.diagonal(each, offset=-1, axis1=2, axis2=3).mean(axis=-1) for each in seen], axis=0)
print(before.round(2))
previous = divmod(int(before.argmax()), 8)
print(f"layer {previous[0]}, head {previous[1]} looks at the token before, with {before[previous]:.2f} of its attention")
print(f"without it: {count_right(true, codes, Change(heads=[previous]))} of 40 codes")

# %% [markdown]
# It is the same head. Here is a guess how it helps: it writes into each token **what came before it**, and a later head looks for the
# token that has the right thing before it. If so, then without this head the later ones should lose the place. Without any
# other head of its layer they should keep it:

# %%
for h in range(8):
    left = mean_scores(few, without=[(previous[0], h)])
    print(f"without layer {previous[0]}, head {h}: those that looked give the digit {np.mean([left[place] for place in looking]):.2f}")

# %% [markdown]
# One more control: does this head break **everything** when it is off, or only copying? Ask where twenty cities are:

# %%
from labs_helper.reference.places import facts

for name, heads in (("intact", []), ("without it", [previous])):
    known = facts(model, true, "en", 20)
    said = [true.run(city.ids, change=Change(heads=heads)).logits[city.place].argmax() for city in known]
    print(f"{name}: {sum(token == city.answer for token, city in zip(said, known))} of {len(known)} countries right")

# %% [markdown]
# So two kinds of heads work one after the other, as a circuit: one marks each token with what came before it, and others look for the
# mark and copy what they find. Elhage et al. and Olsson et al. call the second kind **induction heads**
# ([2021](https://transformer-circuits.pub/2021/framework/index.html), [2022](https://arxiv.org/abs/2209.11895)). In large models,
# too, several heads do the second step, and few of them carry a long text
# ([Wu et al. 2024](https://arxiv.org/abs/2404.15574)). The numbers here are about our small model only.
#
# ### Exercise 8.11 (medium, 5 minutes): judge what a head does
#
# Choose a head of your own. Hand in four things: how many codes are right intact, how many without your head, a list of how many
# without each of at least five other heads, and your verdict, `"matters"` or `"not shown"`.

# %% tags=["exercise"]
evidence = ...  # (intact, without mine, [without others], "matters" or "not shown")

# %% tags=["solution"]
mine = count_right(true, few, Change(heads=best[:1]))
evidence = (count_right(true, few), mine, [int(count) for count in alone[0]],
            "matters" if mine < min(alone[0]) else "not shown")

# %%
check("8.11", evidence)  # for help, run hint("8.11")

# %% [markdown]
# ### Repeat what nobody has said before
#
# A code could be found by its sentence. What about words in an order that was drawn? Nothing but copying helps there. The score is
# the share of right tokens. Does the same circuit do this work?

# %%
repeated = repeats(model, 40)
print("for example:", *(model.engine.pieces.readable(token) for token in repeated[0].ids))
repeat_scores = mean_scores(repeated[:20])
copying = {place for place in np.ndindex(4, 8) if repeat_scores[place] > 0.5}
print(f"{len(copying)} heads give the token to copy over half; {len(copying & set(looking))} of them looked at codes, too")

# %%
def shares_right(heads):
    """The share of right tokens in each text without these heads."""
    return np.array([np.mean(text.right(true, Change(heads=heads))) for text in repeated])


whole = shares_right([])
print(f"intact: {whole.mean():.2f}")
sets = {"the head that looks at the token before": [previous]}
sets |= {f"head {h} of its layer": [(previous[0], h)] for h in range(8) if h != previous[1]}
sets |= {f"all {len(looking)} that looked at codes": looking}
sets |= {f"{size} others of their layers, draw {n}": heads for n, heads in enumerate(control_sets, start=1)}
for name, heads in sets.items():
    lost = whole - shares_right(heads)
    print(f"without {name:40} {lost.mean():5.2f} lost, plus or minus {1.96 * lost.std(ddof=1) / len(lost) ** 0.5:.2f}")

# %% [markdown]
# Compare each loss with the controls below it. Both are far above them: the same circuit copies here, too. Intact, the model is not
# perfect here: it learned to repeat short texts, and not six random words.

# %% [markdown] minutes=10
# ## 11. Ask each layer what it would say (optional, 10 minutes)
#
# *New words: [logit lens](../docs/glossary.md#logit-lens).*
#
# The head reads rows. It can also read the rows of an earlier stage, as if the rest of the model were not there: that is the **logit
# lens** ([nostalgebraist 2020](https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru/interpreting-gpt-the-logit-lens)). At which stage
# does 湖 of 湖南, the province, appear?

# %% tags=["exercise"]
predict("8.11a", ...)  # the layer after which it is the best token: 0, 1, 2 or 3

# %% tags=["solution"]
predict("8.11a", 1)  # the layer after which it is the best token: 0, 1, 2 or 3

# %%
from labs_helper.figures import logit_lens
from labs_helper.reference.looking import lens, stages

vocabulary = [model.engine.pieces.readable(token) for token in range(len(w["lm_head.weight"]))]
seen = answer.attention
places = range(seen.prompt_tokens + 2, len(seen) - 4)
logit_lens(lens(true, seen.residual, seen.pieces, places, vocabulary), title="The best token after each layer")

# %%
province = next((place for place in places if seen.pieces[place + 1] == "湖"), places[4])
ranks = stages(true, seen.residual, province).argmax(axis=-1)
stage = next(n for n in range(5) if all(ranks[n:] == ranks[-1]))
print(f"{vocabulary[ranks[-1]]!r} is the best token from layer {stage - 1} on")
reveal("8.11a", stage - 1)

# %% [markdown]
# One city is an anecdote. Take twenty cities in each of five languages. For the first token of the country's name: at how many places
# is it the best token after each stage? And as a control, the English name of the same country, where it is another token: does the
# model know the fact in English first, as some large models seem to
# ([Wendler et al. 2024](https://arxiv.org/abs/2402.10588))?

# %%
from labs_helper.figures import listing
from labs_helper.reference.places import ASK, english_name, facts

known = {language: facts(model, true, language, 20) for language in ASK}
rows = []
for language, cities in known.items():
    chances = [stages(true, true.run(fact.ids, record=True).residual, fact.place) for fact in cities]
    right = [fact.ids[fact.place + 1] for fact in cities]
    first_best = [sum(each[stage].argmax() == token for each, token in zip(chances, right)) for stage in range(5)]
    english = [english_name(model, fact) for fact in cities]
    other = [each[:, token].max() for each, token, own in zip(chances, english, right) if token != own]
    rows.append({"language": language, "cities": len(cities), "after layer 0": first_best[1], "layer 1": first_best[2],
                 "layer 2": first_best[3], "layer 3": first_best[4], "English name, at most": f"{max(other):.4f}" if other else "its own"})
listing(rows, takeaway="How many countries are the best token after each layer; and the largest probability that the English "
        "name had after any layer.")

# %% [markdown]
# Read each row from left to right. Most countries appear after the last layer only, and the English name never gets a chance in
# another language. That is a null result twice: no early knowledge, and no English in between. It is one about what the **head
# can read**. Earlier rows may hold the fact in another form. And four layers leave little room to know something and wait, so
# nothing follows for a large model.

# %% [markdown] minutes=8
# ## 12. Put one city's thoughts into another (optional, 8 minutes)
#
# *New words: [activation patching](../docs/glossary.md#activation-patching).*
#
# The lens shows what could be read. **Patching** shows what is used: run one question, and put rows of another run in. The model has
# written "Paris is a city in", and the country comes next. The name is there twice, in the question and in the answer. Put
# Lima's rows in its place: in the **question**, in the **answer**, or at the **end**, on the token that chooses the country.
# Which of them decide it?

# %% tags=["exercise"]
predict("8.12a", ...)  # after layer 1: "question", "answer" or "end"

# %% tags=["solution"]
predict("8.12a", "question")  # after layer 1: "question", "answer" or "end"

# %%
from labs_helper.figures import listing
from labs_helper.reference import Change
from labs_helper.reference.places import city_pairs, facts


def next_token(one, other, stage, places):
    """What the model says in place of one city's country with the other city's rows put in."""
    rows = true.run(other.ids, record=True).residual[stage]
    put = {(stage, here): rows[there] for here, there in zip(places(one), places(other))}
    return true.run(one.ids, change=Change(put=put)).logits[one.place].argmax()


spots = {"question": lambda city: city.asked, "answer": lambda city: city.said, "end": lambda city: [city.place]}
known = facts(model, true, "en", 60)
swaps = city_pairs(known, 20)
changed = {spot: [sum(next_token(one, other, stage, places) == other.answer for one, other in swaps) for stage in range(5)]
           for spot, places in spots.items()}
listing([{"stage": stage, **{f"rows at the {spot}": counts[stage] for spot, counts in changed.items()}} for stage in range(5)],
        takeaway=f"How many of {len(swaps)} answers name the other city's country. Stage 0 is the embedding, stage 4 the end.")

# %%
same = city_pairs(known, 20, same_country=True)
kept = sum(next_token(one, other, 2, spots["answer"]) == one.answer for one, other in same)
print(f"control, rows of a city in the same country, in the answer: {kept} of {len(same)} keep the country")
reveal("8.12a", max(changed, key=lambda spot: changed[spot][2]))

# %% [markdown]
# Did you expect the question? The model has copied the name into its answer, and from then on it reads **its own copy**: rows in the
# question change nothing, and rows in the answer change the country. Only after the last layer has the end of the text what it
# needs: that layer fetches it. The control shows that foreign rows alone do not break an answer. The method is that of
# [Meng et al. 2022](https://arxiv.org/abs/2202.05262), who located facts of a large model in its middle layers.

# %% [markdown] minutes=12
# ## 13. See where a picture is looked at (optional, 12 minutes)
#
# A picture is 313 rows for `vision-tiny`: 144 cells of a tile, 144 of the whole view, and 25 separators. So attention can be drawn
# over the picture. Ask for the colour of a shape, for its place, and for a number in a chart:

# %%
from IPython.display import display

from labs_helper.figures import attention_on_picture, listing
from labs_helper.pictures.images import layout
from labs_helper.reference.looking import looked_at
from labs_helper.reference.scenes import chart_pictures, shape_pictures

vision = load("vision", tier="tiny")
plan = layout(336, 336, 1)
drawn = {"colour": shape_pictures(12), "place": shape_pictures(12, ask="place"), "number": chart_pictures(36)}
told = {kind: [(each, vision.ask(each.question, images=each.picture, max_tokens=20, record_attention=True))
               for each in pictures] for kind, pictures in drawn.items()}

# %%
shown, one = told["colour"][0]
word = shown.said(one.text)
print(shown.question, "->", one.text)
attention_on_picture(shown.picture, looked_at(one, word, 2, 0, plan), word=word, box=shown.cells)

# %% [markdown]
# Be careful with this picture: **our training told some heads where to look**. The first three heads of layers 1 and 2 were rewarded for
# attention on the right cells (`training/vision/pointing.py`): in layer 1 for what a token itself names, in layer 2 for what the next one
# will name. That they look there is no discovery. What do the heads do that nobody told? Count how often the strongest cell
# belongs to the thing, in right answers.

# %%
groups = {"layer 0": [(0, h) for h in range(8)],
          "layer 1, told": [(1, h) for h in range(3)], "layer 1, others": [(1, h) for h in range(3, 8)],
          "layer 2, told": [(2, h) for h in range(3)], "layer 2, others": [(2, h) for h in range(3, 8)],
          "layer 3": [(3, h) for h in range(8)]}


def hit_rates(answers, cells_of):
    """How often the strongest cell of a head is one of the cells of the thing, for each group of heads."""
    rates = {}
    for name, heads in groups.items():
        seen = [(looked_at(one, shown.said(one.text), *place, plan), cells_of(shown, one))
                for shown, one in answers for place in heads]
        rates[name] = np.mean([np.unravel_index(cells.argmax(), cells.shape) in thing for cells, thing in seen])
    return rates


rows = []
for kind, answers in told.items():
    right = [(shown, one) for shown, one in answers if shown.said(one.text) == shown.right]
    rows.append({"asked for the": kind, "right": f"{len(right)} of {len(answers)}",
                 "by chance": np.mean([len(shown.cells) / 144 for shown, _one in right]),
                 **hit_rates(right, lambda shown, one: shown.cells)})
listing(rows, takeaway="The share of right answers whose strongest cell is on the thing, by layer.")

# %% [markdown]
# Compare the last layer, which nobody told anything, with chance. Now the other side: the charts that it read **wrongly**. Where does it
# look, at the number that was asked for, or at the one that it says?

# %%
wrong = [(shown, one) for shown, one in told["number"] if shown.said(one.text) != shown.right]
of_another = [(shown, one) for shown, one in wrong if shown.said(one.text)]
print(f"{len(wrong)} of {len(told['number'])} wrong; {len(of_another)} of them say the number of another bar")
for shown, one in of_another[:1]:
    print("for example:", shown.question, "->", one.text, "But it is", shown.right)
    display(listing([{"the number that": "was asked for", **hit_rates(of_another, lambda shown, one: shown.cells)},
                     {"the number that": "it says",
                      **hit_rates(of_another, lambda shown, one: shown.others[shown.said(one.text)])}],
                    takeaway="The share of wrong answers whose strongest cell is on this number."))
vision.release()

# %% [markdown]
# A model that is wrong need not look at nothing. This one reads a number that is there, above the wrong bar. Its wrong answers are few, so
# take the shares as a direction and not as a measurement. A look is also no proof that it was used: for that, somebody would have
# to switch heads off, as in section 10.

# %% [markdown] minutes=8
# ## 14. Follow a router (optional, 8 minutes)
#
# In `moe-tiny`, 16 experts replace the MLP, and a **router** picks two of them. It is one matrix: the normed row times 16 rows of
# weights gives a value for each expert. Compute the choice of layer 0 yourself:

# %%
moe = load("moe", tier="tiny")
mixture = read(moe)
question = moe.prompt("What is 47 + 38?")
run = mixture.run(question.ids, record=True)
gates = run.router_inputs[0] @ mixture.weights["model.layers.0.block_sparse_moe.gate.weight"].T
chosen = gates.argmax(axis=-1)
assert (chosen == run.experts[0, :, 0]).all()
print([f"{piece.strip() or piece}: {expert}" for piece, expert in zip(question.pieces, chosen)])

# %% [markdown]
# What does that row hold when the router reads it: the token alone, or also its context? Two measurements, over 40 prompts: how often
# a token goes to the same first expert as it would **without any context**, and how often two tokens drawn at random agree, as the
# control.

# %%
from labs_helper.quantizing import questions

known_questions = questions()
draw = np.random.default_rng(1)
prompts = [moe.prompt(known_questions[n].talk["messages"][-2]["content"]).ids
           for n in draw.permutation(len(known_questions))[:40]]
with_context, alone_experts = [], []
lonely = {token: mixture.run([token], record=True).experts[:, 0, 0] for token in {t for ids in prompts for t in ids}}
for ids in prompts:
    with_context.append(mixture.run(ids, record=True).experts[:, :, 0].T)
    alone_experts.append([lonely[token] for token in ids])
together, apart = np.concatenate(with_context), np.concatenate(alone_experts)
shuffled = together[draw.permutation(len(together))]
for n in range(4):
    print(f"layer {n}: as without context {np.mean(together[:, n] == apart[:, n]):.2f}, "
          f"two tokens at random {np.mean(together[:, n] == shuffled[:, n]):.2f}")
moe.release()

# %% [markdown]
# The first number is neither 1 nor the control: a router reads the token and its context. Lab 03 shows what experts prefer. Published work on
# other mixtures finds that the token decides most of the choice ([OpenMoE](https://arxiv.org/abs/2402.01739)); how far that
# holds for Phi-3.5-MoE, this course has not measured.

# %% [markdown]
# ## Recap
#
# In this lab you:
#
# - built RMSNorm, RoPE, a head of attention, the KV cache, the MLP and a layer, and put them together;
# - got the scores of MLX from your own functions, and its answers token for token;
# - drew from a nucleus.
#
# In the optional parts you switched heads off against controls, asked each layer what it would say, put one city's rows into
# another's run, saw where a picture is looked at, and followed a router.
#
# **Further reading:** [A Mathematical Framework for Transformer
# Circuits](https://transformer-circuits.pub/2021/framework/index.html), [RoFormer](https://arxiv.org/abs/2104.09864),
# [LongRoPE](https://arxiv.org/abs/2402.13753), [GLU variants](https://arxiv.org/abs/2002.05202), [Attention is not
# Explanation](https://arxiv.org/abs/1902.10186), the [Phi-3 technical report](https://arxiv.org/abs/2404.14219), and
# `labs_helper/reference`, which is this lab as a package.
#
# **Next:** read section 6 of [01: Instruct](01-instruct.ipynb) again. You can now build what it describes.
#
# Last, give the memory back, and see what is left to do.

# %%
from labs_helper.exercises import so_far

model.release()
so_far("08")
