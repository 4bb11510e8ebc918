# %% [markdown]
# # Run Phi-3.5-mini Instruct and look inside it
#
# **You will do:** ask a model in five languages, see every token it reads and writes, compare it with the model before
# it, hide a fact in a long text, and convert weights to 4 bits.
#
# **You will learn:** what a chat prompt really is, why answers stop (or do not), what temperature does, what a
# language costs, how a context of 128K tokens is possible and what it costs, and how to check a published table.
#
# **You will need:**
#
# | | with the bundled model | with the real Phi-3.5-mini |
# | --- | --- | --- |
# | time | 2 hours; 1 minute to run all cells | 2 hours and the download |
# | free memory | 1 GB | 8 GB at 4 bits, 11 GB at 8, 19 GB at 16, on a Mac with Apple silicon |
# | download | nothing | 2.15 GB, once, and only when you ask for it |
#
# Before this: [00: start the course](00-start-here.ipynb).

# %%
from labs_helper import check_setup

check_setup("01")

# %%
from labs_helper import check, hint, load

instruct = load("instruct")
print(f"{instruct.name} answers in this notebook. Why: {instruct.reason}.")

# %% [markdown]
# `instruct-tiny` is a small `phi3` model, the architecture of Phi-3.5-mini, that was trained for this course. It is
# not one of Microsoft's models, and its world is small. What you learn about prompts, tokens, memory and speed holds
# for the real one too; where the numbers differ, the text says so.

# %% [markdown] minutes=8
# ## 1. Ask with the plain package (8 minutes)
#
# *New words: [weight](../docs/glossary.md#weight), [tokenizer](../docs/glossary.md#tokenizer), [token](../docs/glossary.md#token), [thread](../docs/glossary.md#thread), [stop token](../docs/glossary.md#stop-token), [layer](../docs/glossary.md#layer), [vocabulary](../docs/glossary.md#vocabulary).*
#
# `mlx_lm` is the package that runs language models on MLX. It needs two calls. `load` reads a folder: the weights and
# the tokenizer. `stream_generate` makes one token after another.
#
# One rule first. MLX objects belong to the thread that made them. `raw_model` is made here, in the cells, so use it
# only in cells, never in a button or a widget. The helper that comes later keeps its own model in its own thread.

# %%
import mlx_lm

raw_model, raw_tokenizer = mlx_lm.load(str(instruct.path))

# %%
messages = [{"role": "user", "content": "What is the capital of Kenya?"}]
prompt_ids = raw_tokenizer.apply_chat_template(messages, add_generation_prompt=True)
print(len(prompt_ids), "tokens:", prompt_ids, "\n")
for part in mlx_lm.stream_generate(raw_model, raw_tokenizer, prompt_ids, max_tokens=40):
    print(part.text, end="", flush=True)
print(f"\n\n{part.generation_tokens} tokens, ended by {part.finish_reason!r}")

# %% [markdown]
# A warning about `rope_parameters` is harmless: it asks for another spelling of the same settings. If an answer of the
# plain package is odd, there may be a reason: it reads one table of this model wrongly. Section 6 shows that.
# Now the same question through the helper:

# %%
answer = instruct.ask("What is the capital of Kenya?")
assert "Nairobi" in answer.text
answer

# %% [markdown]
# The last line tells who answered, how many tokens were read and written, and how fast. The helper makes the same two
# calls. It adds the right stop tokens, the right table, a memory of what it read, and a Stop that works at once.
#
# ![Six steps in a loop. 1: a speech bubble. 2: a row of blocks of different width. 3: a stack of layers. 4: four bars of
# different height. 5: one block. 6: an arrow from the block back to the row of blocks.](../images/one-question.svg)
#
# The way of one question: (1) your text is put into a template, (2) cut into tokens, (3) read by all layers of the
# model; (4) the model gives every token of its vocabulary a probability, (5) one token is chosen, (6) added to the
# text, and the loop goes on until a stop token is chosen.
#
# Takeaway: a language model makes one token at a time, and each one depends on all tokens before it.

# %% [markdown] minutes=15
# ## 2. Read the exact prompt (15 minutes)
#
# *New words: [prompt](../docs/glossary.md#prompt), [special token](../docs/glossary.md#special-token), [system message](../docs/glossary.md#system-message).*
#
# The model never sees "a question". It sees one long text with markers in it. This is the whole of it:

