# %% [markdown] minutes=3
# # Show Phi-3.5-vision a picture and check what it sees
#
# **You will do:** ask about pictures, cut them into tiles, catch the plain package misreading wide pictures, and try the
# seven uses that the model's card names.
#
# **You will learn:** how a picture becomes tokens and what it costs, how a vision model fails and how to notice, how to turn a
# chart back into a table, and how to choose frames of a clip.
#
# **You will need:**
#
# | | with the bundled model | with the real Phi-3.5-vision |
# | --- | --- | --- |
# | time | core 1 hour 40 minutes, everything 2 hours 35 minutes; up to two minutes to run all cells | the same, and the download; on two x86 cores also 7 to 58 s for each new picture, by its crops ([computed](../docs/models.md#which-lab-on-which-machine)) |
# | free memory | 1 GB | 10 GB at 4 bits, 16 GB at 8, on a Mac with Apple silicon; elsewhere 8 GB at 4 bits, through ONNX Runtime: [how fast](../docs/models.md#which-lab-on-which-machine) |
# | download | nothing | 2.33 GB, on a Mac with Apple silicon, else 3.22 GB; once, and only when you ask for it |
#
# Before this: [00: start the course](00-start-here.ipynb). Helpful: [01: Instruct](01-instruct.ipynb), sections 2 and 6. You
# may skip any part whose heading says *optional*. The [glossary](../docs/glossary.md) explains the terms. The end of lab 01 lists
# hosted services, NVIDIA NIM and Azure AI Foundry among them, with what is left of their Phi-3.5.
# `NameError` means that a cell above has not run yet: choose Run > Run All Above Selected Cell.

# %% [markdown] tags=["learner"]
# **This is the learner edition.** The exercises wait for your answers, and outputs appear when you run the cells.

# %% [markdown] tags=["solution"]
# **This is the solution edition.** The exercises are solved and all outputs are here. The edition for learners has the
# same name, one folder up.

# %%
from labs_helper import check_setup

check_setup("02")

# %%
from labs_helper import able, check, hint, load, predict, reveal

vision = able(load("vision"), "vision", "pictures")
inside = able(vision, "vision", "tokens")  # for cells that count tokens
print(f"{vision.name} answers in this notebook. Why: {vision.reason}.")

# %% [markdown]
# `vision-tiny` has the architecture of Phi-3.5-vision (`phi3_v`) and about a thousandth of its size. We trained it on pictures
# that a program drew: shapes, signs, charts, tables, pairs and short clips. It has never seen a photograph.
# **It is often wrong, and this lab shows you where.** Its [model card](../data/checkpoints/vision-tiny/MODEL_CARD.md) counts
# the errors, task by task.
#
# What you learn here about tiles, tokens, prompts and speed holds for the real model too. The mistakes are those of
# `vision-tiny`, but you can look for mistakes in the same way in any model.
#
# The card of Phi-3.5-vision names seven uses. This lab tries them all:
#
# | use | in the list below | tried in |
# | --- | --- | --- |
# | little memory and computing power | memory | <a href="#use-1">section 4</a> |
# | quick answers | latency | <a href="#use-2">section 5</a> |
# | general image understanding | general | <a href="#use-3">section 6</a> |
# | reading text | ocr | <a href="#use-4">section 7</a> |
# | charts and tables | charts | <a href="#use-5">section 8</a> |
# | comparing several pictures | compare | <a href="#use-6">section 9</a> |
# | summarising a clip | clip | <a href="#use-7">section 10</a> |
#
# Both models can answer questions about the pictures in the next list. `picture("...")` finds a picture by its name. It comes
# with a question and the true answer.

# %%
from IPython.display import display

from labs_helper.figures import listing
from labs_helper.pictures.gallery import course_pictures, picture

both = [shot for shot in course_pictures() if shot.models == "both" and shot.set != "crossing"]
listing([{"picture": shot.name, "use": shot.scenario, "question": shot.question} for shot in both])

# %% [markdown] minutes=3
# ## 1. Ask about a picture (3 minutes)

# %%
sign = picture("three-words.png")
sign

# %%
answer = inside.ask(sign.question, images=sign)
print("Asked:  ", sign.question)
print("Truth:  ", sign.answer)
print("Answer: ", answer.text)

# %% [markdown]
# `images=` takes a picture of the course, a path, or a picture from Pillow or NumPy. For several pictures, pass a list.
#
# **Guess first.** The prompt holds your question, the chat markers and the picture. How many of its tokens are the picture?
# Replace the dots with a number. Nobody grades a guess. If you write it down, you notice what surprises you.

# %% tags=["exercise"]
predict("2.1a", ...)

# %% tags=["solution"]
predict("2.1a", 100)

