# %% [markdown]
# # Show Phi-3.5-vision a picture and check what it sees
#
# **You will do:** ask about pictures, cut them into tiles, catch the plain package misreading wide pictures, and try the
# seven uses that the model's card names, from a small machine to a clip of ten frames.
#
# **You will learn:** how a picture becomes tokens and what it costs, how a vision model fails and how to notice, how a chart
# becomes a table again, and how to choose frames of a clip.
#
# **You will need:**
#
# | | with the bundled model | with the real Phi-3.5-vision |
# | --- | --- | --- |
# | time | 2 hours 45 minutes; 2 minutes to run all cells | the same, and the download |
# | free memory | 1 GB | 10 GB at 4 bits, 16 GB at 8, on a Mac with Apple silicon; elsewhere [a server](../docs/models.md) |
# | download | nothing | 2.33 GB, once, and only when you ask for it |
#
# Before this: [00: start the course](00-start-here.ipynb). Helpful: [01: Instruct](01-instruct.ipynb), sections 2 and 6.
# The [glossary](../docs/glossary.md) explains the terms.

# %%
from labs_helper import check_setup

check_setup("02")

# %%
from labs_helper import check, hint, load, predict, reveal

vision = load("vision")
print(f"{vision.name} answers in this notebook. Why: {vision.reason}.")

# %% [markdown]
# `vision-tiny` has the architecture of Phi-3.5-vision (`phi3_v`) and about a thousandth of its size. This course trained it
# on pictures that the project draws: shapes, signs, charts, tables, pairs and short clips. It has never seen a photograph.
# **It is often wrong, and this lab shows you where.** Its [model card](../data/checkpoints/vision-tiny/MODEL_CARD.md) counts
# the errors, task by task.
#
# What you learn here about tiles, tokens, prompts and speed holds for the real model too. What you learn about mistakes is
# about `vision-tiny`; the methods for finding them hold for every model. Where the two differ, the text says so.
#
# The card of Phi-3.5-vision names seven uses. This lab tries each, and so do its pictures:
#
# | use | in the list | section |
# | --- | --- | --- |
# | little memory and computing power | memory | 4 |
# | quick answers | latency | 5 |
# | general image understanding | general | 6 |
# | reading text | ocr | 7 |
# | charts and tables | charts | 8 |
# | comparing several pictures | compare | 9 |
# | summarising a clip | clip | 10 |
#
# Both models can answer questions about the pictures in the next list. `picture("...")` finds one by its name, with a question
# and the true answer.

# %%
from IPython.display import display

from labs_helper.figures import listing
from labs_helper.pictures.gallery import course_pictures, picture

both = [shot for shot in course_pictures() if shot.models == "both" and shot.set != "crossing"]
listing([{"picture": shot.name, "use": shot.scenario, "question": shot.question} for shot in both])

# %% [markdown] minutes=6
# ## 1. Ask about a picture (6 minutes)

# %%
sign = picture("three-words.png")
sign

# %%
answer = vision.ask(sign.question, images=sign)
print("Asked:  ", sign.question)
print("Truth:  ", sign.answer)
print("Answer: ", answer.text)

# %% [markdown]
# `images=` takes a picture of the course, a path, or a picture from Pillow or NumPy. Several go into a list.
#
# **Guess first.** The prompt holds your question, the chat markers and the picture. How many of its tokens are the picture?
# Put a number in place of the dots. Nobody grades a guess. Writing it down makes you notice what surprises you.

# %% tags=["exercise"]
predict("2.1a", ...)

# %% tags=["solution"]
predict("2.1a", 100)

# %%
display(reveal("2.1a", sum(answer.image_tokens)), answer)

# %% [markdown]
# Nearly the whole prompt is the picture. The next section counts its tokens one by one.

# %% [markdown] minutes=18
# ## 2. See how a picture becomes tokens (18 minutes)
#
# *New words: [CLIP tower](../docs/glossary.md#clip-tower), [tile](../docs/glossary.md#tile), [global view](../docs/glossary.md#global-view), [patch](../docs/glossary.md#patch), [cell of a picture](../docs/glossary.md#cell-of-a-picture), [projection](../docs/glossary.md#projection), [separator](../docs/glossary.md#separator), [crop](../docs/glossary.md#crop), [frame](../docs/glossary.md#frame).*
#
# The part of the model that sees is a **tower**, a transformer for pictures. The real model uses a **CLIP** tower, trained
# on pairs of pictures and captions until each picture landed near its own caption ([Radford et al. 2021](https://arxiv.org/abs/2103.00020)).
# So its vectors say what a caption would say. The tower of `vision-tiny` has the same form, but learned from drawings.
#
# The tower takes squares of 336 x 336 pixels and nothing else. So a picture is scaled, its ratio of width to height kept,
# filled up with white, and cut into **tiles** of that size. One more view, the **global view**, shows all of it in one tile.

# %%
from labs_helper.figures import tile_view

tile_view(picture("huge-sign.png"), num_crops=4)