# %%
prompt = answer.prompt
print(prompt.text)
for token_id, piece in zip(prompt.ids, prompt.pieces):
    print(f"{token_id:6}  {piece!r}")

# %% [markdown]
# Each line is one token: its id and its piece. A piece that begins a word carries the space before it. `<|user|>`,
# `<|end|>` and `<|assistant|>` are **special tokens**: one token each. The new line after a marker belongs to the
# marker; it has no token of its own. The real Phi-3.5-mini has the same markers with other ids: `<|end|>` is 32007.
#
# A chat of several turns is the same thing, only longer. A system message comes first.

# %%
dialogue = [
    {"role": "system", "content": "Answer in one word."},
    {"role": "user", "content": "Where is Nairobi?"},
    {"role": "assistant", "content": "Kenya"},
    {"role": "user", "content": "And Lima?"},
]
print(instruct.prompt(dialogue).text)
print("Answer:", instruct.ask(dialogue).text)

# %% [markdown]
# ### Exercise 1.1 (easy, 5 minutes): write the exact prompt by hand
#
# System message: `Answer in one word.` Question: `What is the capital of Kenya?` Write the whole prompt as one Python
# text, up to the point where the model goes on. A new line is written `\n`.

# %% tags=["exercise"]
my_prompt = ...

# %% tags=["solution"]
my_prompt = (
    "<|system|>\nAnswer in one word.<|end|>\n"
    "<|user|>\nWhat is the capital of Kenya?<|end|>\n"
    "<|assistant|>\n"
)

# %%
check("1.1", my_prompt)

# %% [markdown]
# Every exercise has hints. Run this cell again for the next hint.

# %%
hint("1.1")

# %% [markdown]
# ### Why an answer stops
#
# A model does not know that it has finished. It only makes the next token. The *program* stops when that token is a
# **stop token**. For a chat this is `<|end|>`. If the program does not know it, the answer does not end there. This is
# the problem that people report most often with these models. Let us make it happen: we tell the plain package that
# only `<|endoftext|>` stops.

# %%
right_stops = set(raw_tokenizer.eos_token_ids)
raw_tokenizer.eos_token_ids = {raw_tokenizer.convert_tokens_to_ids("<|endoftext|>")}
parts = list(mlx_lm.stream_generate(raw_model, raw_tokenizer, prompt_ids, max_tokens=40))
print("".join(part.text for part in parts))
assert raw_tokenizer.convert_tokens_to_ids("<|end|>") in [part.token for part in parts]

# %% [markdown]
# The marker is printed like a word, and the text after it is worthless: nobody trained the model to go on there.
# Large models often make `<|endoftext|>` next, so that only a visible `<|end|>` remains; others run on to the limit.
#
# The stop ids stand in two files. `config.json` of the real model lists only `<|endoftext|>` (32000).
# `generation_config.json` lists all of them. Older converted folders lack the second file. The repair is one line,
# `add_eos_token("<|end|>")`. Then we remove the model: we are done with the plain package for now, and with the real
# model this gives 2 GB back.

# %%
raw_tokenizer.eos_token_ids = right_stops
raw_tokenizer.add_eos_token("<|end|>")
parts = list(mlx_lm.stream_generate(raw_model, raw_tokenizer, prompt_ids, max_tokens=40))
assert "<|end|>" not in "".join(part.text for part in parts)
assert parts[-1].finish_reason == "stop"
del raw_model, raw_tokenizer

# %% [markdown]
# ### Exercise 1.2 (easy, 5 minutes): find the stop ids
#
# Read the list from `generation_config.json` in the folder of the bundled model.

# %% tags=["exercise"]
import json

checkpoint = load("instruct", tier="tiny").path
stop_ids = ...

# %% tags=["solution"]
import json

checkpoint = load("instruct", tier="tiny").path
stop_ids = json.loads((checkpoint / "generation_config.json").read_text())["eos_token_id"]

# %%
check("1.2", stop_ids)  # for help, run hint("1.2")

# %% [markdown] minutes=15
# ## 3. Stream, stop and sample (15 minutes)
#
# *New words: [logit](../docs/glossary.md#logit), [softmax](../docs/glossary.md#softmax), [temperature](../docs/glossary.md#temperature), [greedy](../docs/glossary.md#greedy), [seed](../docs/glossary.md#seed).*
#
# `stream` gives each token when it is made. `print` with `flush=True` shows it at once.