# %%
display(reveal("2.1a", sum(answer.image_tokens)), answer)

# %% [markdown]
# Nearly the whole prompt is the picture. The next section counts its tokens.

# %% [markdown] minutes=15
# ## 2. See how a picture becomes tokens (15 minutes)
#
# *New words: [CLIP tower](../docs/glossary.md#clip-tower), [tile](../docs/glossary.md#tile), [global view](../docs/glossary.md#global-view), [patch](../docs/glossary.md#patch), [cell of a picture](../docs/glossary.md#cell-of-a-picture), [projection](../docs/glossary.md#projection), [separator](../docs/glossary.md#separator), [crop](../docs/glossary.md#crop), [frame](../docs/glossary.md#frame).*
#
# The part of the model that sees is a **tower**, a transformer for pictures. The real model uses a **CLIP** tower. It learned
# from pairs of pictures and captions to give a picture and its own caption similar vectors
# ([Radford et al. 2021](https://arxiv.org/abs/2103.00020)). The tower of `vision-tiny` has the same form, but learned from drawings.
#
# The tower only takes squares of 336 x 336 pixels. So the processor scales a picture without changing its shape, pads it with
# white, and cuts it into **tiles** of that size. One more tile, the **global view**, shows the whole picture.

# %%
from labs_helper.figures import tile_view

tile_view(picture("huge-sign.png"), num_crops=4)

# %% [markdown]
# The tower cuts a tile into 24 x 24 patches of 14 pixels. Four neighbours merge into one **cell**. So a tile has 12 x 12 cells
# of 28 pixels, and gives 144 vectors. A small network, the **projection**, gives each vector the width that the language model
# expects. From there on the model treats it like the vector of a token. Learned **separators** mark the end of each line of
# cells, and one more marks the border between the tiles and the global view.
#
# `num_crops` limits the number of tiles. The card advises 16 for one picture and 4 for several frames. The default of the real
# model is 4, that of the bundled model 1.
#
# ### Exercise 2.1 (medium, 8 minutes): write the cost of a picture as a function
#
# A picture has `rows` x `columns` tiles. How many tokens does it cost? A line of cells runs through all tiles of a row, so it
# ends once.

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
# Compare your function with a real request. In the prompt, the id -1 marks each place where a vector of picture 1 goes, and -2
# those of picture 2. No token has these ids.

# %%
prompt = inside.prompt(sign.question, images=sign)
shown = [token_id for token_id in prompt.ids if token_id < 0]
print(f"{len(prompt.ids)} tokens, {len(shown)} of them are the picture\n")
print(prompt.text)

# %% [markdown]
# The tag `<|image_1|>` belongs in the user's turn, before the question, with a new line after it. The card of
# Phi-3.5-vision prescribes this.
#
# **Can one vector for 28 x 28 pixels be enough to read?** `draw_word` draws a word with each letter in the middle of a cell.
# `down=28` moves it down by 28 pixels.

# %%
from labs_helper.figures import side_by_side
from labs_helper.pictures.drawing import draw_bars, draw_shapes, draw_word

side_by_side([draw_word("TAXI"), draw_word("TAXI", down=14)])

# %% [markdown]
# A cell is 28 pixels high. Move the word down, a few pixels at a time. At which shift does the model first misread TAXI?

# %% tags=["exercise"]
predict("2.2a", ...)

# %% tags=["solution"]
predict("2.2a", 12)

# %%
shifts = (0, 4, 8, 12, 14, 16, 20, 28)
moved = []
for shift in shifts:
    row = {"pixels down": shift}
    for word in ("TAXI", "WOLF"):
        row[word] = vision.ask("What does the sign say?", images=draw_word(word, down=shift)).text
    moved.append(row)
failed = [row["pixels down"] for row in moved if "TAXI" not in row["TAXI"]]
display(reveal("2.2a", failed[0] if failed else "never"), listing(moved))

# %% [markdown]
# The same word, the same size, a few pixels lower, and `vision-tiny` reads nonsense. At 28 pixels, one whole cell, it reads
# correctly again. So the word is not too low. The model fails where the letters cross the border between two lines of cells,
# and each cell gets half a letter. Nearly all its training pictures kept letters away from these borders, so it hardly learned
# to join two halves. Nobody has tested the real model for this here.
#
# Before you trust a vision model with a kind of picture, move the picture a little and ask again.

# %% [markdown] minutes=24
# ## 3. Find out where the plain package goes wrong (24 minutes, 12 optional)
#
# `mlx_vlm` runs such models on MLX. You need two calls: `load` and `generate`. The cell first repairs one thing: the package
# has the sizes of the real tower built in, and the bundled tower is smaller. As in lab 01, use a model that you loaded
# yourself only in cells, not in widgets.