# %% [markdown]
# The tower cuts a tile into 24 x 24 patches of 14 pixels. Four neighbours merge into one **cell**: 12 x 12 cells of 28 pixels,
# 144 vectors. A small network, the **projection**, gives each vector the width that the language model expects. From there on
# the model treats it like the vector of a token. Learned **separators** mark the lines: one at the end of each line of
# cells, and one between the tiles and the global view.
#
# `num_crops` is the largest number of tiles. The card advises 16 for one picture and 4 for several frames. The real model's
# files say 4, the bundled model's say 1.
#
# ### Exercise 2.1 (medium, 8 minutes): write the cost of a picture as a function
#
# A picture has `rows` x `columns` tiles. How many tokens does it cost? A line of cells runs through all tiles of a row.

# %% tags=["exercise"]
def picture_tokens(rows, columns):
    ...  # cells of all tiles and of the global view, line ends, and one separator


# %% tags=["solution"]
def picture_tokens(rows, columns):
    cells = (rows * columns + 1) * 12 * 12
    line_ends = rows * 12 + 12
    return cells + line_ends + 1


# %%
check("2.1", picture_tokens)

# %% [markdown]
# Every exercise has hints. Run the next cell when you are stuck, and again for one more.

# %%
hint("2.1")

# %% [markdown]
# Compare your function with a real request. The prompt marks the places of picture 1 with the id -1 and those of picture 2
# with -2. No token has these ids: the vectors of the picture go there.

# %%
prompt = vision.prompt(sign.question, images=sign)
shown = [token_id for token_id in prompt.ids if token_id < 0]
print(f"{len(prompt.ids)} tokens, {len(shown)} of them are the picture\n")
print(prompt.text)

# %% [markdown]
# The tag `<|image_1|>` belongs in the user's turn, before the question, with a new line after it. The card of
# Phi-3.5-vision gives this form.
#
# **One vector for 28 x 28 pixels: is that fine enough to read?** `draw_word` draws a word with each letter in the middle of a
# cell. `down=` moves it by pixels.

# %%
from labs_helper.figures import side_by_side
from labs_helper.pictures.drawing import draw_bars, draw_shapes, draw_word

side_by_side([draw_word("TAXI"), draw_word("TAXI", down=14)])

# %% [markdown]
# A cell is 28 pixels high. Move the word down, 4 pixels at a time. At which shift does the model first misread it?

# %% tags=["exercise"]
predict("2.2a", ...)

# %% tags=["solution"]
predict("2.2a", 12)

# %%
shifts = (0, 4, 8, 12, 14, 16, 20, 28)
moved = []
for shift in shifts:
    told = [vision.ask("What does the sign say?", images=draw_word(word, down=shift)).text for word in ("TAXI", "WOLF")]
    moved.append({"pixels down": shift, "TAXI": told[0], "WOLF": told[1]})
failed = [row["pixels down"] for row in moved if "TAXI" not in row["TAXI"]]
display(reveal("2.2a", failed[0] if failed else "never"), listing(moved))

# %% [markdown]
# The same word, the same size, a few pixels lower, and `vision-tiny` reads nonsense. At 28 pixels it reads again. So the
# word is not too low. It fails where the letters lie on the border between two lines of cells and each cell gets half a letter.
# The period of 28 pixels points to that. Nearly all pictures of its training kept letters away from these borders, so little
# taught it to join two halves. Nobody has tested the real model for this here.
#
# So what? Before you trust a vision model with a kind of picture, move the picture a little and ask again.

# %% [markdown] minutes=24
# ## 3. Find out where the plain package goes wrong (24 minutes)
#
# `mlx_vlm` runs such models on MLX. You need two calls: `load` and `generate`. One repair comes before them, because the
# package has the sizes of the real tower built in and the bundled tower is smaller. As in lab 01, call a model that
# you loaded yourself from cells only, not from widgets.

# %%
import mlx_vlm
import transformers

from labs_helper.corrections import vision as repairs

transformers.logging.set_verbosity_error()  # it warns of a model type that it does not know; mlx_vlm does
print("Repaired:", *repairs.apply("sizes"))
raw_model, raw_processor = mlx_vlm.load(str(vision.path))
raw = mlx_vlm.generate(raw_model, raw_processor, prompt.text, image=[str(sign.path)], max_tokens=40, verbose=False)
print(raw.text)

# %% [markdown]
# For a square picture in one tile and a prompt in the card's form, the plain package is right. With other pictures or prompts,
# three things go wrong (mlx-vlm 0.7.10).
#
# **1. A word is lost.** Without a new line after the tag, the first token after the picture disappears. The package's own
# prompt builder writes the tag in exactly this way.

# %%
def tail(processor, text):
    ids = processor(text=text, images=[sign.image])["input_ids"].tolist()[0]
    return processor.tokenizer.decode([token_id for token_id in ids if token_id >= 0])


print(tail(raw_processor, "<|user|>\n<|image_1|>\nRead the blue word.<|end|>\n<|assistant|>\n"))
print(tail(raw_processor, "<|user|>\n<|image_1|>Read the blue word.<|end|>\n<|assistant|>\n"))

# %% [markdown]
# Does the lost word change the answers? Ask about six words, with the new line and without. How many of the six does the model
# read right without it?