# %%
for token in instruct.stream("Count from 1 to 40.", max_tokens=200):
    print(token.text, end="", flush=True)
print(f"\n\n{instruct.last.generated_tokens} tokens, {instruct.last.finish_reason}")

# %% [markdown]
# Stop works at the next token: from a button, from the square in the toolbar, or from code, as here.

# %%
for number, token in enumerate(instruct.stream("Count from 1 to 40."), start=1):
    print(token.text, end="", flush=True)
    if number == 20:
        instruct.stop()
assert instruct.last.finish_reason == "cancelled"

# %% [markdown]
# ### Which token is chosen
#
# The model gives each token a number, the **logit** $z$. Softmax makes probabilities of them, and the
# **temperature** $T$ comes in before that:
#
# $$p_i = \frac{e^{z_i / T}}{\sum_j e^{z_j / T}}$$
#
# With $T = 0$ the largest one is always taken. This is called *greedy*, and it gives the same text every time. The
# token view shows the probability of every token, and what else was possible.

# %%
from labs_helper.figures import token_view

token_view(instruct.ask("Suggest a city to visit.", max_tokens=24, top_logprobs=4))

# %% [markdown]
# Now with temperature 1. Four seeds, four draws. The same seed gives the same text again.

# %%
def draw(seed):
    return instruct.ask("Suggest a city to visit.", max_tokens=40, temperature=1.0, seed=seed).text


draws = [draw(seed) for seed in (1, 2, 3, 4)]
print("\n".join(draws))
assert len(set(draws)) > 1 and draws[3] == draw(4)

# %% [markdown]
# `top_p` cuts off the unlikely end: only the most likely tokens, together as probable as `top_p`, may be drawn. For
# facts, take temperature 0. For a story, a temperature of 0.7 to 1 with `top_p=0.9` is a usual start.

# %%
story = instruct.ask("Tell me a short story about a cat.", temperature=0.9, top_p=0.9, seed=7)
print(story.text)

# %% [markdown]
# ### Exercise 1.3 (medium, 8 minutes): apply a temperature by hand
#
# Four tokens have the logits below. Compute their four probabilities at temperature 0.5, in the same order.

# %% tags=["exercise"]
import math

logits = {"Africa": 4.0, "Asia": 3.0, "Europe": 1.0, "Oceania": 0.0}
temperature = 0.5
probabilities = ...  # a list of four numbers; math.exp is the exponential

# %% tags=["solution"]
import math

logits = {"Africa": 4.0, "Asia": 3.0, "Europe": 1.0, "Oceania": 0.0}
temperature = 0.5
weights = [math.exp(z / temperature) for z in logits.values()]
probabilities = [w / sum(weights) for w in weights]

# %%
check("1.3", probabilities)  # for help, run hint("1.3")

# %% [markdown] minutes=10
# ## 4. Count what a language costs (10 minutes)
#
# *New words: [byte token](../docs/glossary.md#byte-token).*
#
# Time, memory and hosted prices all count tokens. The same sentence does not have the same number of tokens in
# every language.

# %%
from labs_helper.figures import token_counts

sentences = {
    "English": "The capital of France is Paris, and people there speak French.",
    "Chinese": "法国的首都是巴黎，那里的人说法语。",
    "Korean": "프랑스의 수도는 파리이고, 그곳 사람들은 프랑스어를 말합니다.",
}
tokens = {name: instruct.count_tokens(sentence) for name, sentence in sentences.items()}
token_counts(tokens, texts=sentences)

# %% [markdown]
# Look at the pieces. English words are often one token. Chinese and Korean are cut into single characters. A character
# that the vocabulary lacks is spelled in **bytes**, written `<0x..>`: three tokens for one character.

# %%
for sentence in [*sentences.values(), "鼹鼠"]:
    print(" | ".join(instruct.tokenize(sentence).pieces))

# %% [markdown]
# The first piece of a text is a space that the tokenizer puts before it. The bundled vocabulary was made from all five
# languages in about equal parts. The real one, with 32,064 entries, is made
# mostly of English and other Latin text, so expect Chinese and Korean to cost more there.
#
# ### Exercise 1.4 (easy, 6 minutes): compute what a language costs
#
# Compute tokens per character for each language. Then name the language in which this sentence needs the most tokens.

# %% tags=["exercise"]
ratios = {"English": ..., "Chinese": ..., "Korean": ...}
dearest = ...

