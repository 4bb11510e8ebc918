# %% [markdown] minutes=2
# # Run Phi-3.5-mini Instruct and look inside it
#
# **You will do:** ask a model, see every token that it reads and writes, put words into its mouth, compare it with the
# model before it, and hide facts in a long text. Optional: teach it a preference, and round its weights.
#
# **You will learn:** what a chat prompt really is, why answers stop (or do not), what temperature does, what a
# language costs, what a context of 128K tokens costs, and how to tell evidence from luck.
#
# **You will need:**
#
# | | with the bundled model | with the real Phi-3.5-mini |
# | --- | --- | --- |
# | time | core 1 hour 30 minutes, everything 2 hours 40 minutes; up to two minutes to run all cells | the same, and the download |
# | machine | any laptop or Codespace | a Mac with Apple silicon; or Linux or Windows on x86, through llama.cpp: [how fast](../docs/models.md#which-lab-on-which-machine) |
# | free memory | 1 GB | 8 GB at 4 bits, 11 GB at 8, 19 GB at 16 |
# | download | nothing | 2.15 GB, on a Mac with Apple silicon, else 2.39 GB; once, and only when you ask for it |
#
# Before this: [00: start the course](00-start-here.ipynb). You may skip any part whose heading says *optional*.
# `NameError` means that a cell above has not run yet: choose Run > Run All Above Selected Cell.

# %% [markdown] tags=["learner"]
# **This is the learner edition.** The exercises wait for your answers, and outputs appear when you run the cells.

# %% [markdown] tags=["solution"]
# **This is the solution edition.** The exercises are solved and all outputs are here. The edition for learners has the
# same name, one folder up.

# %%
from labs_helper import check_setup

check_setup("01")

# %%
from IPython.display import display

from labs_helper import able, check, hint, load, predict, reveal

instruct = load("instruct")
inside = able(instruct, "instruct", "tokens")  # for cells that count tokens
print(f"{instruct.name} answers in this notebook. Why: {instruct.reason}.")

# %% [markdown]
# `instruct-tiny` is not one of Microsoft's models, and it knows little: 41 countries, 91 cities, 68 words, some
# arithmetic. What you learn here about prompts, tokens, memory and speed holds for the real model too. Where the two
# differ, the text says so.
#
# **Guess first.** Before a cell that surprises most people, write down what you expect: replace the dots in `predict`
# and run it. `reveal` shows your guess beside the result. Nobody grades a guess.

# %% [markdown] minutes=4
# ## 1. Ask with the plain package (4 minutes)
#
# *New words: [weight](../docs/glossary.md#weight), [tokenizer](../docs/glossary.md#tokenizer), [token](../docs/glossary.md#token), [thread](../docs/glossary.md#thread), [stop token](../docs/glossary.md#stop-token), [layer](../docs/glossary.md#layer), [vocabulary](../docs/glossary.md#vocabulary).*
#
# `mlx_lm` runs language models on MLX. It needs two calls. `load` reads a folder: the weights and the tokenizer.
# `stream_generate` makes one token after another.
#
# MLX objects belong to the **thread** (a line of work inside a program) that made them. So use `raw_model` only in cells,
# never in a button.

# %%
import mlx_lm

plain = able(instruct, "instruct", "mlx")  # a folder that the package can read
raw_model, raw_tokenizer = mlx_lm.load(str(plain.path))

# %%
messages = [{"role": "user", "content": "What is the capital of Kenya?"}]
prompt_ids = raw_tokenizer.apply_chat_template(messages, add_generation_prompt=True)
print(len(prompt_ids), "tokens:", prompt_ids, "\n")
for part in mlx_lm.stream_generate(raw_model, raw_tokenizer, prompt_ids, max_tokens=40):
    print(part.text, end="", flush=True)
print(f"\n\n{part.generation_tokens} tokens, ended by {part.finish_reason!r}")

# %% [markdown]
# The warning is harmless: it asks for another spelling of the same settings. But the package does misread another one:
# see section 6.
#
# Now the same question through the helper:

# %%
answer = instruct.ask("What is the capital of Kenya?")
assert "Nairobi" in answer.text
answer

# %% [markdown]
# The helper makes the same two calls. It adds the right stop tokens, the right position table, a cache of what it has
# read, and a Stop that works at once.
#
# ![Six steps in a loop. 1: a speech bubble. 2: a row of blocks of different width. 3: a stack of layers. 4: four bars of
# different height. 5: one block. 6: an arrow from the block back to the row of blocks.](../images/one-question.svg)
#
# What happens to one question: (1) A template wraps your text. (2) The tokenizer cuts it into tokens. (3) The layers of the
# model read them. (4) The model gives every token of its vocabulary a probability. (5) The program picks one and (6) adds
# it to the text. Steps 3 to 6 repeat, until it picks a stop token.
#
# Takeaway: a language model makes one token at a time, and each depends on all tokens before it.

# %% [markdown] minutes=18
# ## 2. Read the exact prompt (18 minutes)
#
# *New words: [prompt](../docs/glossary.md#prompt), [special token](../docs/glossary.md#special-token), [system message](../docs/glossary.md#system-message).*
#
# The model never sees "a question". It sees one text with markers in it. This is all of it:

# %%
prompt = inside.prompt("What is the capital of Kenya?")
print(prompt.text)
for token_id, piece in zip(prompt.ids, prompt.pieces):
    print(f"{token_id:6}  {piece!r}")

# %% [markdown]
# First comes the prompt. Below it, each line is one token: its id and its piece of text. A piece that begins a word
# carries the space before it. `<|user|>`, `<|end|>` and `<|assistant|>` are **special tokens**: one token each,
# and nothing a person types becomes one. The new line after a marker belongs to the marker. The real Phi-3.5-mini has the same markers with other ids: `<|end|>` is 32007.
#
# A chat of several turns has the same form. A system message comes first.

# %%
dialogue = [
    {"role": "system", "content": "Answer in one word."},
    {"role": "user", "content": "Where is Nairobi?"},
    {"role": "assistant", "content": "Kenya"},
    {"role": "user", "content": "And Lima?"},
]
print(inside.prompt(dialogue).text)
print("Answer:", instruct.ask(dialogue).text)

# %% [markdown]
# The model gets the whole conversation as text, its own answers included. So what happens if *you* begin its answer,
# and your words do not fit the question? The question is `What is the capital of Kenya?` You begin the answer with
# `The capital of Peru is`. Which city comes next?

# %% tags=["exercise"]
predict("1.2a", ...)  # a city, such as "Paris"

# %% tags=["solution"]
predict("1.2a", "Nairobi")  # a city, such as "Paris"

# %% [markdown]
# ### Exercise 1.1 (medium, 6 minutes): put words into the model's mouth
#
# Write that prompt as one Python string, without a system message: the whole question, then an answer that stops after
# `The capital of Peru is`. The model goes on right after your last letter. `\n` is a new line.

# %% tags=["exercise"]
my_prompt = ...

# %% tags=["solution"]
my_prompt = (
    "<|user|>\nWhat is the capital of Kenya?<|end|>\n"
    "<|assistant|>\nThe capital of Peru is"
)

# %%
check("1.1", my_prompt)

# %% [markdown]
# Every exercise has hints. Run the next cell again for one more.

# %%
hint("1.1")

# %%
if my_prompt is ...:
    written = "(write the prompt first)"
else:
    written = mlx_lm.generate(raw_model, raw_tokenizer, my_prompt, max_tokens=12)
reveal("1.2a", written)