# %% tags=["exercise"]
predict("2.3a", ...)

# %% tags=["solution"]
predict("2.3a", 0)

# %%
words = ("OPEN", "TAXI", "LION", "WOLF", "TRAIN", "BEACH")
forms = {"with": "<|user|>\n<|image_1|>\nRead the sign.<|end|>\n<|assistant|>\n",
         "without": "<|user|>\n<|image_1|>Read the sign.<|end|>\n<|assistant|>\n"}
right = dict.fromkeys(forms, 0)
for word in words:
    for name, form in forms.items():
        said = mlx_vlm.generate(raw_model, raw_processor, form, image=[draw_word(word)], max_tokens=20, verbose=False)
        right[name] += word in said.text
display(reveal("2.3a", right["without"]), right)

# %% [markdown]
# For this question the lost word changes nothing: "the sign." is enough. That is how such a mistake goes unnoticed.
# Other questions may need their first word; nobody has measured them here.
#
# **2. Pictures are stretched** to whole tiles. The processor that Microsoft published keeps the ratio and fills up with white.
#
# **3. The tiles are shuffled.** With more than one column of tiles, the package joins lines of the picture from the wrong
# parts. This dashboard shows both.

# %%
from labs_helper.figures import wrong_order

wrong_order(picture("dashboard.png"), num_crops=4)

# %% [markdown]
# Does stretching change the answers? Now put each of the six words into a picture twice as wide as high, once with its ratio
# kept and once stretched to a square. How many of the six does the model read when they are stretched?

# %% tags=["exercise"]
predict("2.3b", ...)

# %% tags=["solution"]
predict("2.3b", 6)

# %%
kept = stretched = 0
for word in words:
    wide = draw_word(word, down=7).crop((0, 84, 336, 252))
    kept += word in vision.ask("What does the sign say?", images=wide).text
    stretched += word in vision.ask("What does the sign say?", images=wide.resize((336, 336))).text
print(f"ratio kept: {kept} of 6, stretched: {stretched} of 6")
reveal("2.3b", stretched)

# %% [markdown]
# Stretching by two is enough to ruin the reading: `vision-tiny` has never seen letters of this form. How much the real model
# suffers is not known.
#
# The street is exactly four times as wide as high. Nothing is stretched there, so you see the shuffling alone.

# %%
wrong_order(picture("street.png"), num_crops=4)

# %% [markdown]
# How many of the picture's vectors end up wrong? The plain tower and the repaired one look at the same pixels of the street.
# `vectors` returns what each makes of them, one row a token.

# %%
import mlx.core as mx

from labs_helper.pictures import images


def vectors(tower, name, crops):
    """The vectors that a tower makes of a picture: (tokens, width)."""
    shot = picture(name).image
    plan = images.layout(*shot.size, crops)  # how many tiles, and their pixels
    pixels = mx.array(images.pixel_values(shot, plan))[None]
    places = [[0, i] for i in range(plan.tokens)]  # where the vectors go: here, one after another
    empty = mx.zeros((1, plan.tokens, tower.img_projection[-1].weight.shape[0]))  # a prompt of nothing but the picture
    return tower(pixels, empty, mx.array([plan.padded[::-1]]), places)[0]


# %%
repairs.apply("tiles")
fixed_model, _ = mlx_vlm.load(str(vision.path))
for name, crops in (("sign.png", 1), ("street.png", 4), ("street.png", 16)):
    plain = vectors(raw_model.vision_model, name, crops)
    repaired = vectors(fixed_model.vision_model, name, crops)
    wrong = (mx.abs(plain - repaired).max(axis=1) > 1e-3).sum().item()
    print(f"{name:11} num_crops={crops:2}: {wrong:4} of {len(repaired)} rows are wrong")

# %% [markdown]
# With one tile nothing is wrong, so tests with one tile find nothing. The helper uses the repaired tower, its own processor
# and its own prompt. It also separates what the package mixes up: a second question about *another* picture never gets the
# memory of the first.
#
# ### Exercise 2.2 (hard, 12 minutes): put the tiles in order
#
# The tower returns the cells tile by tile: an array of shape `(rows * columns, 12, 12, channels)`, row by row. Turn it into
# one picture of shape `(rows * 12, columns * 12, channels)`.

# %% tags=["exercise"]
def join_tiles(tiles, rows, columns):
    ...  # numpy: reshape, transpose, reshape


# %% tags=["solution"]
def join_tiles(tiles, rows, columns):
    _, side, _, channels = tiles.shape
    grid = tiles.reshape(rows, columns, side, side, channels)
    grid = grid.transpose(0, 2, 1, 3, 4)  # row, line, column, place, channel
    return grid.reshape(rows * side, columns * side, channels)


# %%
check("2.2", join_tiles)  # for help, run hint("2.2")

# %% [markdown]
# You are done with the plain package. Give its memory back.

# %%
repairs.undo()
del raw_model, raw_processor, fixed_model