# %% tags=["solution"]
ratios = {name: tokens[name] / len(sentence) for name, sentence in sentences.items()}
dearest = max(tokens, key=tokens.get)

# %%
check("1.4", (ratios, dearest))  # for help, run hint("1.4")

# %% [markdown] minutes=25
# ## 5. Compare it with the model before it (25 minutes)
#
# *New words: [parameter](../docs/glossary.md#parameter), [context](../docs/glossary.md#context).*
#
# Phi-3.5-mini came two months after the June 2024 release of Phi-3-mini. Both have 3.8 billion parameters. The card says
# that more post-training data made it better in other languages, in longer conversations and in reasoning. "长沙在哪里?"
# (Where is Changsha?) is the classic example.
#
# We compare two bundled models. `instruct-previous-tiny` and `instruct-tiny` have the same architecture, size, tokenizer
# and tasks. The first was trained mostly on English, the second on five languages (and for longer, since five take
# longer). So the difference you will see comes from the training text. Neither is one of Microsoft's models: they show
# the effect, not how large it is for the real ones.

# %%
from labs_helper import compare

bundled = load("instruct", tier="tiny")
previous = load("instruct-previous", tier="tiny")
questions = ["Where is Changsha?", "长沙在哪里?", "창사는 어디에 있나요?",
             "長沙はどこにありますか？", "¿Dónde está Changsha?"]
compare([previous, bundled], questions).wait()

# %% [markdown]
# Five questions are an example, not a measurement. Here are four more cities in each language, counted. An answer is
# right if it names the country.

# %%
from labs_helper.figures import bars

asked = {
    "English": ("Where is {}?", "Nairobi Kenya Lima Peru Hanoi Vietnam Cairo Egypt"),
    "Chinese": ("{}在哪里?", "内罗毕 肯尼亚 利马 秘鲁 河内 越南 开罗 埃及"),
    "Korean": ("{} 어디에 있나요?", "나이로비는 케냐 리마는 페루 하노이는 베트남 카이로는 이집트"),
    "Japanese": ("{}はどこにありますか？", "ナイロビ ケニア リマ ペルー ハノイ ベトナム カイロ エジプト"),
    "Spanish": ("¿Dónde está {}?", "Nairobi Kenia Lima Perú Hanói Vietnam Bogotá Colombia"),
}
rows = []
for language, (question, words) in asked.items():
    pairs = list(zip(words.split()[::2], words.split()[1::2]))
    for model in (previous, bundled):
        right = sum(country in model.ask(question.format(city)).text for city, country in pairs)
        rows.append({"language": language, "model": model.name, "right": right})
score = {(row["model"], row["language"]): row["right"] for row in rows}
assert score[bundled.name, "Chinese"] > score[previous.name, "Chinese"]
assert score[bundled.name, "Korean"] > score[previous.name, "Korean"]
bars(rows, x="language", y="right", group="model", unit="right answers of 4")

# %% [markdown]
# ### What was published
#
# Microsoft's model card compares the two real models. All scores are from Microsoft's own tests; compare them within
# a table only. The first chart shows one test in nine languages, the second all multilingual tests.

# %%
from labs_helper.figures import benchmark_chart

phis = ["Phi-3.5-mini-instruct", "Phi-3-mini-128k-instruct (June 2024)"]
benchmark_chart("multilingual_by_language", phis, test="Multilingual MMLU")

# %%
benchmark_chart("multilingual_overview", phis)

# %% [markdown]
# Arabic, Dutch and Ukrainian gain most: 8 to 10 points. French and Italian lose a little (61.7 to 61.1, and 63.1 to
# 62.8). Of the multilingual tests, two are slightly worse: UDPOS (48.1 to 46.5) and XStoryCloze (73.6 to 73.5). Better
# on average does not mean better everywhere.
#
# ### Exercise 1.5 (hard, 15 minutes): find the misprints
#
# The card prints some scores in more than one table, and they do not always agree. An average under a column tells
# which one is right: take the mean again. First, the scores that are printed with two values:

# %%
import pandas as pd

from labs_helper.catalog import tables

names = ("phi35_mini_main", "multilingual_overview", "long_context", "category_averages")
main, multilingual, long_context, categories = (
    pd.DataFrame(tables.read(name)).drop(columns=["source", "unit"]) for name in names
)
others = pd.concat([multilingual, long_context])
both = main.merge(others, on=["model", "benchmark"], suffixes=("_main", "_other"))
both = both[~both.benchmark.str.startswith("Average")]
both[both.value_main != both.value_other][["model", "benchmark", "value_main", "value_other"]]