# %% [markdown]
# The question was about Kenya, and the model finished *your* sentence: your words and its own look the same to it.
# Programs use this to force a format: begin the answer with `{`, and JSON becomes likely. Attackers use it too, where
# an application lets them write into the assistant's turn.
#
# ### Why an answer stops
#
# A model cannot stop. It only makes the next token. The *program* stops when that token is a **stop token**. In a chat
# this is `<|end|>`. If the program does not know that, the answer does not end there. Make it happen: tell the plain
# package that only `<|endoftext|>` stops an answer.

# %% tags=["exercise"]
predict("1.2b", ...)  # what comes after the answer and its <|end|>: a few words

# %% tags=["solution"]
predict("1.2b", "nothing")  # what comes after the answer and its <|end|>: a few words

# %%
right_stops = set(raw_tokenizer.eos_token_ids)
raw_tokenizer.eos_token_ids = {raw_tokenizer.convert_tokens_to_ids("<|endoftext|>")}
parts = list(mlx_lm.stream_generate(raw_model, raw_tokenizer, prompt_ids, max_tokens=40))
too_long = "".join(part.text for part in parts)
assert raw_tokenizer.convert_tokens_to_ids("<|end|>") in [part.token for part in parts]
reveal("1.2b", too_long)

# %% [markdown]
# It does not fall silent. It writes *your* next question too, answers it, and asks again. Its training text consists of
# conversations, and there a user's turn follows each answer.
#
# Two files hold the stop ids, and they can disagree. `config.json` of the real model lists only `<|endoftext|>`
# (32000). `generation_config.json` lists all of them. Folders that were converted long ago lack the second file. One
# call repairs that: `add_eos_token("<|end|>")`. Then the cell drops the model, which frees 2 GB if it is a real one.

# %%
raw_tokenizer.eos_token_ids = right_stops
raw_tokenizer.add_eos_token("<|end|>")
parts = list(mlx_lm.stream_generate(raw_model, raw_tokenizer, prompt_ids, max_tokens=40))
assert "<|end|>" not in "".join(part.text for part in parts)
assert parts[-1].finish_reason == "stop"
del raw_model, raw_tokenizer

# %% [markdown]
# ### Exercise 1.2 (easy, 4 minutes): find the stop ids
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

# %% [markdown] minutes=14
# ## 3. Stream, stop and sample (14 minutes)
#
# *New words: [logit](../docs/glossary.md#logit), [softmax](../docs/glossary.md#softmax), [temperature](../docs/glossary.md#temperature), [greedy](../docs/glossary.md#greedy), [seed](../docs/glossary.md#seed), [top-p](../docs/glossary.md#top-p).*
#
# `stream` hands over each token as soon as the model makes it. Let it count backwards. What is the last number that it writes?

# %% tags=["exercise"]
predict("1.3a", ...)  # a number

# %% tags=["solution"]
predict("1.3a", 1)  # a number

# %%
import re

for token in instruct.stream("Count from 40 to 1.", max_tokens=200):
    print(token.text, end="", flush=True)
print(f"\n\n{instruct.last.generated_tokens} tokens, {instruct.last.finish_reason}")
last_number = int(re.findall(r"\d+", instruct.last.text)[-1])
reveal("1.3a", last_number)

# %% [markdown]
# It counts up. Every count in its training went up, so after "Count from 40" it knows how to go on, and looks out for a 1 that
# never comes. Ask for 1 to 40, and it stops at 40. `length` says what ended the answer: the limit of 200 tokens, not a stop token.
# The card's score for counting does not show this: its test counts only upwards. Find out how a score was made before you
# believe it.
#
# You can stop an answer with a button, with the square in the toolbar, or from code.

# %%
for number, token in enumerate(instruct.stream("Count from 1 to 40."), start=1):
    print(token.text, end="", flush=True)
    if number == 20:
        instruct.stop()
assert instruct.last.finish_reason == "cancelled"

# %% [markdown]
# ### Which token is chosen
#
# The model gives each token a number, the **logit** $z$. Softmax turns logits into probabilities, and the
# **temperature** $T > 0$ divides them first:
#
# $$p_i = \frac{e^{z_i / T}}{\sum_j e^{z_j / T}}$$
#
# The smaller $T$, the more often the token with the largest logit wins. Dividing by 0 is impossible, so `temperature=0`
# means something else: always take the largest logit. This is called *greedy*, and it gives the same text every time.
# Here is the probability of each token in a greedy answer.

# %%
from labs_helper.figures import bars, token_view

suggestion = inside.ask("Suggest a city to visit.", max_tokens=24, top_logprobs=6)
token_view(suggestion)

# %% [markdown]
# The model is sure of "You could visit" and unsure how the city's name begins. Here are the six likeliest pieces at that
# place, with the formula above at three temperatures:

# %%
import math

unsure = min(suggestion.tokens, key=lambda token: token.logprob)
rows = []
for temperature in (0.3, 1.0, 2.0):
    weights = {other.piece: math.exp(other.logprob / temperature) for other in unsure.top_logprobs}
    for piece, weight in weights.items():
        percent = 100 * weight / sum(weights.values())
        rows.append({"piece": piece, "temperature": f"temperature {temperature:g}", "percent": percent})
bars(rows, x="piece", y="percent", group="temperature", unit="per cent, among these six", decimals=0,
     takeaway="A low temperature favours the likeliest piece; a high one levels them.")

# %% [markdown]
# Now draw whole answers. The **seed** starts the random numbers: the same seed draws the same text again. How many
# different texts will twenty draws at temperature 1 give?

# %% tags=["exercise"]
predict("1.3b", ...)  # a number from 1 to 20

# %% tags=["solution"]
predict("1.3b", 15)  # a number from 1 to 20

# %%
def draw(seed, temperature, top_p=1.0):
    options = {"temperature": temperature, "top_p": top_p, "seed": seed}
    return inside.ask("Suggest a city to visit.", max_tokens=24, **options).text


draws = [draw(seed, 1.0) for seed in range(1, 21)]
print("\n".join(draws[:4]))
assert draws[3] == draw(4, 1.0)
reveal("1.3b", len(set(draws)))

# %% [markdown]
# Different, but are they true? The training text held exactly 91 such sentences, one for each city. Count the draws that
# are not among them, at temperature 1 and at 1.5. The third line keeps 1.5 and adds `top_p=0.9`: the program then draws
# only from the likeliest tokens, as many as make up 90% of the probability.

# %%
from labs_helper.agent.world import index, table, told

learned = {f"You could visit {city['en']}, in {city['country']}." for city in table("cities")}
for temperature, top_p in ((1.0, 1.0), (1.5, 1.0), (1.5, 0.9)):
    texts = [draw(seed, temperature, top_p) for seed in range(1, 21)]
    invented = [text for text in texts if text not in learned]
    print(f"temperature {temperature}, top_p {top_p}: {len(invented)} of 20 are invented")
    print("".join(f"    {text}\n" for text in invented[:4]), end="")

# %% [markdown]
# The program draws an answer piece by piece. One unlikely piece is enough: the rest follows from it, whether or not there
# is such a city. `top_p` cuts off the unlikely pieces. For facts, take temperature 0. For a story, people often start
# at 0.7 to 1 with `top_p=0.9`.
#
# ### Exercise 1.3 (medium, 6 minutes): apply a temperature by hand
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

# %% [markdown] minutes=9
# ## 4. Count what a language costs (9 minutes)
#
# *New words: [byte token](../docs/glossary.md#byte-token).*
#
# Time, memory and price grow with the number of tokens, and the same sentence takes more tokens in some languages than in
# others. The next cell counts one sentence in three. Korean needs how many times as many tokens as English?

# %% tags=["exercise"]
predict("1.4a", ...)  # a number, such as 1.5

# %% tags=["solution"]
predict("1.4a", 2)  # a number, such as 1.5

# %%
from labs_helper.figures import token_counts