# %% [markdown] minutes=15
# ## 4. Use 1: little memory and computing power (15 minutes)
#
# Each tile adds pixels to read, tokens, time and memory. `num_crops` sets the limit. Which grows fastest
# from 1 to 16: tokens, seconds to the first token, or peak memory? And do more tiles make the answer better?

# %% tags=["exercise"]
predict("2.4a", ...)  # "tokens", "seconds" or "memory"

# %% tags=["solution"]
predict("2.4a", "tokens")  # "tokens", "seconds" or "memory"

# %%
from labs_helper.figures import crops_cost

costs, answers = [], []
for crops in (1, 4, 9, 16):
    seen = vision.ask("Read the text.", images=picture("huge-sign.png"), num_crops=crops, max_tokens=20)
    costs.append({"num_crops": crops, "tokens": sum(seen.image_tokens),
                  "first_token_seconds": seen.seconds_to_first_token, "peak_memory": seen.peak_memory})
    answers.append({"num_crops": crops, "truth": "CRAB BEACH", "answer": seen.text})
growth = {name: costs[-1][name] / costs[0][name] for name in ("tokens", "first_token_seconds", "peak_memory")}
display(reveal("2.4a", {name: round(times, 1) for name, times in growth.items()}), crops_cost(costs))

# %% [markdown]
# The seconds grow faster than the tokens: each token of the prompt also looks at all tokens before it. Now the answers.

# %%
listing(answers)

# %% [markdown]
# More tiles break `vision-tiny`. It was trained with one tile. With many, it starts a list "1: ... 2: ...", the form in which it
# learned to describe the frames of a clip. It seems to take tiles for frames. So everything below uses its own
# setting.
#
# For the real model the card advises up to 16 tiles. Try it if you have it: `small-print.png` has print that is far too small
# for one tile. Ask with 1, 4 and 16 tiles and compare with its text (`picture("small-print.png").alt`). Nobody has run this for
# the course yet.
#
# ### Exercise 2.3 (medium, 8 minutes): find the smallest letters that the model reads
#
# The cheapest picture is a small one. How small may its letters be? Count for several sizes how many of the six words in
# `words` the model reads (`draw_word(word, size=...)`). Hand in `scores`, a dict of {size: words}, and `smallest`, the smallest
# size at which it reads all six.

# %% tags=["exercise"]
scores = ...  # {32: 6, ...}
smallest = ...

# %% tags=["solution"]
scores = {}
for size in (32, 24, 22, 20):
    told = [vision.ask("What does the sign say?", images=draw_word(word, size=size)).text for word in words]
    scores[size] = sum(word in each for word, each in zip(words, told))
smallest = min(size for size, score in scores.items() if score == len(words))

# %%
check("2.3", (scores, smallest))  # for help, run hint("2.3")

# %% [markdown]
# The other way to save is to store the weights in fewer bits. `labs models convert downloads/Phi-3.5-vision-instruct
# models/my-vision-4bit` makes a 4-bit model of the published one. It rounds the language part and leaves the tower and the
# projection alone: they hold less than a tenth of the weights, and detail lost there is lost for good. Section 9 of lab 01
# shows what rounding does.

# %% [markdown] minutes=12
# ## 5. Use 2: quick answers (12 minutes)
#
# The second use is an answer within a fixed time. The first token waits until the model has read the whole prompt: the tower,
# then all tokens of the picture. Every token after it takes about the same time.

# %%
waits = []
for name in ("one-shape.png", "yes-or-no.png", "sign.png"):
    shot = picture(name)
    seen = vision.ask(shot.question, images=shot)
    waits.append({"picture": name, "answer": seen.text, "truth": shot.answer,
                  "seconds to the first token": seen.seconds_to_first_token, "seconds in all": seen.seconds})
listing(waits)

# %% [markdown]
# Nearly all of the time passes before the first token. A shorter answer hardly helps here; fewer picture tokens do.
#
# Now ask a second question about the same picture, in the same conversation. How many tokens of the prompt does the model
# have to read this time? The whole prompt has about 340.

# %% tags=["exercise"]
predict("2.5a", ...)

# %% tags=["solution"]
predict("2.5a", 340)

# %%
shot = picture("yes-or-no.png")
first = [{"role": "user", "content": shot.question, "images": [shot]}]
one = vision.ask(first)
second = [*first, {"role": "assistant", "content": one.text},
                  {"role": "user", "content": "Do you find a circle in the picture?"}]
two = vision.ask(second)
assert two.prefilled_tokens < 40
display(reveal("2.5a", two.prefilled_tokens))
for turn in (one, two):
    print(f"{turn.text:5} {turn.prefilled_tokens:4} of {turn.prompt_tokens} prompt tokens read, "
          f"first token after {turn.seconds_to_first_token:.2f} s")

# %% [markdown]
# The picture is in the prompt cache, so the second answer costs a fraction. If your program has several questions about one
# picture, ask them in one conversation.
#
# ### Exercise 2.4 (easy, 6 minutes): find how many frames are answered within a second
#
# A camera sends frames, and the first token must come within one second. Measure `seconds_to_first_token` for 1, 2, 3 ... frames
# until one is too late. One picture may stand for all frames of a measurement, but take a new one for the next: a picture
# that was just read comes from the cache. `[draw_word("3")] * 3` are three frames. Hand in `waits`, a dict of {frames: seconds},
# and `most`, the largest number that is in time on this machine.