# %% [markdown]
# Second, the mean of each column, and the average that is printed under it: for the main table, and for the five long
# tests, with the row *Long context* of the category table beside it.

# %%
def means(table):
    printed = table[table.benchmark == "Average of the table"].set_index("model").value
    scores = table[table.benchmark != "Average of the table"].groupby("model").value
    return pd.DataFrame({"mean": scores.mean().round(2), "printed": printed})


from IPython.display import display

long_tests = long_context[~long_context.benchmark.isin(["RULER", "RepoQA"])]
row = categories[categories.category == "Long context"].drop_duplicates("model")
row = row.set_index("model").value.rename("category table")
display(means(main), means(long_tests).join(row))

# %% [markdown]
# Five printed scores are wrong: two single ones, and three that stand in the wrong columns of the row *Long context*
# of the category table. List them with the value that is right. Use the names as printed; for the row, the benchmark
# is `"Long context"`.

# %% tags=["exercise"]
misprints = [
    ("model", "benchmark", ...),  # one line for each, with the right value
]

# %% tags=["solution"]
misprints = [
    ("Gemma-2-9B-it", "MGSM", 75.1),
    ("Phi-3.5-mini-instruct", "SQuALITY", 25.3),
    ("Mistral-7B-Instruct-v0.3", "Long context", 24.4),
    ("Mistral-Nemo-12B-Instruct-2407", "Long context", 24.5),
    ("Llama-3.1-8B-Instruct", "Long context", 25.5),
]

# %%
check("1.5", misprints)  # for help, run hint("1.5")

# %% [markdown]
# The whole collection of published figures is in the explorer. Choose a table, a test and models.

# %%
from labs_helper import benchmarks

benchmarks()

# %% [markdown] minutes=25
# ## 6. Look at long context (25 minutes)
#
# *New words: [RoPE](../docs/glossary.md#rope), [original length](../docs/glossary.md#original-length), [LongRoPE](../docs/glossary.md#longrope), [scale](../docs/glossary.md#scale), [needle in a haystack](../docs/glossary.md#needle-in-a-haystack), [RULER](../docs/glossary.md#ruler), [key and value](../docs/glossary.md#key-and-value), [KV cache](../docs/glossary.md#kv-cache), [head](../docs/glossary.md#head).*
#
# A model must know where each token stands. Phi uses **RoPE**: it turns pairs of numbers by an angle that grows with
# the position. Each pair turns at its own speed. Phi-3.5-mini has an *original length* of 4,096 tokens. To reach 131,072,
# **LongRoPE** slows the turning down: one factor for each pair. There are two tables of factors, a short one up to the
# original length and a long one beyond. The bundled model does the same on a small scale: original length 256, largest
# length 1,024.

# %%
import json

from labs_helper.figures import rope_tables

config = json.loads((bundled.path / "config.json").read_text())
scaling, original = config["rope_scaling"], config["original_max_position_embeddings"]
rope_tables(scaling["short_factor"], scaling["long_factor"], original=original,
            maximum=config["max_position_embeddings"], theta=config.get("rope_theta", 10000.0))

# %% [markdown]
# In the real model the long factors reach 64.8, and the short ones stay small.
#
# The plain package (mlx-lm 0.32.2) never reads the short table. It uses the long one at every length. Let us measure
# what that does: first the largest difference between the logits with the two tables, for three lengths of one text;
# then an answer. We use the bundled model here, in the cells, as in section 1.

# %%
import mlx.core as mx

raw_model, raw_tokenizer = mlx_lm.load(str(bundled.path))


def use_table(model, factors):
    """Give every layer the turning speeds that belong to a table of factors."""
    for layer in model.layers:
        rope = layer.self_attn.rope
        pairs = mx.arange(0, rope.dim, 2, dtype=mx.float32) / rope.dim
        rope._freqs = mx.array(factors) * config.get("rope_theta", 10000.0) ** pairs