sentences = {
    "English": "The capital of France is Paris, and people there speak French.",
    "Chinese": "法国的首都是巴黎，那里的人说法语。",
    "Korean": "프랑스의 수도는 파리이고, 그곳 사람들은 프랑스어를 말합니다.",
}
tokens = {name: inside.count_tokens(sentence) for name, sentence in sentences.items()}
display(reveal("1.4a", round(tokens["Korean"] / tokens["English"], 1)))
token_counts(tokens, texts=sentences)

# %% [markdown]
# The three sentences mean the same, and one costs about twice as much as the others. Look at the pieces:

# %%
for sentence in [*sentences.values(), "鼹鼠"]:
    print(" | ".join(inside.tokenize(sentence).pieces))

# %% [markdown]
# An English word is often one token. Chinese and Korean are cut into single characters. The last line (a mole, the
# animal) shows two characters that the vocabulary lacks: the tokenizer spells them in **bytes**, written `<0x..>`,
# three for each. The first piece of a text is a space that the tokenizer puts there.
#
# This vocabulary of 2,560 was made from all five languages in about equal parts. The real one has 32,011 tokens. If you
# have the real model, count with `load("instruct", tier="real")` and see which language costs most there.
#
# ### Exercise 1.4 (easy, 5 minutes): compute what a language costs
#
# Compute tokens per character for each language. Then name the language in which this sentence needs the most tokens.

# %% tags=["exercise"]
ratios = {"English": ..., "Chinese": ..., "Korean": ...}
costliest = ...

# %% tags=["solution"]
ratios = {name: tokens[name] / len(sentence) for name, sentence in sentences.items()}
costliest = max(tokens, key=tokens.get)

# %%
check("1.4", (ratios, costliest))  # for help, run hint("1.4")

# %% [markdown]
# Chinese has the most tokens per character here, and Korean the most tokens. You pay for the sentence, not for the
# ratio.

# %% [markdown] minutes=29
# ## 5. Compare it with the model before it (29 minutes, 18 optional)
#
# *New words: [parameter](../docs/glossary.md#parameter), [context](../docs/glossary.md#context), [chance level](../docs/glossary.md#chance-level).*
#
# Phi-3.5-mini came out in August 2024, two months after the June release of Phi-3-mini. Both have 3.8 billion
# parameters. The card says that more post-training data made it better in other languages, in longer conversations and
# in reasoning. It names 23 languages: Arabic, Chinese, Czech, Danish, Dutch, English, Finnish, French, German, Hebrew,
# Hungarian, Italian, Japanese, Korean, Norwegian, Polish, Portuguese, Russian, Spanish, Swedish, Thai, Turkish and
# Ukrainian.
#
# Microsoft's cookbook showed the progress with one question, 长沙在哪里? (Where is Changsha?), asked through GitHub
# Models. That service closed on 30 July 2026. Here two bundled models stand for the two releases. They have the same
# architecture, size, tokenizer and kinds of task, but they have read different texts:
#
# | | `instruct-previous-tiny` | `instruct-tiny` |
# | --- | --- | --- |
# | text in English | 92% | 24% |
# | text in each of the other four languages | 2% | 19% |
# | facts told in those four languages | one in ten | all |
# | steps of training | 1,750 | 16,150 |
# | tokens read | 6 million | 56 million |
#
# So they differ in three ways at once: languages, facts in them, and length of training. The comparison shows that what
# a model was taught matters. It says nothing about how much it matters in the real models.

# %%
from labs_helper import compare

bundled = load("instruct", tier="tiny")
previous = load("instruct-previous", tier="tiny")
questions = ["Where is Changsha?", "长沙在哪里?", "창사는 어디에 있나요?",
             "長沙はどこにありますか？", "¿Dónde está Changsha?"]
comparison = compare([previous, bundled], questions).wait()
comparison

# %% [markdown]
# All five questions mean "Where is Changsha?". What do the wrong answers mean?

# %%
meanings = {
    "在德国，人们主要说德语。": "In Germany people mostly speak German.",
    "저는 그것을 모릅니다. 제 작은 세계 밖의 일입니다.": "I do not know that. It is outside my small world.",
    "ベネチアはイタリアにある都市です。": "Venice is a city in Italy.",
}
for answer in comparison.frame().query("model == @previous.name")["answer"]:
    if "China" not in answer and "中国" not in answer and "중국" not in answer:
        print(f"{answer}\n    {meanings.get(answer, '(no translation here: ask a translator)')}")

# %% [markdown]
# A wrong answer can be honest: "I do not know that." The others fluently answer a question that nobody asked. And in
# Spanish the previous model is right. Why? We know the rule that chose one fact in ten. So you can ask of each city: did
# a text in *this* language ever tell this model where it is?

# %%
taught = {}  # language -> cities that it told the previous model about, and cities that it never did
for language in ("zh", "ko", "ja", "es"):
    names = [city["en"] for city in table("cities")]
    facts = {name: [f"where_city|{name}", f"about_city|{name}"] for name in names}
    for landmark in table("landmarks"):
        facts[landmark["city"]].append(f"where_landmark|{landmark['en']}")
    capitals = {country["capital"] for country in table("countries")}  # other texts mention these
    seen = [city for city in facts if told(language, f"where_city|{city}", 0.1)]
    mentioned = {city for city in facts if any(told(language, fact, 0.1) for fact in facts[city])}
    unseen = [city for city in facts if city not in capitals | mentioned]
    taught[language] = (seen, unseen)
    print(f"{language}: told about {len(seen)} cities, never about {len(unseen)};",
          f"Changsha: {'Changsha' in seen}")

# %% [markdown]
# Of the four languages, only Spanish told it about Changsha. One city proves little, so ask about many: cities that a
# language told it about, and cities whose country no text in that language gave. English told it about all 91. Can it
# use in one language what it learned in another?

# %% tags=["exercise"]
predict("1.5a", ...)  # two percentages, such as [70, 30]: right answers on told and on never told cities

# %% tags=["solution"]
predict("1.5a", [90, 60])  # two percentages, such as [70, 30]: right answers on told and on never told cities

# %%
ask_in = {"en": "Where is {}?", "zh": "{}在哪里?", "ko": "{} 어디에 있나요?",
          "ja": "{}はどこにありますか？", "es": "¿Dónde está {}?"}


def right(model, language, name):
    """Whether the model names the right country."""
    city = index("cities")[name]
    asked = city[language]
    if language == "ko":  # 은 after a consonant, 는 after a vowel
        asked += "은" if (ord(asked[-1]) - ord("가")) % 28 else "는"
    answer = model.ask(ask_in[language].format(asked), max_tokens=24).text
    return index("countries")[city["country"]][language] in answer


rows = []
for language, (seen, unseen) in taught.items():
    for kind, cities in (("told", seen), ("never told", unseen[::4])):
        for model in (previous, bundled):
            rows += [(language, kind, model.name, right(model, language, city)) for city in cities]

# %%
import pandas as pd

answers = pd.DataFrame(rows, columns=["language", "the previous model was", "model", "right"])
older = answers[answers.model == previous.name]
for (language, kind), found in older.groupby(["language", "the previous model was"]):
    print(f"{previous.name}, {language}, {kind}: {found.right.sum()} of {len(found)} right")
some = taught["zh"][1][::4]
known = sum(right(previous, "en", city) for city in some)
print(f"{previous.name}, never told in zh, but asked in English: {known} of {len(some)} right")

# %%
share = answers.groupby(["the previous model was", "model"], sort=False)["right"].mean().mul(100).round()
told_share, never_share = share["told", previous.name], share["never told", previous.name]
assert told_share > never_share + 15 and share["never told", bundled.name] > 90
display(reveal("1.5a", [told_share, never_share]))
bars(share.reset_index(name="per cent"), x="the previous model was", y="per cent", group="model",
     title="Where is this city? Right answers", unit="per cent right", maximum=100, decimals=0,
     takeaway="The previous model rarely knows in one language what only another language told it.")