# %%
import mlx_vlm
import transformers

from labs_helper.corrections import vision as repairs

transformers.logging.set_verbosity_error()  # it warns of a model type that only mlx_vlm knows
print("Repaired:", *repairs.apply("sizes"))
package = able(vision, "vision", "mlx")  # a folder that the package can read
raw_model, raw_processor = mlx_vlm.load(str(package.path))
options = {"max_tokens": 40, "verbose": False}
raw = mlx_vlm.generate(raw_model, raw_processor, prompt.text, image=[str(sign.path)], **options)
print(raw.text)

# %% [markdown]
# With a square picture in one tile and a prompt in the card's form, the plain package works. With other pictures or prompts,
# three things go wrong (mlx-vlm 0.7.10).
#
# **1. It loses a word.** Without a new line after the tag, the first token after the picture disappears. The package's own
# prompt builder writes no new line.

# %%
def tail(processor, text):
    ids = processor(text=text, images=[sign.image])["input_ids"].tolist()[0]
    return processor.tokenizer.decode([token_id for token_id in ids if token_id >= 0])


print(tail(raw_processor, "<|user|>\n<|image_1|>\nRead the blue word.<|end|>\n<|assistant|>\n"))
print(tail(raw_processor, "<|user|>\n<|image_1|>Read the blue word.<|end|>\n<|assistant|>\n"))

# %% [markdown]
# Does the lost word change the answers? Ask about six words, with the new line and without it. Without it, how many of the six
# does the model read correctly?

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
        said = mlx_vlm.generate(raw_model, raw_processor, form, image=[draw_word(word)], **options)
        right[name] += word in said.text
display(reveal("2.3a", right["without"]), right)

# %% [markdown]
# For this question the lost word changes nothing: what is left, "the sign.", is enough. That is how such a mistake goes
# unnoticed. Other questions may need their first word; nobody has measured them here.
#
# **2. It stretches pictures** to whole tiles. The processor that Microsoft published keeps their shape and pads them with white.
#
# **3. It shuffles the tiles.** With more than one column of tiles, the package puts lines of the picture in the wrong places. This
# dashboard shows both.

# %%
from labs_helper.figures import wrong_order

wrong_order(picture("dashboard.png"), num_crops=4)

# %% [markdown]
# Does stretching change the answers? Draw each of the six words in a picture twice as wide as high. Ask about it as it is, and
# stretched to a square. How many of the six can the model read stretched?

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
# `vision-tiny` cannot read letters stretched to twice their height: it has never seen such shapes. How well the real model reads
# them is not known.
#
# The next picture, a street, is exactly four times as wide as high. Nothing is stretched there, so you see only the shuffling.

# %%
wrong_order(picture("street.png"), num_crops=4)

# %% [markdown]
# How many of the picture's vectors are wrong? Give the plain tower and the repaired one the same pixels, and compare the vectors
# that they return, one for each token.

# %%
import mlx.core as mx

from labs_helper.pictures import images


def vectors(tower, name, crops):
    """The vectors that a tower makes of a picture: (tokens, width)."""
    shot = picture(name).image
    plan = images.layout(*shot.size, crops)  # how many tiles, and their pixels
    pixels = mx.array(images.pixel_values(shot, plan))[None]
    places = [[0, i] for i in range(plan.tokens)]  # where the vectors go: here, one after another
    width = tower.img_projection[-1].weight.shape[0]
    empty = mx.zeros((1, plan.tokens, width))  # a prompt of nothing but the picture
    return tower(pixels, empty, mx.array([plan.padded[::-1]]), places)[0]


# %%
repairs.apply("tiles")
fixed_model, _ = mlx_vlm.load(str(package.path))
for name, crops in (("sign.png", 1), ("street.png", 4), ("street.png", 16)):
    plain = vectors(raw_model.vision_model, name, crops)
    repaired = vectors(fixed_model.vision_model, name, crops)
    wrong = (mx.abs(plain - repaired).max(axis=1) > 1e-3).sum().item()
    print(f"{name:11} num_crops={crops:2}: {wrong:4} of {len(repaired)} rows are wrong")

# %% [markdown]
# With one tile nothing is wrong, so tests with one tile find nothing. The helper uses the repaired tower, its own processor
# and its own prompt. It also keeps the pictures apart: after a question about one picture, a question about *another* never
# gets the cached vectors of the first.
#
# You are done with the plain package. Free its memory.

# %%
repairs.undo()
del raw_model, raw_processor, fixed_model

# %% [markdown]
# ### Exercise 2.2 (optional, hard, 12 minutes): put the tiles in order
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