# %%
text = "Nairobi is a city in Kenya. The capital of France is Paris. Snow is white. " * 16
ids = bundled.tokenize(text).ids
for length in (16, 64, 256):
    logits = {}
    for table in ("short", "long"):
        use_table(raw_model, scaling[f"{table}_factor"])
        logits[table] = raw_model(mx.array([ids[:length]]))
    difference = mx.abs(logits["short"] - logits["long"]).max().item()
    largest = mx.abs(logits["short"]).max().item()
    print(f"{length:3} tokens: largest logit {largest:.1f}, largest difference {difference:.1f}")
assert difference > 1

# %%
question = bundled.prompt("Where is Lima?").ids
for table in ("long", "short"):
    use_table(raw_model, scaling[f"{table}_factor"])
    written = mlx_lm.generate(raw_model, raw_tokenizer, list(question), max_tokens=60)
    print(f"{table:5} table: {written}")
assert "Peru" in written
del raw_model, raw_tokenizer

# %% [markdown]
# The difference grows with the position, and soon it is a large part of the logits themselves. All these texts fit into
# the original length, so the short table is right. Does the answer change? Here it does not, and there is a reason: in
# the training of the bundled model, every fourth short text was read with the long table, so it bears both. Nothing
# like that is known of the real model. How much its answers suffer from the wrong table is not measured here.
#
# The helper chooses the table for each request and says which: `answer.rope_table`. The rule looks at the whole
# request, because a table must not change while an answer is written: all that was read with the old one would be wrong.
#
# ### Exercise 1.6 (medium, 6 minutes): choose the RoPE table
#
# Write the rule: the short table when the whole request fits into the original length, else the long one. A request
# is the prompt and the largest answer.

# %% tags=["exercise"]
def choose_table(prompt_tokens, max_tokens, original):
    ...  # return "short" or "long"


# %% tags=["solution"]
def choose_table(prompt_tokens, max_tokens, original):
    return "short" if prompt_tokens + max_tokens <= original else "long"


# %%
check("1.6", choose_table)  # for help, run hint("1.6")

# %% [markdown]
# ### Find a needle in a haystack
#
# Can the model use what it reads far back? We hide a code in a long text, at different depths, and ask for it.

# %%
filler = ["Nairobi is a city in Kenya.", "The capital of France is Paris.",
          "The colour of snow is white.", "Lima is a city in Peru.",
          "The currency of Japan is the yen.", "The opposite of big is small.",
          "Hanoi is a city in Vietnam.", "Egypt is a country in Africa."]
costs = [bundled.count_tokens(sentence) for sentence in filler]


def haystack(length, depth, code):
    """About `length` tokens with the code at `depth`: 0 is the start, 1 the end."""
    lines, size = [], 50
    while size < length:
        size += costs[len(lines) % len(filler)]
        lines.append(filler[len(lines) % len(filler)])
    lines.insert(round(depth * len(lines)), f"The secret code of Ana is {code}.")
    return "Here is a text. " + " ".join(lines) + "\nWhat is the secret code of Ana?"


# %%
from labs_helper.figures import needle_heatmap

needles = []
for length in (128, 256, 512, 768, 1000):
    for number, depth in enumerate((0, 0.25, 0.5, 0.75, 1)):
        code = f"{(length * 7 + number * 1213) % 10000:04d}"
        found = bundled.ask(haystack(length, depth, code), max_tokens=20)
        score = float(code in found.text)
        needles.append({"length": length, "depth": depth, "score": score, "table": found.rope_table})
total = sum(row["score"] for row in needles)
assert total >= 0.8 * len(needles)
assert {row["table"] for row in needles} == {"short", "long"}
print(f"{bundled.name} found {total:.0f} of {len(needles)} codes.")
needle_heatmap(needles, original=original)

# %% [markdown]
# Twenty-five codes are few: one miss is four per cent. For the real model, the card prints RULER, a harder set of such
# tasks, from 4K to 128K tokens. A context that is accepted is not a context that is used equally well.

# %%
benchmark_chart("long_context", ["Phi-3.5-mini-instruct"], test="RULER")

# %% [markdown]
# ### What a long context costs
#
# For every token, each layer keeps a key and a value, so that it need not read the token again: the **KV cache**. It
# grows with every token and stays in memory.
#
# ### Exercise 1.7 (medium, 6 minutes): compute the cache cost of one token
#
# Phi-3.5-mini has 32 layers, 32 KV heads and a head size of 96. A number in the cache takes 16 bits. How many
# bytes does one token take?

# %% tags=["exercise"]
bytes_per_token = ...