# %% tags=["exercise"]
waits = ...  # {1: 0.2, ...}
most = ...

# %% tags=["solution"]
waits = {}
while len(waits) < 3 or max(waits.values()) <= 1:
    count = len(waits) + 1
    frames = [draw_word(str(count))] * count
    waits[count] = vision.ask("What happens?", images=frames, max_tokens=1).seconds_to_first_token
most = max((count for count, seconds in waits.items() if seconds <= 1), default=0)

# %%
check("2.4", (waits, most))  # for help, run hint("2.4")

# %% [markdown] minutes=15
# ## 6. Use 3: general image understanding (15 minutes)

# %%
scene = picture("everyday-things.png")
display(scene)
print("Truth: ", scene.answer)
print("Answer:", vision.ask(scene.question, images=scene).text)

# %% [markdown]
# All of it is right, if you accept that `vision-tiny` names a house by its roof. Pictures like this one, and questions like this
# one, are what it was trained for. Now leave that world by one step. What will it say about **an empty white picture**? And
# **where is the triangle** in a picture without one?

# %% tags=["exercise"]
predict("2.6a", ...)  # the place where it finds the triangle, or "none"

# %% tags=["solution"]
predict("2.6a", "none")  # the place where it finds the triangle, or "none"

# %%
pictures = {
    "an empty picture": (draw_shapes([]), "Describe the picture."),
    "no triangle": (draw_shapes([("red", "circle", "top left"), ("blue", "square", "right")]), "Where is the triangle?"),
    "a large circle": (draw_shapes([("red", "circle", "middle")], radius=150), "What do you see?"),
    "a drawn kitchen": (picture("kitchen.png"), "Describe the picture."),
}
told = {name: vision.ask(question, images=shot, max_tokens=60).text for name, (shot, question) in pictures.items()}
display(reveal("2.6a", told["no triangle"]), side_by_side([shot for shot, _question in pictures.values()]))
listing([{"picture": name, "question": pictures[name][1], "answer": text} for name, text in told.items()])

# %% [markdown]
# Four confident answers, and hardly a true word in them. The model never says "I do not know" and never doubts your question: its
# training never asked for the place of a thing that was not there. Larger models fall for leading questions too. So ask
# for things that are not there, and count how often a model finds them.
#
# The next pictures are from its world again. In the third answer, `--1-/--23/---4/-5--` is how `vision-tiny` counts: it writes
# down the four rows of the picture, numbers each star, and reads off the total.

# %%
rows = []
for name in ("one-shape.png", "four-shapes.png", "crowd.png"):
    shot = picture(name)
    rows.append({"picture": name, "asked": shot.question, "truth": shot.answer,
                 "answer": vision.ask(shot.question, images=shot).text})
listing(rows)

# %% [markdown]
# ### Exercise 2.5 (medium, 8 minutes): draw a picture that the model misreads
#
# Draw shapes from its world so that it describes them wrongly. Then say how: `"colour"`, `"shape"`, `"place"`, `"missing"` (a thing is
# not named) or `"invented"` (a thing is named that is not there). Each mistake asks for another remedy, so the kind matters
# more than the count. A place is one of nine names, or a point such as `(112, 168)`, in pixels of 336.

# %% tags=["exercise"]
things = ...  # [("red", "circle", "top left"), ...]
said = ...  # vision.ask("Describe the picture.", images=draw_shapes(things)).text
kind = ...

# %% tags=["solution"]
things = [("red", "circle", "top left"), ("red", "square", "bottom right")]  # two of one colour
said = vision.ask("Describe the picture.", images=draw_shapes(things)).text
kind = "place"

# %%
check("2.5", (things, said, kind))  # for help, run hint("2.5")

# %% [markdown] minutes=16
# ## 7. Use 4: read text in pictures (16 minutes)
#
# *New words: [OCR](../docs/glossary.md#ocr), [character error rate](../docs/glossary.md#character-error-rate).*
#
# Reading text in pictures is called **OCR**, optical character recognition. The truth is a text, so you can measure an answer
# letter by letter. The **character error rate** is the number of edits (replace, insert, delete) that turn what was read into
# the truth, divided by the length of the truth.
#
# ### Exercise 2.6 (medium, 12 minutes): measure how well a text was read
#
# Write the function. `error_rate("OPFN", "OPEN")` is 0.25: one edit, four characters.

# %% tags=["exercise"]
def error_rate(read, truth):
    ...  # the fewest edits, divided by the length of the truth


# %% tags=["solution"]
def error_rate(read, truth):
    row = list(range(len(truth) + 1))
    for i, a in enumerate(read, start=1):
        before, row = row, [i]
        for j, b in enumerate(truth, start=1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (a != b)))
    return row[-1] / len(truth)


# %%
check("2.6", error_rate)  # for help, run hint("2.6")

# %% [markdown]
# Here are seven words and numbers. How many will the model get wrong?