# %% [markdown] minutes=12
# <a id="use-1"></a>
#
# ## 4. Use 1: little memory and computing power (12 minutes, 8 optional)
#
# Each tile adds tokens, time and memory. What grows fastest from `num_crops=1` to 16: tokens, seconds to the first token, or
# peak memory? And do more tiles make the answer better?

# %% tags=["exercise"]
predict("2.4a", ...)  # "tokens", "seconds" or "memory"

# %% tags=["solution"]
predict("2.4a", "tokens")  # "tokens", "seconds" or "memory"

# %%
from labs_helper.figures import crops_cost

costs, answers = [], []
for crops in (1, 4, 9, 16):
    seen = inside.ask("Read the text.", images=picture("huge-sign.png"), num_crops=crops, max_tokens=20)
    costs.append({"num_crops": crops, "tokens": sum(seen.image_tokens),
                  "first_token_seconds": seen.seconds_to_first_token, "peak_memory": seen.peak_memory})
    answers.append({"num_crops": crops, "truth": "CRAB BEACH", "answer": seen.text})
names = ("tokens", "first_token_seconds", "peak_memory")
growth = {name: costs[-1][name] / costs[0][name] for name in names}
display(reveal("2.4a", {name: round(times, 1) for name, times in growth.items()}))
crops_cost(costs, takeaway="Every tile costs tokens, time and memory.")

# %% [markdown]
# On a CPU the seconds usually grow fastest. One reason: each token of the prompt looks at all tokens before it. By how much depends
# on the machine and on what else it is doing. Now the answers.

# %%
listing(answers)

# %% [markdown]
# More tiles break `vision-tiny`, which was trained with one tile. With many, it may start a list "1: ... 2: ...", the form in
# which it learned to describe the frames of a clip. It seems to take tiles for frames. So everything below uses one tile.
#
# For the real model the card advises up to 16 tiles. Try it if you have it: the letters of `small-print.png` are far too small
# for one tile. Ask with 1, 4 and 16 tiles and compare with its text, `picture("small-print.png").alt`. Nobody has run this for
# the course yet.
#
# Fewer bits for each weight save memory too. `labs models convert downloads/Phi-3.5-vision-instruct models/my-vision-4bit` makes
# a 4-bit model of the published one. It rounds the language part and leaves the tower and the projection alone: they hold less
# than a tenth of the weights, and what the tower misses the rest of the model cannot recover. Section 9 of lab 01 shows what
# rounding does.

# %% [markdown]
# ### Exercise 2.3 (optional, medium, 8 minutes): find the smallest letters that the model reads
#
# A small picture costs least. How small may its letters be? For several sizes, count how many of the six words in `words` the
# model reads (`draw_word(word, size=...)`). Hand in `scores`, a dict of {size: words}, and `smallest`, the smallest size at
# which it reads all six.

# %% tags=["exercise"]
scores = ...  # {32: 6, ...}
smallest = ...

# %% tags=["solution"]
scores = {}
for size in (32, 24, 22, 20):
    drawn = [draw_word(word, size=size) for word in words]
    told = [vision.ask("What does the sign say?", images=each).text for each in drawn]
    scores[size] = sum(word in text for word, text in zip(words, told))
smallest = min(size for size, score in scores.items() if score == len(words))

# %%
check("2.3", (scores, smallest))  # for help, run hint("2.3")

# %% [markdown] minutes=11
# <a id="use-2"></a>
#
# ## 5. Use 2: quick answers (optional, 11 minutes)
#
# The second use is an answer within a fixed time. The first token has to wait until the tower has seen the picture and the model
# has read the whole prompt. Every token after it takes about the same time.

# %%
waits = []
for name in ("one-shape.png", "yes-or-no.png", "sign.png"):
    shot = picture(name)
    seen = inside.ask(shot.question, images=shot)
    waits.append({"picture": name, "answer": seen.text, "truth": shot.answer,
                  "seconds to the first token": seen.seconds_to_first_token, "seconds in all": seen.seconds})
listing(waits)

# %% [markdown]
# Most of the time passes before the first token. So a shorter answer hardly helps here.
#
# Now ask a second question about the same picture, in the same conversation. How many tokens of the prompt must the model read
# this time? The whole prompt has about 340.

# %% tags=["exercise"]
predict("2.5a", ...)

# %% tags=["solution"]
predict("2.5a", 340)

# %%
shot = picture("yes-or-no.png")
first = [{"role": "user", "content": shot.question, "images": [shot]}]
one = inside.ask(first)
second = [*first, {"role": "assistant", "content": one.text},
                  {"role": "user", "content": "Do you find a circle in the picture?"}]
two = inside.ask(second)
assert two.prefilled_tokens < 40
display(reveal("2.5a", two.prefilled_tokens))
for turn in (one, two):
    print(f"{turn.text:5} {turn.prefilled_tokens:4} of {turn.prompt_tokens} prompt tokens read, "
          f"first token after {turn.seconds_to_first_token:.2f} s")