# %% tags=["solution"]
bytes_per_token = 2 * 32 * 32 * 96 * 2  # keys and values, layers, heads, head size, bytes

# %%
check("1.7", bytes_per_token)  # for help, run hint("1.7")

# %%
from labs_helper.figures import kv_cache

kv_cache({"Phi-3.5-mini": (32, 32, 96)}, bits=(16,))

# %% [markdown] minutes=8
# ## 7. Measure the prompt cache (8 minutes)
#
# *New words: [prompt cache](../docs/glossary.md#prompt-cache), [prefill](../docs/glossary.md#prefill).*
#
# In a chat, every turn sends the whole conversation again. But its beginning is the same as before, and its keys and
# values are still in the cache. So only the new part must be read. Reading a prompt is called **prefill**.

# %%
conversation, turns = [], []
for question in ("Where is Nairobi?", "And Lima?", "And Hanoi?", "And Cairo?", "And Paris?"):
    conversation.append({"role": "user", "content": question})
    turns.append(instruct.ask(conversation, max_tokens=32))
    conversation.append({"role": "assistant", "content": turns[-1].text})

# %%
from labs_helper.figures import prefill

last = turns[-1]
print(f"Turn 5 has {last.prompt_tokens} prompt tokens; only {last.prefilled_tokens} were read this turn.")
assert last.prefilled_tokens < last.prompt_tokens / 2
prefill(turns)

# %% [markdown]
# The cache is lost when the beginning changes: another system message, an edited turn, or the other RoPE table, when
# the chat grows past the original length. Then the whole conversation is read once more.
#
# ### Exercise 1.8 (medium, 6 minutes): compute what the cache saves
#
# A chat has 10 turns. Each question has 30 tokens (markers included), each answer 70. How many tokens are prefilled
# over all 10 turns without a cache, and how many with it? What the model wrote itself is in the cache already.

# %% tags=["exercise"]
without_cache = ...
with_cache = ...

# %% tags=["solution"]
without_cache = sum(100 * earlier + 30 for earlier in range(10))
with_cache = 10 * 30

# %%
check("1.8", (without_cache, with_cache))  # for help, run hint("1.8")

# %% [markdown] minutes=6
# ## 8. Know what post-training is (6 minutes)
#
# *New words: [SFT](../docs/glossary.md#sft), [fine-tuning](../docs/glossary.md#fine-tuning), [PPO](../docs/glossary.md#ppo), [reward model](../docs/glossary.md#reward-model), [DPO](../docs/glossary.md#dpo), [log-probability](../docs/glossary.md#log-probability).*
#
# ![Four steps from left to right. 1: a pile of pages. 2: a question and an answer. 3: an answer above a meter, with an
# arrow back to the answer. 4: two answers, the first with a tick, the second with a cross.](../images/post-training.svg)
#
# 1. **Pre-training**: predict the next token of very much text (3.4 trillion tokens for Phi-3.5-mini). The result
#    continues text. It does not answer.
# 2. **SFT**, supervised fine-tuning: the same prediction, on conversations in the chat format. Usually only the tokens
#    of the assistant count. From here on the model answers, and makes `<|end|>`.
# 3. **PPO**, proximal policy optimization: the model writes answers, a reward model scores them, and answers with a
#    higher score become more likely, in small steps, so that the model stays near where it was.
# 4. **DPO**, direct preference optimization: no reward model and no new answers. It learns from pairs, a better and a
#    worse answer to one question: the better one becomes more likely *relative to* a frozen copy of the model.
#
# Takeaway: Phi-3.5-mini-instruct went through all four. The bundled model has had only step 2, from the very start.
#
# The loss of DPO for one pair is short enough to write down. Each number is the log-probability of a whole answer,
# under the model and under the frozen copy. The loss falls when the gap between better and worse grows.

# %%
def dpo_loss(better, worse, better_frozen, worse_frozen, beta=0.1):
    margin = beta * ((better - better_frozen) - (worse - worse_frozen))
    return -math.log(1 / (1 + math.exp(-margin)))


before, after = dpo_loss(-20, -22, -20, -22), dpo_loss(-15, -30, -20, -22)
print(f"no change yet: {before:.3f}; better answer more likely: {after:.3f}")
assert after < before