# %% [markdown]
# Knowledge hardly crossed from one language to another. Asked in English, the previous model knows these places. Asked
# in a language that never mentioned them, it rarely does. Spanish does a little better, perhaps because it writes many
# names as English does. And being told is not enough: look at Korean. A few mentions in 2% of a short training can be
# too few.
#
# So a wrong answer in Chinese says little about a model's ability. Before you compare two models, ask what each has read.
# `instruct-tiny` was told every one of these facts in all five languages: its score is memory.
#
# ### What was published
#
# Microsoft's model card compares the two real models. All scores come from Microsoft's own tests, so compare them only
# within a table. The first chart shows MMLU, school and university questions with four choices, in nine languages.
# Which language gained most?

# %% tags=["exercise"]
predict("1.5b", ...)  # the language that gained most

# %% tags=["solution"]
predict("1.5b", "Chinese")  # the language that gained most

# %%
from labs_helper.figures import benchmark_chart

phis = ["Phi-3-mini-128k-instruct (June 2024)", "Phi-3.5-mini-instruct"]
chart = benchmark_chart("multilingual_by_language", phis, test="Multilingual MMLU",
                        takeaway="Most languages gain. French and Italian lose a little.")
scores = chart.frame().pivot(index="language", columns="model", values="value")
gains = (scores[phis[1]] - scores[phis[0]]).round(1).sort_values(ascending=False)
most, least = (f"{gains.index[place]}, {gains.iloc[place]} points" for place in (0, -1))
display(reveal("1.5b", f"{most}; last: {least}"))
chart

# %% [markdown]
# Dutch, Arabic and Ukrainian gain 8 to 10 points. French and Italian lose a little. The next chart has all multilingual
# tests:
#
# | test | asks for |
# | --- | --- |
# | MMLU, and the harder MMLU-Pro | the right choice: school and university questions |
# | MGSM | the result of school arithmetic in words |
# | MLQA, TyDi QA | the answer in a text |
# | UDPOS | the kind of each word |
# | XCOPA, XStoryCloze | the cause or effect, the right end of a story: two choices, so guessing gives 50 |

# %%
benchmark_chart("multilingual_overview", phis,
                takeaway="The average rises from 52.3 to 55.2; two tests, UDPOS and XStoryCloze, fall.")

# %% [markdown]
# Better on average does not mean better everywhere. In the card's Korean table, look at KMMLU-HARD.

# %%
benchmark_chart("korean_benchmarks", phis,
                takeaway="The average rises from 30.0 to 35.6. "
                "On KMMLU-HARD both models do no better than guessing.")

# %% [markdown]
# How good is a small model? In the card's main table Phi-3.5-mini, with 3.8 billion parameters, averages 61.4 and
# Llama-3.1-8B 61.0. A gap of 0.4 decides nothing, but on these tests the model keeps up with one of twice its size.
#
# The explorer holds all published figures. Choose a table, a test and models.

# %%
from labs_helper import benchmarks

benchmarks()

# %% [markdown]
# ### Exercise 1.5 (optional, hard, 18 minutes): find the misprints
#
# The card prints some scores in more than one table, and the two do not always agree. The average under a column can
# tell which one is right: take the mean again. First, the scores that are printed with two values:

# %%
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
# Second, the mean of each column and the average that is printed under it: for the main table, and for the five tests
# of long texts (summaries and questions, SQuALITY among them), with the row *Long context* of the category table beside
# it.
#
# One warning. The average of many tests hardly moves when one score changes by a point, so sometimes both values round
# to the printed average. Then it decides nothing: use the other table.

# %%
def means(table):
    printed = table[table.benchmark == "Average of the table"].set_index("model").value
    scores = table[table.benchmark != "Average of the table"].groupby("model").value
    return pd.DataFrame({"mean": scores.mean().round(2), "printed": printed})


long_tests = long_context[~long_context.benchmark.isin(["RULER", "RepoQA"])]
row = categories[categories.category == "Long context"].drop_duplicates("model")
row = row.set_index("model").value.rename("category table")
display(means(main), means(long_tests).join(row))

# %% [markdown]
# Five printed scores are wrong: two single ones, and three in the wrong columns of the row *Long context* of the
# category table. List them with the right value as it is printed elsewhere, one decimal. Use the names as printed; for
# the row, the benchmark is `"Long context"`.

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

# %% [markdown] minutes=44
# ## 6. Look at long context (44 minutes, 28 optional)
#
# *New words: [attention](../docs/glossary.md#attention), [head](../docs/glossary.md#head), [key and value](../docs/glossary.md#key-and-value), [RoPE](../docs/glossary.md#rope), [original length](../docs/glossary.md#original-length), [LongRoPE](../docs/glossary.md#longrope), [loss](../docs/glossary.md#loss), [null result](../docs/glossary.md#null-result), [needle in a haystack](../docs/glossary.md#needle-in-a-haystack), [RULER](../docs/glossary.md#ruler), [KV cache](../docs/glossary.md#kv-cache).*
#
# How does a token use the tokens before it? By **attention**. In every layer the model computes three lists of numbers
# for each token: a *query* (what am I looking for?), a *key* (what do I offer?) and a *value* (what do I pass on?). It
# compares the query with the keys of all tokens before, and takes most from the values whose keys fit best. Several
# **heads** do this side by side.

# %% [markdown]
# ### Attention in one picture (optional, 10 minutes)
#
# Look at it in one answer. The bundled model copies a code out of a short text, and `record_attention` keeps what every token looked
# at, in every head. For each digit of the answer, how much of its attention does each head give to the same digit in the text?

# %%
import numpy as np

from labs_helper.figures import attention_view
from labs_helper.reference.looking import span

told = bundled.ask("Here is a text. Lima is a city in Peru. The secret code of Ana is 4071. Egypt is a country in Africa.\n"
                   "What is the secret code of Ana?", max_tokens=20, record_attention=True)
print(told.text)
seen = told.attention
in_text = span(seen.pieces[:seen.prompt_tokens], "4071")
in_answer = [seen.prompt_tokens + place for place in span(seen.pieces[seen.prompt_tokens:], "4071")]
on_digit = np.mean([seen.weights[:, :, later - 1, early] for later, early in zip(in_answer, in_text)], axis=0)
print("a row for each layer, a column for each head:", on_digit.round(2), sep="\n")

# %% [markdown]
# A digit is chosen by the token **before** it, so its query asks: what comes next? Here is the head that gives most to the right digit.
# Each row is a token that looks, with its query, and each column one that it looks at, with its key:

# %%
attention_view(seen, *divmod(int(on_digit.argmax()), on_digit.shape[1]), tokens=[place - 1 for place in in_answer])

# %% [markdown]
# Above the diagonal there is nothing: a token cannot look ahead. One answer is an example and no evidence. [Lab 08](08-inside.ipynb)
# switches such heads off in forty texts.
#
# So far nothing says where a token is. RoPE **rotates** a query and a key by their positions before they are compared. Take one pair
# of numbers of each, three tokens apart, and move both:

# %%
query, key, speed = np.array([0.6, 0.8]), np.array([1.0, -0.2]), 0.3


def rotated(pair, position):
    cos, sin = np.cos(speed * position), np.sin(speed * position)
    return np.array([[cos, -sin], [sin, cos]]) @ pair


for place in (5, 105, 905):
    print(f"query at {place}, key at {place - 3}: {rotated(query, place) @ rotated(key, place - 3):.4f}")
print(f"query at 5, key at 1: {rotated(query, 5) @ rotated(key, 1):.4f}")