# %% [markdown]
# The picture is in the prompt cache, so the model reads only the new question. If your program has several questions about one
# picture, ask them in one conversation.
#
# ### Exercise 2.4 (easy, 6 minutes): find how many frames are answered within a second
#
# A camera sends frames, and the first token must come within one second. Measure `seconds_to_first_token` for 1, 2, 3 ... frames
# until one is too late, or until 12: more do not fit. All frames of one measurement may be the same picture:
# `[draw_word("3")] * 3` are three frames. But take a new picture for each measurement, since the cache holds the one before. Hand
# in `waits`, a dict of {frames: seconds}, and `most`, the largest number of frames that is in time on this machine.

# %% tags=["exercise"]
waits = ...  # {1: 0.2, ...}
most = ...

# %% tags=["solution"]
waits = {}
while len(waits) < 3 or (max(waits.values()) <= 1 and len(waits) < 12):
    count = len(waits) + 1
    frames = [draw_word(str(count))] * count
    waits[count] = inside.ask("What happens?", images=frames, max_tokens=1).seconds_to_first_token
most = max((count for count, seconds in waits.items() if seconds <= 1), default=0)

# %%
check("2.4", (waits, most))  # for help, run hint("2.4")

# %% [markdown] minutes=13
# <a id="use-3"></a>
#
# ## 6. Use 3: general image understanding (13 minutes)

# %%
scene = picture("everyday-things.png")
display(scene)
print("Truth: ", scene.answer)
print("Answer:", vision.ask(scene.question, images=scene).text)

# %% [markdown]
# All of it is right, if you accept that `vision-tiny` gives a house the colour of its roof. It was trained for pictures and
# questions like these. Now take one step out of that world. What will it say about **an empty white picture**? And **where is
# the triangle** in a picture without one?

# %% tags=["exercise"]
predict("2.6a", ...)  # the place where it finds the triangle, or "none"

# %% tags=["solution"]
predict("2.6a", "none")  # the place where it finds the triangle, or "none"

# %%
pictures = {
    "an empty picture": (draw_shapes([]), "Describe the picture."),
    "no triangle": (draw_shapes([("red", "circle", "top left"), ("blue", "square", "right")]),
                    "Where is the triangle?"),
    "a large circle": (draw_shapes([("red", "circle", "middle")], radius=150), "What do you see?"),
    "a drawn kitchen": (picture("kitchen.png"), "Describe the picture."),
}
rows = []
for name, (shot, question) in pictures.items():
    said = vision.ask(question, images=shot, max_tokens=60).text
    rows.append({"picture": name, "question": question, "answer": said})
display(reveal("2.6a", rows[1]["answer"]), side_by_side([shot for shot, _question in pictures.values()]))
listing(rows)

# %% [markdown]
# Four confident answers, and almost nothing in them is true. The model never says "I do not know" and never doubts your question:
# its training never asked for the place of a thing that was not there. So test every vision model like this: ask for things
# that are not there, and count how often it finds them.
#
# The next pictures are from its world again. Look at how `vision-tiny` counts in the third answer: it writes down the rows of the
# picture, numbers each star in them, and takes the last number as the total.

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
# Draw shapes from its world so that it describes them wrongly. Then name the kind of mistake: `"colour"`, `"shape"`, `"place"`,
# `"missing"` (it leaves out a thing) or `"invented"` (it names a thing that is not there). Each kind needs its own remedy. A place
# is one of nine names, or a point such as `(112, 168)` in the 336 x 336 pixels.

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

# %% [markdown] minutes=17
# <a id="use-4"></a>
#
# ## 7. Use 4: read text in pictures (17 minutes, 13 optional)
#
# *New words: [OCR](../docs/glossary.md#ocr), [character error rate](../docs/glossary.md#character-error-rate).*
#
# Reading text in pictures is called **OCR**, optical character recognition. Here are seven words and numbers. How many will the
# model get wrong?

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
print(f"Truth:  {lines.answer}\nAnswer: {said}")
reveal("2.7a", len(wrong_words))

# %% [markdown]
# The mistake does not look like one: in place of the last word the model writes the word before it again. Perhaps that is because
# a language model continues with something likely, and what it has just written is likely. This is a guess. What is sure: **an
# answer that looks clean may still be wrong**, so compare a sample with the truth before you trust a reader.
#
# Each script has its own letters, and a tower reads those that it was trained on. `vision-tiny` knows capital letters and digits.
# With the real model, try `sign-korean.png`, `sign-chinese.png`, `receipt.png` and `note.png`.

