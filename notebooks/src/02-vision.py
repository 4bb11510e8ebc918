# %% [markdown]
# # Show Phi-3.5-vision a picture and check what it sees
#
# **You will do:** ask about pictures, see them cut into tiles, find out why the plain package misreads wide pictures, and
# work through the seven uses that the model's card names, from a small machine to a clip of ten frames.
#
# **You will learn:** how a picture becomes tokens and what it costs, why every answer should be compared with the truth,
# how a chart becomes a table again, and how to choose frames of a clip.
#
# **You will need:**
#
# | | with the bundled model | with the real Phi-3.5-vision |
# | --- | --- | --- |
# | time | 2 hours; 1 minute to run all cells | 2 hours and the download |
# | free memory | 1 GB | 10 GB at 4 bits, 16 GB at 8, on a Mac with Apple silicon |
# | download | nothing | 2.33 GB, once, and only when you ask for it |
#
# Before this: [00: start the course](00-start-here.ipynb). Helpful: [01: Instruct](01-instruct.ipynb), sections 2 and 6.

# %%
from labs_helper import check_setup

check_setup("02")

# %%
from labs_helper import check, hint, load

vision = load("vision")
print(f"{vision.name} answers in this notebook. Why: {vision.reason}.")

# %% [markdown]
# `vision-tiny` is a small `phi3_v` model, the architecture of Phi-3.5-vision, that was trained for this course on pictures
# that the project draws: shapes, signs, charts, tables, pairs and short clips. It has never seen a photograph, so ask it only about
# pictures marked "both" in the list. **Even there it is sometimes wrong**: its
# [model card](../data/checkpoints/vision-tiny/MODEL_CARD.md) says how often, task by task. That is why every answer in this lab
# stands beside the truth. What you learn about tiles, tokens, prompts and speed holds for the real model too; where
# something differs, the text says so.

# %% [markdown] minutes=8
# ## 1. Ask about a picture (8 minutes)
#
# The pictures of this lab lie in `images/vision/`. All of them were drawn for the course. Each has a text that describes
# it, a question, and the true answer: `picture` finds it by its name.

# %%
from labs_helper.pictures.gallery import picture

sign = picture("three-words.png")
sign

# %%
answer = vision.ask(sign.question, images=sign)
print("Asked:  ", sign.question)
print("Truth:  ", sign.answer)
print("Answer: ", answer.text)

# %% [markdown]
# `images=` takes a picture of the course, a path, or a picture from Pillow or NumPy; several of them in a list. The last
# line of an answer says what it cost.

# %%
answer

# %% [markdown]
# Most of the prompt tokens are not words. They are the picture. The next section looks at them one by one.

# %% [markdown] minutes=15
# ## 2. See how a picture becomes tokens (15 minutes)
#
# *New words: [CLIP tower](../docs/glossary.md#clip-tower), [tile](../docs/glossary.md#tile), [global view](../docs/glossary.md#global-view), [patch](../docs/glossary.md#patch), [cell of a picture](../docs/glossary.md#cell-of-a-picture), [projection](../docs/glossary.md#projection), [separator](../docs/glossary.md#separator), [crop](../docs/glossary.md#crop), [frame](../docs/glossary.md#frame).*
#
# The part of the model that sees is a **CLIP tower**. It takes squares of 336 x 336 pixels, no other size. So a picture is
# scaled, with its ratio of width to height kept, filled up with white, and cut into **tiles** of that size. One more view,
# the **global view**, shows the whole picture in one tile.

# %%
from labs_helper.figures import tile_view

tile_view(picture("huge-sign.png"), num_crops=4)

# %% [markdown]
# The tower cuts a tile into 24 x 24 patches of 14 pixels. Four neighbours are merged into one **cell**: 12 x 12 cells, 144
# vectors. A small network, the **projection**, turns each into a vector of the language model's size. From there on it is
# treated like the vector of a token. Between them stand learned **separators**: one at the end of each line of cells, and
# one between the tiles and the global view.
#
# `num_crops` is the largest number of tiles. The card advises 16 for one picture and 4 for several frames; the real model's
# files say 4, the bundled model's say 1.
#
# ### Exercise 2.1 (medium, 8 minutes): write the cost of a picture as a function
#
# A picture has `rows` x `columns` tiles. How many tokens does it cost? A line of cells runs through all tiles of a row.