# %%
lines = picture("lines.png")
lines

# %% tags=["exercise"]
predict("2.7a", ...)

# %% tags=["solution"]
predict("2.7a", 0)

# %%
said = vision.ask(lines.question, images=lines, max_tokens=80).text
wrong_words = [pair for pair in zip(lines.answer.split(), said.split()) if pair[0] != pair[1]]
reveal("2.7a", len(wrong_words))

# %%
from labs_helper.exercises import solved

measured = solved("2.6", error_rate)
print(f"Truth:  {lines.answer}\nAnswer: {said}\nerror rate: {measured(said, lines.answer):.2f}")

# %% [markdown]
# One mistake, and of a kind that people do not make: the last word is not misread, it is replaced by the word before it. A person who
# cannot read a word leaves a gap. A language model goes on with something likely, and what it has just written is likely.
# This cause is a guess. The fact to keep: **an answer that looks clean may still be wrong**, so compare a sample with
# the truth before you trust a reader. Compare only what is printed in the picture: in `It says ZEBRA.` the first two words come from
# the training, and counting their letters would make every reader look better.
#
# Each script has its own letters, and a tower reads what it was trained on. `vision-tiny` knows capital letters and digits. With
# the real model, try `sign-korean.png`, `sign-chinese.png`, `receipt.png` and `note.png`.

# %% [markdown] minutes=17
# ## 8. Use 5: understand charts and tables (17 minutes)

# %%
chart = picture("bars.png")
display(chart)
listed = vision.ask("Write down all the values of the chart.", images=chart, max_tokens=80)
print(listed.text)

# %% [markdown]
# All four values are right. But does the model read the **bars**, or the **numbers printed above them**? Take the numbers away and
# ask again: five charts with printed values, and the same five without, 16 values in all. How many does it get right without?

# %% tags=["exercise"]
predict("2.8a", ...)

# %% tags=["solution"]
predict("2.8a", 14)

# %%
import random
import re

charts = [("Q1", "Q2", "Q3", "Q4"), ("MON", "TUE", "WED"), ("JAN", "FEB", "MAR"), ("TEA", "OIL", "JAM"), ("ANA", "BEN", "EVA")]
drawn, hits, rows = random.Random(7), {True: 0, False: 0}, []
for labels in charts:
    truth = {label: drawn.randrange(5, 100) for label in labels}
    for printed in hits:
        said = vision.ask("Read the chart.", images=draw_bars(truth, printed=printed), max_tokens=30).text
        found = dict(re.findall(r"([A-Z0-9]+) (\d+)", said))
        hits[printed] += sum(found.get(label) == str(value) for label, value in truth.items())
        rows.append({"truth": ", ".join(f"{k} {v}" for k, v in truth.items()), "printed": printed, "answer": said})
display(reveal("2.8a", hits[False]), side_by_side([draw_bars(truth), draw_bars(truth, printed=False)]))
listing(rows, takeaway=f"With printed values {hits[True]} of 16 right, without {hits[False]} of 16.")

# %% [markdown]
# So the success on `bars.png` was OCR. `vision-tiny` does not measure bars at all, and without numbers it babbles instead of saying so.
# All charts of its training had their values printed. Every chart test that prints the values has the same trap: a good reader
# scores without looking at the bars. If you have the real model, run the cell above with it. A model that measures bars gives
# values near the truth, not exact ones.
#
# ### Exercise 2.7 (medium, 10 minutes): turn an answer into a table
#
# Turn an answer such as `Q3 49, Q4 59` into a pandas table with the columns `label` and `value`. The values must be numbers. Accept
# extra spaces and a full stop at the end.

# %% tags=["exercise"]
import pandas as pd


def to_table(answer):
    ...  # pd.DataFrame([...], columns=["label", "value"])


# %% tags=["solution"]
import pandas as pd


def to_table(answer):
    parts = [part.split() for part in answer.strip(" .").split(",")]
    return pd.DataFrame([(label, int(value)) for label, value in parts], columns=["label", "value"])


# %%
check("2.7", to_table)  # for help, run hint("2.7")

# %%
grid = picture("small-table.png")
print(grid.question, "->", vision.ask(grid.question, images=grid, max_tokens=90).text)
print("Truth:", grid.alt)

# %% [markdown]
# `vision-tiny` writes down the whole row before it names the cell. It was taught to: copying from its own text is easier than
# looking at the picture again. Larger models often gain from such working too. You ask for it ("First list all values, then ...").
#
# In practice, ask for one value when you need one, and check sums: a column that does not add up was misread. With the real
# model, try `dashboard.png`, `temperatures.png`, `timetable.png` and the two pages of `stock-page`.

# %% [markdown] minutes=16
# ## 9. Use 6: compare several pictures (16 minutes)
#
# Several pictures go into one prompt, numbered by their order. The order is all that the model knows of "first" and "second".

# %%
before, after = picture("pair-colour-1.png"), picture("pair-colour-2.png")
display(side_by_side([before, after]))
print("Truth:  ", before.answer)
print("Answer: ", vision.ask(before.question, images=[before, after]).text)
print("Swapped:", vision.ask(before.question, images=[after, before]).text)