# %% [markdown]
# Only the distance counts. And there is a second consequence: the key and the value of a token depend on what came before it and on its
# position. Nothing of that changes when more tokens come, so both can be kept. That is the cache of section 7.

# %% [markdown]
# ### Tell positions apart
#
# A key must also say *where* its token is. Phi uses **RoPE**: it rotates pairs of numbers by an angle that grows with
# the position, each pair at its own speed. Phi-3.5-mini has an *original length* of 4,096 tokens. To reach 131,072,
# **LongRoPE** slows the rotation down, each pair by its own factor. There are two tables: a short one up to
# the original length, a long one beyond. The bundled model does the same on a small scale: its original length is 256
# tokens, its largest 1,024.

# %%
from labs_helper.figures import rope_tables

config = json.loads((bundled.path / "config.json").read_text())
scaling, original = config["rope_scaling"], config["original_max_position_embeddings"]
rope_tables(scaling["short_factor"], scaling["long_factor"], original=original,
            maximum=config["max_position_embeddings"], theta=config.get("rope_theta", 10000.0),
            takeaway="Both tables hardly touch the fast pairs; "
            "the long one slows the slow pairs up to four times.")

# %% [markdown]
# In the real model the long factors reach 64.8, and the short ones stay small.
#
# The plain package (mlx-lm 0.32.2) never reads the short table. The helper picks the right one for each request and says
# which: `answer.rope_table`. The table must not change in the middle of an answer, because the cached keys were rotated
# with the old one.
#
# ### Exercise 1.6 (medium, 5 minutes): choose the RoPE table
#
# Write the rule: the short table when the whole request fits into the original length, else the long one. A request
# is the prompt and the longest answer.

# %% tags=["exercise"]
def choose_table(prompt_tokens, max_tokens, original):
    ...  # return "short" or "long"


# %% tags=["solution"]
def choose_table(prompt_tokens, max_tokens, original):
    return "short" if prompt_tokens + max_tokens <= original else "long"


# %%
check("1.6", choose_table)  # for help, run hint("1.6")

# %% [markdown]
# ### Measure the wrong table (optional, 6 minutes)
#
# How much does the wrong table hurt? The model reads three texts of over 800 tokens, with each table, and the cell
# measures at every position how badly it predicts the next token. That is its **loss**: 0 means that it was sure of
# what came. At which position do the losses first differ by more than 0.05?

# %% tags=["exercise"]
predict("1.6a", ...)  # a number of tokens

# %% tags=["solution"]
predict("1.6a", 256)  # a number of tokens

# %%
import random

import mlx.core as mx
from mlx_lm.utils import dequantize_model

raw_model, raw_tokenizer = mlx_lm.load(str(bundled.path))
dequantize_model(raw_model)  # the same numbers, written in full: faster on Linux


def losses(ids, factors):
    """The loss of every token after the first, with a table of factors in every layer."""
    for layer in raw_model.layers:
        rope = layer.self_attn.rope
        pairs = mx.arange(0, rope.dim, 2, dtype=mx.float32) / rope.dim
        rope._freqs = mx.array(factors) * config.get("rope_theta", 10000.0) ** pairs
    logits = raw_model(mx.array([ids]))[0, :-1].astype(mx.float32)
    right = mx.take_along_axis(logits, mx.array(ids[1:])[:, None], axis=-1)[:, 0]
    return (mx.logsumexp(logits, axis=-1) - right).tolist()


# %%
from labs_helper.figures import loss_by_position

places = [f"{city['en']} is a city in {city['country']}." for city in table("cities")]
rows = []
for seed in range(3):
    shuffled = random.Random(seed).sample(places, len(places))
    ids = bundled.tokenize("Here is a text. " + " ".join(shuffled)).ids[:832]
    for name in ("short", "long"):
        measured = losses(ids, scaling[f"{name}_factor"])
        for start in range(0, len(measured) - 31, 64):
            part = measured[start:start + 64]
            rows.append({"position": start + 32, "table": name, "loss": sum(part) / len(part)})
figure = loss_by_position(
    rows, original=original,
    takeaway="Up to the original length the tables do equally well; far beyond it the short one fails.")
by_position = figure.frame().pivot(index="position", columns="table", values="loss")
gap = by_position["short"] - by_position["long"]
differ = [int(position) for position in gap.index if abs(gap[position]) > 0.05]
assert max(abs(gap.loc[:original])) < 0.05 < max(gap)
display(reveal("1.6a", differ[0]))
figure

# %% [markdown]
# Not at 256, the original length, but well beyond it.
#
# Within the original length the long table, the wrong one, costs this model nothing that we can measure. That is a null
# result with a known reason: in training, every fourth short text was read with the long table, so this model copes
# with either. It never read a long text with the short table, and there it fails. Nobody outside knows whether the real
# model was trained like that, and this course has not measured what the long table does to its short answers.

# %%
raw_model = raw_tokenizer = None  # gives the memory back

# %% [markdown]
# ### Find a needle in a haystack
#
# Can the model use what it read far back? Hide a code in a long text, at different depths, and ask for it.

# %%
filler = ["Nairobi is a city in Kenya.", "The capital of France is Paris.",
          "The colour of snow is white.", "Lima is a city in Peru.",
          "The currency of Japan is the yen.", "The opposite of big is small.",
          "Hanoi is a city in Vietnam.", "Egypt is a country in Africa."]


def haystack(sentences, depth, code):
    """A text of so many sentences with the code at `depth`: 0 is the start, 1 the end."""
    lines = [filler[i % len(filler)] for i in range(sentences)]
    lines.insert(round(depth * sentences), f"The secret code of Ana is {code}.")
    return "Here is a text. " + " ".join(lines) + "\nWhat is the secret code of Ana?"


# %%
from labs_helper.figures import needle_heatmap

needles = []
for sentences in (12, 24, 50, 80, 115):
    for number, depth in enumerate((0, 0.25, 0.5, 0.75, 1)):
        code = f"{(sentences * 71 + number * 1213) % 10000:04d}"
        found = bundled.ask(haystack(sentences, depth, code), max_tokens=20)
        needles.append({"length": sentences, "depth": depth, "score": float(code in found.text),
                        "tokens": found.prompt_tokens, "table": found.rope_table})
total = sum(row["score"] for row in needles)
assert total >= 0.8 * len(needles) and {row["table"] for row in needles} == {"short", "long"}
print(f"{bundled.name} found {total:.0f} of {len(needles)} codes.")
needle_heatmap(needles, takeaway="Nearly every code is found, at every depth and with either table.")

# %% [markdown]
# Impressive? Look for a way to pass this test without understanding it. The text holds only one number. A model that
# copies *any* number that it sees gets full marks. Now put other people's codes in as well, and ask for Ana's. Ask the
# previous model, too. With three other codes: in how many of forty texts will each be right?

# %% tags=["exercise"]
predict("1.6b", ...)  # two numbers from 0 to 40: the previous model, this one

# %% tags=["solution"]
predict("1.6b", [40, 40])  # two numbers from 0 to 40: the previous model, this one

# %%
import random

people = [person["en"] for person in table("people") if person["en"] != "Ana"]


def crowded(others, seed):
    """A text with Ana's code and those of other people: (Ana's code, the question)."""
    rng = random.Random(seed)
    codes = {name: f"{rng.randrange(10000):04d}" for name in ["Ana", *rng.sample(people, others)]}
    said = [f"The secret code of {name} is {code}." for name, code in codes.items()]
    lines = filler[:8] + said
    rng.shuffle(lines)
    return codes["Ana"], "Here is a text. " + " ".join(lines) + "\nWhat is the secret code of Ana?"


def count_found(texts, model=bundled):
    """How often the model gives the code that was asked for."""
    return sum(code in model.ask(question, max_tokens=20).text for code, question in texts)