# %% [markdown]
# Every exercise has hints. Run this cell again for the next hint.

# %%
hint("2.1")

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
# Compare your function with what a request really holds. In the prompt's ids, the places of picture 1 are filled with
# -1, those of picture 2 with -2: numbers that no token has. The vectors of the picture are put there.

# %%
prompt = vision.prompt(sign.question, images=sign)
shown = [token_id for token_id in prompt.ids if token_id < 0]
print(f"{len(prompt.ids)} tokens, {len(shown)} of them are the picture\n")
print(prompt.text)

# %% [markdown]
# The tag `<|image_1|>` stands in the user's turn, before the question, with a new line after it. Phi-3.5-vision was trained
# with exactly this form.

# %% [markdown] minutes=20
# ## 3. Find out where the plain package goes wrong (20 minutes)
#
# `mlx_vlm` is the package that runs such models on MLX. Two calls again: `load` and `generate`. One repair must come before
# them: the package has the sizes of the real tower written into it, and the bundled one is smaller. As in lab 01, models
# that are made in cells are used in cells only.

# %%
import mlx_vlm
import transformers

from labs_helper.corrections import vision as repairs

transformers.logging.set_verbosity_error()  # it warns of a model type that it does not know; mlx_vlm does
print(repairs.apply("sizes"))
raw_model, raw_processor = mlx_vlm.load(str(vision.path))

# %%
raw = mlx_vlm.generate(raw_model, raw_processor, prompt.text, image=[str(sign.path)], max_tokens=40, verbose=False)
print(raw.text)

# %% [markdown]
# For a square picture in one tile, and with a prompt of the right form, the plain package is right. Three things go wrong
# as soon as one of the two differs (mlx-vlm 0.7.10).
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
# **2. Pictures are stretched** to whole tiles. The processor that Microsoft published keeps the ratio and fills up with white.
#
# **3. The tiles are shuffled.** With more than one column of tiles, lines of the picture are put together from the wrong
# parts. The figure shows both on a wide picture.

# %%
from labs_helper.figures import wrong_order

wrong_order(picture("street.png"), num_crops=4)

# %% [markdown]
# How many of the picture's vectors are wrong? We let the plain tower and the repaired one look at the same street and compare
# row by row. The pixels are the same for both here, so this is the order alone.

# %%
import mlx.core as mx

from labs_helper.pictures import images


def rows_of(tower, name, crops):
    """The vectors that a tower makes of a picture: (tokens, width)."""
    shot = picture(name).image
    plan = images.layout(*shot.size, crops)
    pixels = mx.array(images.pixel_values(shot, images.layout(*shot.size, crops)))[None]
    places = [[0, i] for i in range(plan.tokens)]
    empty = mx.zeros((1, plan.tokens, tower.img_projection[-1].weight.shape[0]))
    return tower(pixels, empty, mx.array([plan.padded[::-1]]), places)[0]


# %%
repairs.apply("tiles")
fixed_model, _ = mlx_vlm.load(str(vision.path))
for name, crops in (("sign.png", 1), ("street.png", 4), ("street.png", 16)):
    plain = rows_of(raw_model.vision_model, name, crops)
    right = rows_of(fixed_model.vision_model, name, crops)
    wrong = (mx.abs(plain - right).max(axis=1) > 1e-3).sum().item()
    print(f"{name:11} num_crops={crops:2}: {wrong:4} of {len(right)} rows are wrong")