# %% [markdown] minutes=10
# ## 9. Convert weights to 4 bits (10 minutes)
#
# *New words: [4 bits](../docs/glossary.md#4-bits), [checkpoint](../docs/glossary.md#checkpoint), [group](../docs/glossary.md#group), [bias of a group](../docs/glossary.md#bias-of-a-group), [perplexity](../docs/glossary.md#perplexity).*
#
# Checkpoints are published with 16 bits for each weight. Conversion makes a smaller one: it cuts every row into
# groups, and keeps for each group a scale, a bias, and a small whole number for each weight. We do it for real: first
# the bundled model back to full numbers, then to 4 bits again. `convert` is the course's way around mlx-lm's own
# conversion: it also compares both models on a short text, and refuses a result that predicts it much worse.

# %%
import tempfile
from pathlib import Path

from labs_helper.engines.convert import convert

folder = Path(tempfile.mkdtemp())
full, small = folder / "full", folder / "4bit"
mlx_lm.convert(str(bundled.path), str(full), dequantize=True, dtype="float32")
print(convert(full, small, bits=4, group_size=32))

# %% [markdown]
# The **perplexity** of a text is how many tokens a model wavers between on average: 1 means that it saw each one coming.
# Compare the sizes:

# %%
def weight_bytes(path):
    return sum(file.stat().st_size for file in path.glob("*.safetensors"))


for path in (full, small):
    print(f"{path.name:5} {weight_bytes(path):>12,} bytes")
print(f"{32 * weight_bytes(small) / weight_bytes(full):.1f} bits for each weight")
assert weight_bytes(small) < weight_bytes(full) / 4

# %% [markdown]
# Why about 6 and not 4? Each group of 32 weights also keeps a scale and a bias, here of 32 bits each: 64 / 32 = 2
# bits more. The bundled models do this because 32-bit scales are much faster on Linux. The real model has 16-bit
# scales and groups of 64: 4 + 32 / 64 = 4.5 bits. A smaller group follows the weights more closely and costs more.
#
# The new folder is a model like any other:

# %%
converted = load(str(small))
again = converted.ask("What is the capital of Kenya?")
print(f"{again.model}: {again.text}")
assert "Nairobi" in again.text

# %% [markdown]
# For the real models, in a terminal, from a folder that you downloaded from the hub: 7.6 GB for Phi-3.5-mini, two bytes for each
# parameter.
#
# ```bash
# labs models convert downloads/Phi-3.5-mini-instruct models/my-phi-4bit
# ```
#
# Then `load("models/my-phi-4bit")` takes it. The same command converts the vision model, whose tower keeps its
# numbers, and the mixture of experts, whose routers keep 8 bits. mlx-lm's own `mlx_lm.convert` does neither; it would also
# accept settings without a word that it then reads wrongly.
#
# You rarely need to: `mlx-community/Phi-3.5-mini-instruct-4bit` is the first one, ready made.

# %% [markdown] minutes=5
# ## 10. Chat freely (5 minutes)
#
# Write in any of the five languages. Try a system message, another temperature, and Stop during "Count from 1 to 40."
# The button calls return at once; the model works in its own thread. Without widgets: `instruct.ask("...")`.

# %%
from labs_helper import chat

chat(instruct).send("Where is Changsha?").wait().send("And Lima?").wait()

# %% [markdown]
# ## Recap
#
# In this lab you:
#
# - read the exact prompt, and saw why `<|end|>` must stop an answer;
# - streamed, stopped and sampled, and computed a temperature by hand;
# - counted what a language costs in tokens;
# - compared two models live, and checked a published table until its misprints showed;
# - saw LongRoPE's two tables, hid needles, and computed the KV cache;
# - measured the prompt cache, and converted weights to 4 bits.
#
# **Further reading:** the [Phi-3 technical report](https://arxiv.org/abs/2404.14219), the
# [LongRoPE paper](https://arxiv.org/abs/2402.13753), the [DPO paper](https://arxiv.org/abs/2305.18290), the
# [PPO paper](https://arxiv.org/abs/1707.06347), the
# [model card](https://huggingface.co/microsoft/Phi-3.5-mini-instruct) and the source of
# [mlx-lm](https://github.com/ml-explore/mlx-lm).
#
# **Next:** [02: show a picture and check what is seen](02-vision.ipynb). The list of labs is in
# [00: start the course](00-start-here.ipynb).
#
# Last, give the memory back.

# %%
import shutil

for model in (converted, previous, bundled, instruct):
    model.release()
shutil.rmtree(folder)