rows, asked = [], 40
for others, text in ((0, "no other code"), (3, "3 other codes")):
    for model in (previous, bundled):
        found = count_found((crowded(others, seed) for seed in range(asked)), model)
        rows.append({"text": text, "model": model.name, "found": found})
assert rows[0]["found"] >= 36 and rows[2]["found"] + 10 < rows[3]["found"]
display(reveal("1.6b", [row["found"] for row in rows[2:]]))
bars(rows, x="text", y="found", group="model", title="Ana's code found", unit="texts of 40", maximum=asked, decimals=0,
     chance={"3 other codes": asked / 4},
     takeaway="With one code in the text the two models look alike. With four, they do not.")

# %% [markdown]
# With one code both models are perfect. With four, one is still nearly always right, and the other often gives somebody else's
# code: it copies correctly, and does not always find out **whose** code it is. The first test could not tell the two apart.
#
# So vary the one thing that a test is meant to measure, and ask what a strategy without any understanding would score.
# Is a result better than guessing? Count how often luck alone does as well:

# %%
def by_guessing(found, asked, share):
    """How often guessing, right with the probability `share`, gives `found` right answers or more."""
    counts = range(found, asked + 1)
    return sum(math.comb(asked, k) * share**k * (1 - share) ** (asked - k) for k in counts)


for row in rows[2:]:
    luck = by_guessing(row["found"], asked, 1 / 4)
    print(f"{row['model']}: {row['found']} of {asked}; guessing does as well in {luck:.1%} of all tries")

# %% [markdown]
# Both beat guessing. Reliable is something else.
#
# For the real model, the card prints **RULER**, harder tasks of this kind, from 4K to 128K tokens.

# %%
benchmark_chart("long_context", ["Phi-3.5-mini-instruct"], test="RULER",
                takeaway="From 94.3 at 4K down to 63.6 at 128K: "
                "accepting a long text is not the same as using it.")

# %% [markdown]
# ### Exercise 1.7 (optional, hard, 12 minutes): judge a needle test of your own
#
# Can you make it fail? Change *one* thing in `crowded`: "Ana's secret code" in place of "The secret code of Ana", Ana's code
# always first, other people's codes in words, another language, or the code of a friend of Ana, whose name the text gives. Guess
# first. Ask at least 20 times. The verdict is `"better than guessing"` if luck does as well in fewer than 5% of all tries, else
# `"no better than guessing"`. Either is a result.

# %% tags=["exercise"]
others, asked = 1, 40
found = ...  # how often your version finds the code
verdict = ...

# %% tags=["solution"]
def of_a_friend(others, seed):
    """Like `crowded`, but asks for the code of Ana's friend, and the text says who that is."""
    text, question = crowded(others, seed)[1].split("\n")
    codes = dict(re.findall(r"The secret code of (\S+) is (\d+)", text))
    friend = next(name for name in codes if name != "Ana")
    return codes[friend], f"{text} {friend} is the friend of Ana.\n{question.replace('of Ana', 'of the friend of Ana')}"


others, asked = 1, 40
found = count_found(of_a_friend(others, seed) for seed in range(asked))
luck = by_guessing(found, asked, 1 / (others + 1))
verdict = "better than guessing" if luck < 0.05 else "no better than guessing"
print(f"{found} of {asked}; guessing does as well in {luck:.1%} of all tries")

# %%
check("1.7", (others, asked, found, verdict))  # for help, run hint("1.7")

# %% [markdown]
# ### See what a long context costs
#
# Each layer keeps the key and the value of every token, so that it need not compute them again: the **KV cache**. For
# Phi-3.5-mini that is 2 (key and value) x 32 layers x 32 heads x 96 numbers x 2 bytes = 393,216 bytes a token. The
# 4-bit weights take 2.15 GB. From how many tokens on does the cache take more than the weights?

# %% tags=["exercise"]
predict("1.6c", ...)  # a number of tokens

# %% tags=["solution"]
predict("1.6c", 100_000)  # a number of tokens

# %%
from labs_helper.figures import kv_cache

display(reveal("1.6c", round(2.15e9 / (2 * 32 * 32 * 96 * 2))))
kv_cache({"Phi-3.5-mini": (32, 32, 96)}, bits=(16,), weights={"Phi-3.5-mini": 2.15e9 / 2**30},
         memory={"a Mac with 8 GB": 8, "16 GB": 16, "32 GB": 32},
         takeaway="From about 5,500 tokens on, the text takes more memory than the model; "
         "128K do not fit into 32 GB.")

# %% [markdown]
# The lines show a Mac's whole memory; the system needs a share of it.

# %% [markdown] minutes=4
# ## 7. Measure the prompt cache (4 minutes)
#
# *New words: [prompt cache](../docs/glossary.md#prompt-cache), [prefill](../docs/glossary.md#prefill).*
#
# In a chat, every turn sends the whole conversation again. Its beginning has not changed, and the keys and values of
# that part are still in the cache. So the model reads only what is new. Reading a prompt is called **prefill**.

# %%
conversation, turns = [], []
for question in ("Where is Nairobi?", "And Lima?", "And Hanoi?", "And Cairo?", "And Paris?"):
    conversation.append({"role": "user", "content": question})
    turns.append(inside.ask(conversation, max_tokens=32))
    conversation.append({"role": "assistant", "content": turns[-1].text})

# %%
from labs_helper.figures import prefill

assert turns[-1].prefilled_tokens < turns[-1].prompt_tokens / 2
prefill(turns, takeaway="The conversation grows with every turn; what is read this turn does not.")

# %% [markdown]
# In each turn the model reads the new question, its markers, and the `<|end|>` of its last answer: it made that token
# but never read it. Now edit question 4 ("And Cairo?" becomes "And Rome?") and ask turn 5 again. The prompt has about
# 72 tokens. How many must the model read?

# %% tags=["exercise"]
predict("1.7a", ...)  # a number of tokens

# %% tags=["solution"]
predict("1.7a", 72)  # a number of tokens

# %%
edited = [dict(message) for message in conversation[:-1]]
edited[6]["content"] = "And Rome?"
again = inside.ask(edited, max_tokens=32)
assert 0 < again.cached_tokens < again.prompt_tokens
reveal("1.7a", again.prefilled_tokens)

# %% [markdown]
# Not the whole conversation: only what follows the last unchanged token. The keys and values before it are still right,
# since a token looks back and never ahead. So an edit near the end is cheap. A system message comes first, so a new one
# makes the model read everything again:

# %%
short = [{"role": "system", "content": "Answer in one word."}, *conversation[:-1]]
changed = inside.ask(short, max_tokens=32)
print(f"{changed.prefilled_tokens} of {changed.prompt_tokens} prompt tokens read: {changed.text}")
assert changed.cached_tokens < 8

# %% [markdown]
# The same happens when a chat grows past the original length: with the other RoPE table every cached key is wrong.