# %% [markdown]
# With one tile nothing is wrong, and that is why the mistake hides. The helper uses the repaired tower, its own processor and
# its own prompt. It also keeps apart what the package mixes up: a second question about *another* picture never gets the
# memory of the first one.
#
# ### Exercise 2.2 (hard, 12 minutes): put the tiles in order
#
# The tower gives the cells tile by tile: an array of shape `(rows * columns, 12, 12, channels)`, row by row. Make of it one
# picture of the shape `(rows * 12, columns * 12, channels)`.

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
# We are done with the plain package. Give its memory back.

# %%
repairs.undo()
del raw_model, raw_processor, fixed_model

# %% [markdown] minutes=10
# ## 4. Use 1: little memory and computing power (10 minutes)
#
# The card of Phi-3.5-vision names seven uses. The first: environments with little memory or computing power. The handle is
# `num_crops`: each tile is more pixels read, more tokens, more time and more memory.

# %%
import pandas as pd

pd.set_option("display.max_colwidth", None)  # whole answers in the tables below
costs = []
for crops in (1, 4, 9, 16):
    seen = vision.ask("Read the text.", images=picture("huge-sign.png"), num_crops=crops, max_tokens=1)
    costs.append({"num_crops": crops, "tokens": sum(seen.image_tokens), "seconds": seen.seconds_to_first_token,
                  "bytes": seen.peak_memory})
pd.DataFrame(costs).round(2)

# %%
from labs_helper.figures import crops_cost

crops_cost(costs)

# %% [markdown]
# A large picture does not need many tiles. `huge-sign.png` is 1,344 pixels wide and shows two large words: one tile holds
# them. `small-print.png` has the same size and a line that only the real model with 16 tiles can read. What you want to know
# decides, not the file.
#
# The bundled model was trained with one tile only: more tiles cost it time and teach it nothing. So everything below uses its
# own setting.
#
# The other handle is the weights. `labs models convert downloads/Phi-3.5-vision-instruct models/my-vision-4bit` makes a 4-bit model of the
# published one. It rounds the language part and leaves the tower and the projection as they are: less than a tenth of
# the weights, and what is not seen cannot be said. Section 9 of lab 01 shows what rounding does.

# %% [markdown] minutes=8
# ## 5. Use 2: quick answers (8 minutes)
#
# The second use is an answer within a bound of time. The first token waits until the whole prompt is read: the tower, then
# all tokens of the picture. After that each token takes about the same time.

# %%
waits = []
for name in ("one-shape.png", "yes-or-no.png", "sign.png"):
    shot = picture(name)
    seen = vision.ask(shot.question, images=shot)
    waits.append({"picture": name, "answer": seen.text, "truth": shot.answer,
                  "first token (s)": seen.seconds_to_first_token, "all (s)": seen.seconds})
pd.DataFrame(waits).round(2)

# %% [markdown]
# Most of the time is spent before the first token. So ask for a short answer if a program waits for it; and if there is a
# second question about the same picture, ask it in the same conversation. The picture is in the prompt cache then.

# %%
shot = picture("yes-or-no.png")
first = [{"role": "user", "content": shot.question, "images": [shot]}]
one = vision.ask(first)
second = [*first, {"role": "assistant", "content": one.text},
                  {"role": "user", "content": "Do you find a circle in the picture?"}]
two = vision.ask(second)
for turn in (one, two):
    print(f"{turn.text:8} {turn.prefilled_tokens:4} of {turn.prompt_tokens} prompt tokens were read")
assert two.prefilled_tokens < 40

# %% [markdown] minutes=10
# ## 6. Use 3: general image understanding (10 minutes)

# %%
scene = picture("everyday-things.png")
scene

# %%
print("Truth: ", scene.answer)
print("Answer:", vision.ask(scene.question, images=scene).text)

# %% [markdown]
# One right answer proves little. Ask several questions about several pictures and count. Note what kind of mistake is made: a
# wrong colour, a wrong place and a thing that is not there are different faults.

# %%
rows = []
for name in ("one-shape.png", "four-shapes.png", "crowd.png", "everyday-things.png"):
    shot = picture(name)
    rows.append({"picture": name, "asked": shot.question, "truth": shot.answer,
                 "answer": vision.ask(shot.question, images=shot).text})