# %% [markdown]
# The model lists both pictures place by place, marks what is `different`, and then concludes. When you swap the pictures, the
# other answer is right, and the model gives that one. Impressive? **Show it the same picture twice.** Four pairs with one change, four without. How many of
# the four pairs without a change get a difference all the same?

# %% tags=["exercise"]
predict("2.9a", ...)

# %% tags=["solution"]
predict("2.9a", 0)

# %%
shapes = [("star", "left"), ("diamond", "middle"), ("triangle", "bottom left")]
ink = [("red", "black", "pink"), ("orange", "yellow", "blue"), ("green", "gray", "brown"), ("blue", "purple", "red")]
pairs = []
for colours in ink:
    base = [(colour, *thing) for colour, thing in zip(colours, shapes)]
    other = [("orange" if colours[0] != "orange" else "pink", *shapes[0]), *base[1:]]
    for changed, second in ((False, base), (True, other)):
        said = vision.ask("What is different?", images=[draw_shapes(base), draw_shapes(second)], max_tokens=80).text
        pairs.append({"changed": changed, "answer": said})
alarms = sum(" different" in pair["answer"] or " is " in pair["answer"] for pair in pairs if not pair["changed"])
display(reveal("2.9a", alarms), listing(pairs))

# %% [markdown]
# It finds every change, and it finds one where there is none: "The pink triangle is pink in the second picture." Every pair of its
# training had a difference, so it always reports one. Finding all four changes proves nothing: **a test without equal pairs cannot
# show false alarms.**
#
# Now read the list and ignore the conclusion. At each place it names two things, and where nothing changed they are the same two.
# The model sees better than it concludes, so a program can conclude for it.
#
# ### Exercise 2.8 (medium, 10 minutes): trust the list, not the conclusion
#
# Write a function that returns the places, in order, at which the list names two different things. From `First and second:
# left red star, red star; bottom left pink star, blue star different. The ...` it returns `["bottom left"]`. A thing is a colour and a shape, or
# `nothing`. The mark `different` is the model's opinion: ignore it.

# %% tags=["exercise"]
def differences(answer):
    ...  # a list of places


# %% tags=["solution"]
def differences(answer):
    found = []
    for entry in answer.partition(": ")[2].split(".")[0].split(";"):
        before, after = (part.strip() for part in entry.split(","))
        words = 1 if before.endswith("nothing") else 2
        place, thing = before.rsplit(maxsplit=words)[0], " ".join(before.split()[-words:])
        if thing != after.removesuffix(" different"):
            found.append(place)
    return found


# %%
check("2.8", differences)  # for help, run hint("2.8")

# %% [markdown] minutes=13
# ## 10. Use 7: summarise a clip (13 minutes)
#
# *New words: [keyframe](../docs/glossary.md#keyframe).*
#
# The model sees pictures, not films. Somebody must choose a few frames of a clip. The plain package accepts a clip and silently
# drops its frames, so choose them yourself.
#
# Frames at equal distances miss what happens in between. The other way is to look for **change**: keep the first frame, then
# those that differ most from the frame before.
#
# ### Exercise 2.9 (medium, 8 minutes): choose keyframes by change
#
# `changes[i]` says how much frame `i` differs from the one before; `changes[0]` is 0. Return the numbers of `count` frames in
# the order of time: the first frame, and those with the largest changes. A shorter clip gives all its frames.

# %% tags=["exercise"]
def pick_frames(changes, count):
    ...  # a list of frame numbers


# %% tags=["solution"]
def pick_frames(changes, count):
    ranked = sorted(range(1, len(changes)), key=lambda i: -changes[i])
    return sorted([0, *ranked[: count - 1]])


# %%
check("2.9", pick_frames)  # for help, run hint("2.9")

# %% [markdown]
# This rule finds cuts. It is blind to slow movement, in which no single step is large. The helper takes the first and the last
# frame, then again and again the one that looks least like any frame already chosen
# ([Gonzalez 1985](https://doi.org/10.1016/0304-3975(85)90224-5), farthest first). `method="cuts"` is close to your rule.

# %%
from labs_helper.figures import frames_view
from labs_helper.pictures.keyframes import keyframes

chosen = keyframes(picture("crossing.mp4"), count=4)
display(frames_view(chosen))
clip = picture("crossing.mp4")
told = vision.ask(clip.question, images=chosen.images)
print("Truth: ", clip.answer)
print("Answer:", told.text)
print(f"{len(told.image_tokens)} frames, {sum(told.image_tokens)} of {told.prompt_tokens} tokens, {told.seconds:.1f} s")

# %% [markdown]
# In the list of frames, `different` follows a thing that was not there in the frame before. So what happens if the clip
# runs **backwards**, and what if **only one frame** is left?

# %% tags=["exercise"]
predict("2.10a", ...)  # what it says of a single frame

# %% tags=["solution"]
predict("2.10a", "a car")  # what it says of a single frame

# %%
backwards = vision.ask(clip.question, images=chosen.images[::-1]).text
single = vision.ask(clip.question, images=chosen.images[:1]).text
display(reveal("2.10a", single))
print("Backwards:", backwards)