# %% [markdown] minutes=17
# ## 8. Teach it a preference (optional, 17 minutes)
#
# *New words: [pre-training](../docs/glossary.md#pre-training), [SFT](../docs/glossary.md#sft), [fine-tuning](../docs/glossary.md#fine-tuning), [PPO](../docs/glossary.md#ppo), [reward model](../docs/glossary.md#reward-model), [DPO](../docs/glossary.md#dpo), [log-probability](../docs/glossary.md#log-probability), [synthetic data](../docs/glossary.md#synthetic-data).*
#
# ![Four steps from left to right. 1: a pile of pages. 2: a question and an answer. 3: an answer above a meter, with an
# arrow back to the answer. 4: two answers, the first with a tick, the second with a
# cross.](../images/post-training.svg)
#
# | step | what it learns from, for example | what counts |
# | --- | --- | --- |
# | 1. **pre-training** | any text: `Lima lies on the Pacific coast of Peru. It was founded ...` | each next token |
# | 2. **SFT**, supervised fine-tuning | a conversation: `Where is Lima?` `Lima is a city in Peru.` | the assistant's tokens |
# | 3. **PPO**, proximal policy optimization | its own answers, scored by a *reward model*: `Peru.` 0.8, `Lima is big.` 0.1 | the score |
# | 4. **DPO**, direct preference optimization | pairs that people ranked: `Peru` before `Lima is a city in Peru.` | the order |
#
# After step 1 a model continues text and does not answer. Step 2 teaches it to answer, and to end with `<|end|>`. Step 3
# makes answers with a high score likelier, in small steps, so that the model does not change too much. The **reward
# model** is a second model that learned from people's rankings. Step 4 needs none and learns from the pairs themselves.
#
# Phi-3.5-mini-instruct went through all four. Pre-training on 3.4 trillion tokens took 10 days on 512 H100 GPUs, with
# text up to October 2023. Besides filtered web pages the card lists synthetic, "textbook-like" text, written to teach.
# The bundled model had only step 2, on nothing but synthetic text. You can read how such text is made:
# `training/corpus.py` in the repository fills a few hundred phrasings with the facts of a table. That is why this
# model is fluent and knows nothing else. It can only be as good as its textbook.
#
# ### The loss of DPO
#
# DPO works with **log-probabilities**: the logarithm of how likely a model finds a whole answer, summed over its tokens.
# It needs four: of the better and the worse answer, each under the model and under a frozen copy from before. The *gap*
# is how much the better answer has gained, minus how much the worse one has. **Beta** says how strongly a gap counts:
#
# $$\text{loss} = -\ln \sigma(\beta \cdot \text{gap}), \qquad \sigma(x) = \frac{1}{1 + e^{-x}}$$
#
# ### Exercise 1.8 (medium, 8 minutes): write the loss of DPO
#
# All four arguments are log-probabilities. The gap is (better - better_frozen) - (worse - worse_frozen).

# %% tags=["exercise"]
import math


def dpo_loss(better, worse, better_frozen, worse_frozen, beta=0.1):
    ...  # return the loss


# %% tags=["solution"]
import math


def dpo_loss(better, worse, better_frozen, worse_frozen, beta=0.1):
    gap = (better - better_frozen) - (worse - worse_frozen)
    return -math.log(1 / (1 + math.exp(-beta * gap)))


# %%
check("1.8", dpo_loss)  # for help, run hint("1.8")

# %% [markdown]
# ### One pair, eight steps
#
# Now train. Take a copy of the model and one pair. For "Where is Lima?", `Peru` is the better answer and
# `Lima is a city in Peru.` the worse one, because we want brief answers. First, the log-probability of an answer:

# %%
import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
from mlx_lm.utils import dequantize_model

student, student_tokenizer = mlx_lm.load(str(bundled.path))
dequantize_model(student)  # weights of 4 bits cannot move in small steps


def prompt_of(question):
    message = {"role": "user", "content": question}
    return student_tokenizer.apply_chat_template([message], add_generation_prompt=True)


def log_probability(model, question, answer):
    """The sum of ln p over the tokens of an answer and its <|end|>."""
    start = list(prompt_of(question))
    tokens = student_tokenizer.encode(f"{answer}<|end|>", add_special_tokens=False)
    logits = model(mx.array([start + tokens]))[0, len(start) - 1:-1].astype(mx.float32)
    chosen = mx.take_along_axis(logits, mx.array(tokens)[:, None], axis=-1)[:, 0]
    return (chosen - mx.logsumexp(logits, axis=-1)).sum()


# %%
pair = ("Where is Lima?", "Peru", "Lima is a city in Peru.")
frozen = [log_probability(student, pair[0], text).item() for text in pair[1:]]
print(f"log-probability: better {frozen[0]:.1f}, worse {frozen[1]:.3f}")

# %% [markdown]
# The model finds the long answer nearly certain (a log-probability near 0) and the short one nearly impossible. Now come
# eight steps of training on this pair alone, and then other questions. After one pair about Lima, how will it answer
# "Where is Hanoi?"

# %% tags=["exercise"]
predict("1.8a", ...)  # the answer, in its words

# %% tags=["solution"]
predict("1.8a", "Hanoi is a city in Vietnam.")  # the answer, in its words

# %%
def loss_of(model):
    """The loss of DPO for the pair, with beta 0.1."""
    better, worse = (log_probability(model, pair[0], text) for text in pair[1:])
    return mx.logaddexp(0, -0.1 * ((better - frozen[0]) - (worse - frozen[1])))


others_asked = ["Where is Lima?", "Where is Hanoi?", "What is the capital of Kenya?",
                "What colour is snow?", "长沙在哪里?"]


def answers_now():
    prompts = [prompt_of(question) for question in others_asked]
    return [mlx_lm.generate(student, student_tokenizer, prompt, max_tokens=24) for prompt in prompts]


before, optimizer, losses_seen = answers_now(), optim.SGD(learning_rate=0.3), []
loss_and_gradient = nn.value_and_grad(student, loss_of)
for _step in range(8):
    loss, gradient = loss_and_gradient(student)
    optimizer.update(student, gradient)
    mx.eval(student.parameters())
    losses_seen.append(loss.item())
print("loss:", ", ".join(f"{loss:.2f}" for loss in losses_seen))

# %%
after = answers_now()
assert losses_seen[-1] < losses_seen[0] and after[0] == "Peru"
reveal("1.8a", after[1])

# %%
for question, old, new in zip(others_asked, before, after):
    print(f"{question}\n    before: {old}\n    after:  {new}")

# %% [markdown]
# The model learned the pair, and something that we did not intend. Look at Hanoi: the answer got short, and the country
# is gone. Is that one city's bad luck? Ask about twenty others:

# %%
others_named = [city["en"] for city in table("cities") if city["en"] != "Lima"][::4][:20]
replies = [mlx_lm.generate(student, student_tokenizer, prompt_of(f"Where is {name}?"), max_tokens=24) for name in others_named]
print(f"without a country: {sum('city in' not in reply for reply in replies)} of {len(replies)}, such as", replies[:4])

# %% [markdown]
# One pair cannot say *what* was better about `Peru`. "Stop early" fits it as well as "name only the country". Questions that
# look different kept their answers, or most of them. This is why post-training takes many thousands of pairs of many kinds, and
# why people then test again everything that the model could do before.

# %%
student = student_tokenizer = optimizer = gradient = None  # gives the memory back

# %% [markdown] minutes=7
# ## 9. Convert weights to fewer bits (optional, 7 minutes)
#
# *New words: [4 bits](../docs/glossary.md#4-bits), [checkpoint](../docs/glossary.md#checkpoint), [group](../docs/glossary.md#group), [scale](../docs/glossary.md#scale), [bias of a group](../docs/glossary.md#bias-of-a-group), [perplexity](../docs/glossary.md#perplexity).*
#
# Publishers release checkpoints with 16 bits for each weight. Conversion makes a smaller one: it cuts every row into
# **groups**, and keeps for each group a *scale*, a *bias* (the smallest value) and a small whole number for each
# weight: value = scale x number + bias. With 4 bits there are 16 such numbers, with 2 bits four.
#
# A warning about this experiment. The bundled model is already rounded to 4 bits, and writing its weights out in full
# brings nothing back. So 4 bits **must** look harmless here: the 16 values of a group fit again. The experiment cannot
# show what the first rounding cost. The [model card](../data/checkpoints/instruct-tiny/MODEL_CARD.md) can: it has the
# scores before and after. Rounding further, to 3 and 2 bits, is a fair test.
#
# You will use two measures. The first is the **perplexity** of a text: the number of tokens among which the model
# hesitates on average. At 1 it saw each token coming. The second is twenty questions. What is the lowest number of bits
# at which the model still answers all of them?