# %% [markdown]
# ### Exercise 2.6 (optional, medium, 13 minutes): measure how well a text was read
#
# The truth is a text, so you can measure an answer letter by letter. The **character error rate** is the smallest number of edits
# (replace, insert, delete) that turn what was read into the truth, divided by the length of the truth. Write the function.
# `error_rate("OPFN", "OPEN")` is 0.25: one edit, four characters.

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

# %%
from labs_helper.exercises import solved

measured = solved("2.6", error_rate)
print(f"error rate: {measured(said, lines.answer):.2f}")

# %% [markdown]
# Compare only what is printed in the picture. The first two words of `It says ZEBRA.` come from the training, not from the sign.
# Counting their letters makes every reader look better.

# %% [markdown] minutes=20
# <a id="use-5"></a>
#
# ## 8. Use 5: understand charts and tables (20 minutes, 5 optional)

# %%
chart = picture("bars.png")
display(chart)
listed = vision.ask("Write down all the values of the chart.", images=chart, max_tokens=80)
print(listed.text)

# %% [markdown]
# All four values are right. But does the model read the **bars**, or the **numbers printed above them**? Take the numbers away and
# ask again. Five charts have 16 values in all. How many does the model get right when the values are not printed?

# %% tags=["exercise"]
predict("2.8a", ...)

# %% tags=["solution"]
predict("2.8a", 14)

# %%
import random
import re

charts = [("Q1", "Q2", "Q3", "Q4"), ("MON", "TUE", "WED"), ("JAN", "FEB", "MAR"),
          ("TEA", "OIL", "JAM"), ("ANA", "BEN", "EVA")]
drawn, hits, rows = random.Random(7), {True: 0, False: 0}, []
for labels in charts:
    truth = {label: drawn.randrange(5, 100) for label in labels}
    for printed in hits:
        shot = draw_bars(truth, printed=printed)
        said = vision.ask("Read the chart.", images=shot, max_tokens=30).text
        found = dict(re.findall(r"([A-Z0-9]+) (\d+)", said))
        hits[printed] += sum(found.get(label) == str(value) for label, value in truth.items())
        values = ", ".join(f"{label} {value}" for label, value in truth.items())
        rows.append({"truth": values, "printed": printed, "answer": said})
display(reveal("2.8a", hits[False]), side_by_side([draw_bars(truth), draw_bars(truth, printed=False)]))
listing(rows, takeaway=f"With printed values {hits[True]} of 16 right, without {hits[False]} of 16.")

# %% [markdown]
# So the success on `bars.png` was OCR. Without numbers, `vision-tiny` babbles instead of saying that it cannot tell. All charts in
# its training had their values printed. Every chart test that prints the values has the same flaw: a good reader scores
# without looking at the bars. If you have the real model, run the cell above with it. A model that measures bars gives values
# near the truth, not exact ones.

# %% [markdown]
# ### See where it looks (optional, 5 minutes)
#
# A number must also be the **right** number. Ask one chart after the other for a value, until an answer is wrong. `record_attention`
# keeps what every token looked at. At which cells did it look when it chose the number, in a right answer and in a wrong one?

# %%
from labs_helper.figures import attention_on_picture
from labs_helper.pictures.images import layout
from labs_helper.reference.looking import looked_at
from labs_helper.reference.scenes import chart_pictures

small = load("vision", tier="tiny")
numbers = []
for shown in chart_pictures(40):
    numbers.append((shown, small.ask(shown.question, images=shown.picture, max_tokens=20, record_attention=True)))
    if shown.right not in numbers[-1][1].text:
        break
print(f"{len(numbers)} charts, the last one read wrongly")
for shown, found in (numbers[0], numbers[-1]):
    number = shown.said(found.text)
    print(shown.question, "->", found.text, "Truth:", shown.right)
    display(attention_on_picture(shown.picture, looked_at(found, number, 2, 0, layout(336, 336, 1)), word=number, box=shown.cells))

# %% [markdown]
# The dashed frame is around the number that was asked for. In the wrong answer the head hardly looks there. It looks at the numbers of
# other bars, and the model says one of them: it reads well, at the wrong place. We **taught** this head to look at the right
# cell, so that it looks at numbers at all is no discovery. And one answer of each kind is an example.
# [Lab 08](08-inside.ipynb) counts, with controls.

# %% [markdown]
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
# `vision-tiny` writes down the whole row before it names the cell. We trained it to, because copying from its own text is easier than
# looking at the picture again. With a large model, try the same by asking: "First list all values, then ...".
#
# In practice, check the sums: if a column does not add up, the model misread it. With the real model, try `dashboard.png`,
# `temperatures.png`, `timetable.png` and the two pages of `stock-page`.