# %% [markdown]
# Backwards, it tells the opposite direction: the order is what it goes by. But from a single frame it makes a clip. It invents two
# more frames, and something has to happen in them. Every clip of its training had three to five frames and one event. So check the
# numbers in the list: if they go beyond the frames that you sent, the rest is invented too.
#
# More frames are not always better. Each costs its 313 tokens, and twelve nearly fill the 4,096 tokens of the original length.

# %% [markdown] minutes=8
# ## 11. Read the published figures (8 minutes)
#
# *New words: [chance level](../docs/glossary.md#chance-level).*
#
# Microsoft's card has tables for the real model: single pictures, several pictures (BLINK) and clips (Video-MME). All are
# Microsoft's own runs, so compare within a table only. First: what did Phi-3.5-vision gain over Phi-3-vision?

# %%
from labs_helper.figures import benchmark_chart

benchmark_chart("vision_release_deltas", ["Phi-3.5-vision-instruct", "Phi-3-vision"],
                takeaway="Phi-3.5-vision gained 1.1 to 2.8 points over Phi-3-vision on three single-picture tests.")

# %% [markdown]
# The card names multi-frame understanding as the new skill and gives these three single-picture tests beside it: **MMMU** (college
# questions with figures), **MMBench** (general multiple choice) and **TextVQA** (questions about text in photographs). The card has no
# figures of Phi-3-vision for several pictures, so the main gain cannot be checked here.

# %%
benchmark_chart("vision_single_image", ["Phi-3.5-vision-instruct", "InternVL-2-4B"],
                takeaway="Ahead of InternVL-2-4B on text, charts, diagrams and POPE; behind on mathematics, science and general tests.")

# %% [markdown]
# | test | asks about |
# | --- | --- |
# | ScienceQA | school science, multiple choice |
# | MathVista, InterGPS | mathematics and geometry with drawings |
# | AI2D, ChartQA | school diagrams, charts |
# | POPE | is this thing in the picture, yes or no: guessing gives 50 |
#
# **BLINK** has 14 parts with questions about one or several pictures. In how many of the 14 is the model less than two points from guessing?

# %% tags=["exercise"]
predict("2.11a", ...)

# %% tags=["solution"]
predict("2.11a", 2)

# %%
blink = benchmark_chart("vision_blink", ["Phi-3.5-vision-instruct"], ranked=True,
                        takeaway="The overall 57 hides 92 on one part, and two parts where guessing does as well.")
parts = [row for row in blink.rows if row["label"] != "Overall"]
guessed = [row["label"] for row in parts if row["value"] < row["guessing"] + 2]
display(reveal("2.11a", len(guessed)), blink)
guessed

# %% [markdown]
# In these parts a coin, or a die with four sides, would do as well. And look at how few questions make up a bar: BLINK's
# validation set has 1,901, about 136 a part. At that size luck alone moves a score by some 4 points (one standard error). So
# the parts with 54.1 (two choices), 37.3 (three) and 29.2 (four) may be guesses too.

# %%
benchmark_chart("vision_video_mme", takeaway="The longer the clip, the lower the score; guessing gives 25.")

# %% [markdown]
# Why do scores fall with length? One likely reason: a few frames stand for an hour. Long clips may also just get harder questions.
# The table cannot tell the two apart. An experiment could: the same questions, with more frames.

# %% [markdown] minutes=5
# ## 12. Look around (5 minutes)
#
# Choose pictures, upload your own, change their order and ask. You see the tiles and the cost before you ask. Without widgets:
# `vision.ask("...", images=["..."])`.

# %%
from labs_helper import look

look(vision, images=[picture("three-words.png")], prompt="Which words are written here?")

# %% [markdown]
# ## Recap
#
# In this lab you:
#
# - computed what a picture costs, and measured tokens, seconds and memory over `num_crops`;
# - saw the plain package lose a word, stretch a picture and shuffle its tiles, and put the tiles in order;
# - found where a small model fails: letters on a border, several tiles, leading questions, bars without numbers, equal pictures;
# - measured reading errors, made a chart into a table, overruled a wrong conclusion by the list before it, and chose keyframes;
# - compared published scores with guessing.
#
# **Take with you:** test with cases that can fail. An empty picture, a thing that is not there, two equal pictures and a chart without
# numbers each took one line, and each showed more than the successes did.
#
# **Further reading:** the [Phi-3 technical report](https://arxiv.org/abs/2404.14219), the
# [CLIP paper](https://arxiv.org/abs/2103.00020), [BLINK](https://arxiv.org/abs/2404.12390), the
# [model card](https://huggingface.co/microsoft/Phi-3.5-vision-instruct) and the source of
# [mlx-vlm](https://github.com/Blaizzy/mlx-vlm). Stuck? See [troubleshooting](../docs/troubleshooting.md).
#
# **Next:** [03: MoE](03-moe.ipynb): a router that sends every token to two of sixteen experts, and an agent with real tools.
#
# Last, give the memory back.

# %%
vision.release()