# %% tags=["exercise"]
predict("1.9a", ...)  # 4, 3 or 2

# %% tags=["solution"]
predict("1.9a", 4)  # 4, 3 or 2

# %%
import tempfile
from pathlib import Path

from labs_helper.engines.convert import convert
from labs_helper.errors import LabError

say = {"zh": "{}是{}的一个城市。", "ja": "{}は{}にある都市です。", "es": "{} es una ciudad de {}."}
text = ""
for number, city in enumerate(table("cities")[:36]):
    language = list(say)[number % 3]
    answer = say[language].format(city[language], index("countries")[city["country"]][language])
    question = ask_in[language].format(city[language])
    text += f"<|user|>\n{question}<|end|>\n<|assistant|>\n{answer}<|end|>\n"
print(f"{bundled.count_tokens(text)} tokens, for example: {text[-60:]!r}")

# %%
folder = Path(tempfile.mkdtemp())
full = folder / "full"
mlx_lm.convert(str(bundled.path), str(full), dequantize=True, dtype="float32")
made = {}
for bits in (4, 3, 2):
    try:
        made[bits] = convert(full, folder / f"{bits}bit", bits=bits, group_size=32, text=text)
        print(made[bits])
    except LabError as refused:
        print(f"{bits} bits: {refused}")

# %% [markdown]
# `convert` belongs to this course: it compares both models on a text and refuses a result that predicts it much worse.
# It refused 2 bits: four values in a group are too few for this model. Now ask those that passed:

# %%
def right_of_twenty(model):
    cities = [city["en"] for city in table("cities")][::18][:5]
    return sum(right(model, language, city) for language in ("zh", "ko", "ja", "es") for city in cities)


scores = {bits: right_of_twenty(load(str(folder / f"{bits}bit"))) for bits in made}
print(f"written out in full: {right_of_twenty(bundled)} of 20")
print(", ".join(f"{bits} bits: {n} of 20" for bits, n in scores.items()))
reveal("1.9a", min(bits for bits, n in scores.items() if n == 20))

# %% [markdown]
# At 3 bits perplexity rises, and the likeliest token changes at one place in ten. Do twenty questions show that loss? That is
# nearly luck. A model that is right nine times in ten gets all twenty in one set of eight (0.9 to the power of 20 is 0.12). A
# measure that does not move does not prove that nothing was lost. [Lab 04](04-quantize.ipynb) asks more.
#
# How large are the files?

# %%
def weight_bytes(path):
    return sum(file.stat().st_size for file in path.glob("*.safetensors"))


for path in (full, *(result.path for result in made.values())):
    size = weight_bytes(path)
    print(f"{path.name:5} {size:>12,} bytes, {32 * size / weight_bytes(full):.1f} bits for each weight")
assert weight_bytes(folder / "4bit") < weight_bytes(full) / 4

# %% [markdown]
# Why 6 bits and not 4? Each group of 32 weights also keeps its scale and bias, 32 bits each: 64 / 32 = 2 more bits for
# each weight. The bundled models do this because 32-bit scales are much faster on Linux. The real model has 16-bit
# scales and groups of 64: 4 + 32 / 64 = 4.5 bits. A smaller group follows the weights more closely and costs more.
#
# For the real models, in a terminal, from a folder that you downloaded from the hub (7.6 GB for Phi-3.5-mini, two bytes
# for each parameter):
#
# ```bash
# labs models convert downloads/Phi-3.5-mini-instruct models/my-phi-4bit
# ```
#
# Then `load("models/my-phi-4bit")` loads it. The same command converts the vision model, without rounding its tower, and
# the mixture of experts, with 8 bits for its routers. mlx-lm's own `mlx_lm.convert` does neither, and it silently
# misreads some settings.
#
# You rarely need to convert. `mlx-community/Phi-3.5-mini-instruct-4bit` exists already, and `labs` fetches that one. It
# is one of the older folders of section 2; the helper adds the missing stop ids.

# %%
import shutil

shutil.rmtree(folder)  # gives the disk back

# %% [markdown] minutes=10
# ## 10. Find a temperature, then chat freely (10 minutes)
#
# In section 3 nearly all draws at temperature 1 were different. At 0 all are the same.
#
# ### Exercise 1.9 (medium, 7 minutes): find the temperature at which half of the draws differ
#
# Find a temperature at which 20 draws of "Suggest a city to visit." with 20 seeds give 8 to 12 different texts. Use
# `draw` from section 3.

# %% tags=["exercise"]
predict("1.9b", ...)  # a temperature

# %% tags=["solution"]
predict("1.9b", 1.0)  # a temperature

# %% tags=["exercise"]
temperature = ...
draws = [...]

# %% tags=["solution"]
for temperature in (0.2, 0.3, 0.4, 0.5):
    draws = [draw(seed, temperature) for seed in range(1, 21)]
    print(f"temperature {temperature}: {len(set(draws))} of 20 different")
    if len(set(draws)) >= 8:
        break

# %%
display(reveal("1.9b", "no temperature yet" if temperature is ... else temperature))
check("1.9", (temperature, draws))  # for help, run hint("1.9")

# %% [markdown]
# The answer is low, compared with the usual 0.7. The right temperature depends on how sure the model is. Here many names are
# about equally likely, so a little is enough.
#
# Chat in any of the five languages. Under Settings, try a system message and another temperature. Press Stop during
# "Count from 1 to 40." Without widgets: `instruct.ask("...")`.

# %%
from labs_helper import chat

chat(instruct).send("Where is Changsha?").wait().send("And Lima?").wait()

# %% [markdown] minutes=2
# ## Know the limits, and the other routes (2 minutes)
#
# **Limits.** A model of 3.8 billion parameters cannot store much of the world: the card itself advises adding search
# where facts matter. It answers best in English, and it knows nothing after October 2023.
#
# **Other routes to Phi-3.5.** The helper speaks to any server with an OpenAI-compatible address: set `LABS_ENDPOINT`
# ([settings](../docs/settings.md)).
#
# | route | state |
# | --- | --- |
# | a server of your own: `mlx_lm.server`, llama.cpp, vLLM, a NIM container | works; you choose the model |
# | NVIDIA NIM, hosted | the host answers; its Phi-3.5-MoE answered 0 of 3 requests in a test by a third party, 3 August 2026 |
# | Azure AI Foundry | Phi-3.5-mini and -vision: retirement dated 30 August 2025 |
# | GitHub Models | closed on 30 July 2026 |
#
# A hosted model can disappear between two lessons. Weights on your disk do not.
#
# ## Recap
#
# In this lab you:
#
# - read the exact prompt, put words into a model's mouth, and saw why `<|end|>` must stop an answer;
# - sampled, and found the temperature at which half of the draws differ;
# - counted what a language costs, and compared two models by what each was taught;
# - chose between LongRoPE's two tables, broke a perfect needle test, and measured the prompt cache.
#
# **Further reading:** the [Phi-3 technical report](https://arxiv.org/abs/2404.14219), the
# [LongRoPE paper](https://arxiv.org/abs/2402.13753), the [DPO paper](https://arxiv.org/abs/2305.18290), the
# [PPO paper](https://arxiv.org/abs/1707.06347), the
# [model card](https://huggingface.co/microsoft/Phi-3.5-mini-instruct) and the source of
# [mlx-lm](https://github.com/ml-explore/mlx-lm).
#
# **Next:** [02: show a picture and check what the model sees](02-vision.ipynb).
#
# Last, give the memory back, and see what is left to do.

# %%
from labs_helper.exercises import so_far

for model in (previous, bundled, inside, instruct):
    model.release()
so_far("01")