# %% [markdown] minutes=14
# <a id="use-6"></a>
#
# ## 9. Use 6: compare several pictures (14 minutes)
#
# Several pictures go into one prompt, numbered in their order. Only that order tells the model which is "first" and "second".

# %%
before, after = picture("pair-colour-1.png"), picture("pair-colour-2.png")
display(side_by_side([before, after]))
print("Truth:  ", before.answer)
print("Answer: ", vision.ask(before.question, images=[before, after]).text)
print("Swapped:", vision.ask(before.question, images=[after, before]).text)

# %% [markdown]
# The model lists both pictures place by place, marks what is `different`, and then concludes. Swap the pictures, and the opposite
# answer is right; the model gives it. Impressive? **Show it the same picture twice.** Ask about four pairs with one change and
# four without. In how many of the four equal pairs will the model find a difference?

# %% tags=["exercise"]
predict("2.9a", ...)

# %% tags=["solution"]
predict("2.9a", 0)

# %%
shapes = [("star", "left"), ("diamond", "middle"), ("triangle", "bottom left")]
ink = [("red", "black", "pink"), ("orange", "yellow", "blue"),
       ("green", "gray", "brown"), ("blue", "purple", "red")]
pairs = []
for colours in ink:
    base = [(colour, *thing) for colour, thing in zip(colours, shapes)]
    other = [("orange" if colours[0] != "orange" else "pink", *shapes[0]), *base[1:]]
    for changed, second in ((False, base), (True, other)):
        both = [draw_shapes(base), draw_shapes(second)]
        said = vision.ask("What is different?", images=both, max_tokens=80).text
        pairs.append({"changed": changed, "answer": said})
equal = [pair["answer"] for pair in pairs if not pair["changed"]]
alarms = sum(" different" in answer or " is " in answer for answer in equal)
display(reveal("2.9a", alarms), listing(pairs))

# %% [markdown]
# It finds changes where there are none, such as "The pink triangle is pink in the second picture." Every pair in its training had
# a difference, so it learned to report one. It also finds the changes that are there, but that proves little: **a test without
# equal pairs cannot show false alarms.**
#
# Now read the list and ignore the conclusion. At each place it names two things, and where nothing changed they are the same.
# The model sees better than it concludes, so let a program conclude.
#
# ### Exercise 2.8 (medium, 10 minutes): trust the list, not the conclusion
#
# Write a function that returns, in order, the places at which the list names two different things. From `First and second:
# left red star, red star; bottom left pink star, blue star different. The ...` it returns `["bottom left"]`. A thing is a colour
# and a shape, or `nothing`. Ignore the mark `different`: it is part of the conclusion.

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

# %% [markdown] minutes=12
# <a id="use-7"></a>
#
# ## 10. Use 7: summarise a clip (12 minutes)
#
# *New words: [keyframe](../docs/glossary.md#keyframe).*
#
# The model sees pictures, not films, so you choose a few frames of a clip. (The plain package accepts a clip and silently drops
# its frames.)
#
# Frames at equal distances miss what happens in between. Another way is to look for **change**: keep the first frame, then
# those that differ most from the frame before.
#
# ### Exercise 2.9 (medium, 8 minutes): choose keyframes by change
#
# `changes[i]` says how much frame `i` differs from the one before; `changes[0]` is 0. Return the numbers of `count` frames in
# order of time: the first frame, and those with the largest changes. If the clip has fewer frames, return all of them.

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
# This rule finds cuts. It misses slow movement, in which no single step is large. The helper starts with the first and the last
# frame. Then it adds, one by one, the frame that looks least like those already chosen
# ([Gonzalez 1985](https://doi.org/10.1016/0304-3975(85)90224-5), farthest first). `method="cuts"` is close to your rule.

# %%
from labs_helper.figures import frames_view
from labs_helper.pictures.keyframes import keyframes

chosen = keyframes(picture("crossing.mp4"), count=4)
display(frames_view(chosen))
clip = picture("crossing.mp4")
told = inside.ask(clip.question, images=chosen.images)
print("Truth: ", clip.answer)
print("Answer:", told.text)
print(f"{len(told.image_tokens)} frames, {sum(told.image_tokens)} of {told.prompt_tokens} tokens,",
      f"{told.seconds:.1f} s")

# %% [markdown]
# In the list of frames, `different` follows a thing that was not there in the frame before. What happens if the clip runs
# **backwards**? And what will the model say if you send **only one frame**?

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
# Backwards, it reports the opposite direction: it goes by the order of the frames. But from a single frame it makes up a clip. It
# invents more frames, and something happens in them. Every clip in its training had three to five frames and one event. So
# check the numbers in the list: if they go beyond the frames that you sent, do not believe the rest either.
#
# More frames are not always better. Each costs 313 tokens, and thirteen nearly fill 4,096: all that `vision-tiny` can read, and the
# original length of the real model.