pd.DataFrame(rows)

# %% [markdown] minutes=12
# ## 7. Use 4: read text in pictures (12 minutes)
#
# *New words: [OCR](../docs/glossary.md#ocr), [character error rate](../docs/glossary.md#character-error-rate).*
#
# Reading text in pictures is called **OCR**, optical character recognition. The truth is a text, so the answer can be measured
# letter by letter: the **character error rate** is the number of edits (replace, insert, delete) that make the truth from
# what was read, divided by the length of the truth.
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

# %%
from labs_helper.exercises import solved

measured = solved("2.6", error_rate)
read = []
for name in ("sign.png", "three-words.png", "lines.png"):
    shot = picture(name)
    said = vision.ask(shot.question, images=shot, max_tokens=80).text
    read.append({"picture": name, "truth": shot.answer, "answer": said, "error rate": measured(said, shot.answer)})
pd.DataFrame(read).round(2)

# %% [markdown]
# Each language has its own letters, and a tower sees only what it was trained on. The bundled one knows capital letters and
# digits. With the real model, try `sign-korean.png`, `sign-chinese.png`, `receipt.png` and `note.png`.

# %% [markdown] minutes=15
# ## 8. Use 5: understand charts and tables (15 minutes)

# %%
chart = picture("bars.png")
chart

# %%
listed = vision.ask("Write down all the values of the chart.", images=chart, max_tokens=80)
print(listed.text)

# %% [markdown]
# ### Exercise 2.7 (medium, 10 minutes): make a table of an answer
#
# Turn such an answer into a pandas table with the columns `label` and `value`. The values must be numbers. Be kind to extra
# spaces and a full stop at the end.

# %% tags=["exercise"]
def to_table(answer):
    ...  # pd.DataFrame([...], columns=["label", "value"])


# %% tags=["solution"]
def to_table(answer):
    parts = [part.split() for part in answer.strip(" .").split(",")]
    return pd.DataFrame([(label, int(value)) for label, value in parts], columns=["label", "value"])


# %%
check("2.7", to_table)  # for help, run hint("2.7")

# %% [markdown]
# Now compare it with the truth, which stands in the list of pictures. A chart that was read is only worth something if you know
# how wrong it may be.

# %%
import re

values = [{label: int(value) for label, value in re.findall(r"([A-Z0-9]+) (\d+)", text)} for text in (chart.alt, listed.text)]
table = pd.DataFrame(dict(zip(["truth", "read"], values)))
table["difference"] = table["read"] - table["truth"]
table

# %%
grid = picture("small-table.png")
for question in (grid.question, "Read the table."):
    print(question, "->", vision.ask(question, images=grid, max_tokens=90).text)
print("Truth:", grid.alt)

# %% [markdown]
# The bundled model writes down a whole row before it names the cell: it was taught to, as it looks up better what it has already
# written than what it only sees. Larger models gain from such working too; with them you ask for it ("First list all
# values, then ...").
#
# In practice: ask for one value when you need one, and check sums (a column that does not add up was misread). With the real
# model, try `dashboard.png`, `temperatures.png`, `timetable.png` and the two pages of `stock-page`.

# %% [markdown] minutes=10
# ## 9. Use 6: compare several pictures (10 minutes)
#
# Several pictures stand in one prompt, numbered by their order. The order is all that the model knows of "first" and "second".

# %%
from labs_helper.figures import side_by_side

before, after = picture("pair-colour-1.png"), picture("pair-colour-2.png")
side_by_side([before, after])

# %%
print("Truth:  ", before.answer)
print("Answer: ", vision.ask(before.question, images=[before, after]).text)
print("Turned: ", vision.ask(before.question, images=[after, before]).text)

# %% [markdown]
# The bundled model lists both pictures, place by place, and marks what is `different`, before it concludes: for the reason that you
# know from the table. In the other order another answer is right. Read the list and the last sentence apart: a small model may see everything
# rightly and then conclude something wrong. Three pairs, counted:

# %%
rows = []
for change in ("colour", "gone", "moved"):
    shots = [picture(f"pair-{change}-{number}.png") for number in (1, 2)]
    said = vision.ask(shots[0].question, images=shots)
    rows.append({"pair": change, "truth": shots[0].answer, "answer": said.text, "picture tokens": sum(said.image_tokens)})
pd.DataFrame(rows)

# %% [markdown] minutes=15
# ## 10. Use 7: summarise a clip (15 minutes)
#
# *New words: [keyframe](../docs/glossary.md#keyframe).*
#
# The model sees pictures, not films. A clip must become a few frames, and somebody must choose them. The plain package accepts
# a clip and drops its frames without a word; so choose them yourself.
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
# Your way finds cuts. It is blind to a slow movement, in which no single step is large. The helper compares every frame with
# all those that are already chosen, and takes the one that looks least like any of them
# ([Gonzalez 1985](https://doi.org/10.1016/0304-3975(85)90224-5), farthest first). `method="cuts"` is close to yours.

# %%
from labs_helper.figures import frames_view
from labs_helper.pictures.keyframes import keyframes

chosen = keyframes(picture("crossing.mp4"), count=4)
frames_view(chosen)

# %%
clip = picture("crossing.mp4")
told = vision.ask(clip.question, images=[frame.image for frame in chosen])
print("Truth: ", clip.answer)
print("Answer:", told.text)
print(f"{len(told.image_tokens)} frames, {sum(told.image_tokens)} of {told.prompt_tokens} tokens, {told.seconds:.1f} s")

# %% [markdown]
# In the bundled model's list of frames `different` stands behind what was not there in the frame before.
#
# More frames are not always better: every frame costs its tokens, and twelve fill the original length. The bundled model saw
# clips of three to five frames. Try `count=3` and `count=5`, and say what is lost and what is gained.

# %% [markdown] minutes=6
# ## 11. Read the published figures (6 minutes)
#
# Microsoft's card has three tables for the real model: single pictures, several pictures (BLINK) and clips (Video-MME). All are
# Microsoft's own runs; compare within a table only.

# %%
from labs_helper.figures import benchmark_chart

benchmark_chart("vision_single_image", ["Phi-3.5-vision-instruct", "InternVL-2-4B"])

# %%
benchmark_chart("vision_blink", ["Phi-3.5-vision-instruct"])

# %%
benchmark_chart("vision_video_mme")

# %% [markdown]
# BLINK asks about several pictures at once, and the scores differ widely between its parts: a single average hides that. With
# longer clips the score falls: a few frames stand for an hour.

# %% [markdown] minutes=8
# ## 12. Look around (8 minutes)
#
# Choose pictures, upload your own, change their order and ask. The crops and the cost are shown before you ask. Without widgets:
# `vision.ask("...", images=["..."])`.

# %%
from labs_helper import look

look(vision, images=[picture("three-words.png")], prompt="Which words are written here?")

# %% [markdown]
# ## Recap
#
# In this lab you:
#
# - asked about pictures, and compared every answer with the truth;
# - computed what a picture costs, and wrote the exact prompt of two;
# - saw where the plain package loses a word, stretches a picture and shuffles its tiles, and repaired the last of them;
# - measured tokens, seconds and memory over `num_crops`, and the time to the first token;
# - measured reading errors, made a chart into a table, compared pairs, and chose keyframes.
#
# **Further reading:** the [Phi-3 technical report](https://arxiv.org/abs/2404.14219), the
# [CLIP paper](https://arxiv.org/abs/2103.00020), the
# [model card](https://huggingface.co/microsoft/Phi-3.5-vision-instruct) and the source of
# [mlx-vlm](https://github.com/Blaizzy/mlx-vlm).
#
# **Next:** [03: MoE](03-moe.ipynb): a router that sends every token to two of sixteen experts, and an agent with real tools.
#
# Last, give the memory back.

# %%
vision.release()