# %% [markdown] minutes=6
# ## 11. Read the published figures (optional, 6 minutes)
#
# *New words: [chance level](../docs/glossary.md#chance-level).*
#
# Microsoft's card has tables for the real model: single pictures, several pictures (BLINK) and clips (Video-MME). Microsoft ran
# all these tests itself, so compare scores only within a table. First: what did Phi-3.5-vision gain over Phi-3-vision?

# %%
from labs_helper.figures import benchmark_chart

benchmark_chart("vision_release_deltas", ["Phi-3.5-vision-instruct", "Phi-3-vision"],
                takeaway="Phi-3.5-vision gained 1.1 to 2.8 points over Phi-3-vision "
                "on three single-picture tests.")

# %% [markdown]
# The card names multi-frame understanding as the new skill and gives these three single-picture tests beside it: **MMMU** (college
# questions with figures), **MMBench** (general multiple choice) and **TextVQA** (questions about text in photographs). The card has no
# figures of Phi-3-vision for several pictures, so the main gain cannot be checked here.

# %%
benchmark_chart("vision_single_image", ["Phi-3.5-vision-instruct", "InternVL-2-4B"],
                takeaway="Ahead of InternVL-2-4B on text, charts, diagrams and POPE; "
                "behind on mathematics, science and general tests.")

# %% [markdown]
# | test | asks about |
# | --- | --- |
# | ScienceQA | school science, multiple choice |
# | MathVista, InterGPS | mathematics and geometry with drawings |
# | AI2D, ChartQA | school diagrams, charts |
# | POPE | is this thing in the picture, yes or no: guessing gives 50 |
#
# **BLINK** has 14 parts with questions about one or several pictures. In how many of the 14 is the model less than two points
# above guessing?

# %% tags=["exercise"]
predict("2.11a", ...)

# %% tags=["solution"]
predict("2.11a", 2)

# %%
blink = benchmark_chart("vision_blink", ["Phi-3.5-vision-instruct"], ranked=True,
                        takeaway="The overall 57 hides 92 on one part, and two parts "
                        "where guessing does as well.")
parts = [row for row in blink.rows if row["label"] != "Overall"]
guessed = [row["label"] for row in parts if row["value"] < row["guessing"] + 2]
display(reveal("2.11a", len(guessed)), blink)
guessed

# %% [markdown]
# In these parts guessing would do about as well. And each bar stands for few questions: BLINK's validation set has 1,901, about
# 136 a part. At that size luck alone moves a score by some 4 points (one standard error). So the parts with 54.1 (two
# choices), 37.3 (three) and 29.2 (four) may be guesses too.

# %%
benchmark_chart("vision_video_mme", takeaway="The longer the clip, the lower the score; guessing gives 25.")

# %% [markdown]
# Why do scores fall with length? One likely reason: the model sees only a few frames of an hour. Or long clips may come with harder
# questions. The table cannot tell the two apart. An experiment could: the same questions, with more frames.

# %% [markdown] minutes=4
# ## 12. Look around (4 minutes)
#
# Choose pictures, upload your own, change their order and ask. You see the tiles and the cost before you ask. Without widgets:
# `vision.ask("...", images=["..."])`.

# %%
from labs_helper import look

look(vision, images=[picture("three-words.png")], prompt="Which words are written here?")

# %% [markdown] minutes=1
# ## Recap
#
# In this lab you:
#
# - computed what a picture costs, and measured how tokens, seconds and memory grow with `num_crops`;
# - saw the plain package lose a word, stretch a picture and shuffle its tiles;
# - found where a small model fails: letters on a border, several tiles, leading questions, bars without numbers, equal pictures;
# - turned a chart back into a table, let a program correct a wrong conclusion, and chose keyframes.
#
# **Take with you:** test with cases that can fail. An empty picture, a thing that is not there, two equal pictures and a chart without
# numbers each took a line or two, and each showed more than the successes did.
#
# **Further reading:** the [Phi-3 technical report](https://arxiv.org/abs/2404.14219), the
# [CLIP paper](https://arxiv.org/abs/2103.00020), [BLINK](https://arxiv.org/abs/2404.12390), the
# [model card](https://huggingface.co/microsoft/Phi-3.5-vision-instruct) and the source of
# [mlx-vlm](https://github.com/Blaizzy/mlx-vlm). Stuck? See [troubleshooting](../docs/troubleshooting.md).
#
# **Next:** [03: MoE](03-moe.ipynb): a router that sends every token to two of sixteen experts, and an agent with real tools.
#
# Last, give the memory back, and see what is left to do.

# %%
from labs_helper.exercises import so_far

for model in (package, inside, vision):
    model.release()
so_far("02")
