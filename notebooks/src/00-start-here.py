# %% [markdown] minutes=2
# # Start the course and ask your first question
#
# **You will do:** check this machine, ask a language model a question, and solve one very small exercise.
#
# **You will learn:** which model answers here and why, how a notebook runs and stops, and where to find help.
#
# **You will need:**
#
# | | with the bundled model | with the real Phi-3.5-mini |
# | --- | --- | --- |
# | time | 20 minutes | 20 minutes and the download |
# | free memory | 1 GB | 5 GB at 4 bits, 7 GB at 8, 11 GB at 16, on a Mac with Apple silicon |
# | download | nothing | 2.15 GB, once, and only when you ask for it |
#
# No account, no key and no network are needed. Every lab runs to its end without them.

# %%
from labs_helper import check_setup

check_setup("00")

# %% [markdown]
# Read the table above. **OK** needs nothing. **NOTE** is good to know, and the labs work. **FIX** says what to do
# before you go on.

# %% [markdown] minutes=2
# ## 1. What this course is (2 minutes)
#
# *New words: [MLX](../docs/glossary.md#mlx).*
#
# Phi-3.5 is a family of three small language models that Microsoft published in August 2024 under the MIT licence.
# This course lets you run them, look inside them, and check what is said about them. The programs that run the models
# are MLX packages. MLX is Apple's library for machine learning; it works on Macs, and more slowly on Linux.
#
# | lab | you will | time |
# | --- | --- | --- |
# | 00 | start the course (you are here) | 20 minutes |
# | [01](01-instruct.ipynb) | ask Phi-3.5-mini questions and see how it answers | 2 hours |
# | [02](02-vision.ipynb) | show Phi-3.5-vision pictures and check what it sees | 2 hours |
# | [03](03-moe.ipynb) | watch a router choose among sixteen experts | 2 hours 45 minutes |
# | [07](07-agents.ipynb) | run an agent whose tools are real | 1 hour 5 minutes |

# %% [markdown] minutes=3
# ## 2. How a notebook works (3 minutes)
#
# *New words: [kernel](../docs/glossary.md#kernel), [token](../docs/glossary.md#token).*
#
# A notebook is a list of cells. A cell holds text or code. Code runs in a program beside this page: the **kernel**.
# The kernel remembers every variable until it is started again.
#
# ![Four toolbar buttons with numbers. 1: a triangle pointing right. 2: a filled square. 3: a round arrow. 4: two
# triangles pointing right.](../images/toolbar.svg)
#
# 1. **Run** the selected cell. On the keyboard: Shift and Enter together.
# 2. **Stop** what is running now. The labs stop at the next token, and everything you made before stays.
# 3. **Restart** the kernel. It forgets all variables. Then run the cells again from the top.
# 4. **Restart and run all** cells, from the first to the last.
#
# Takeaway: run the cells in their order; when something is confusing, use button 4.
#
# A star in the brackets on the left, `[*]`, means that a cell is still running. Try it with this cell: run it, press
# Stop while it counts, and look at what stays. Or let it finish; it takes two seconds.

# %%
import time

try:
    for second in range(1, 5):
        print(second, end=" ", flush=True)
        time.sleep(0.5)
except KeyboardInterrupt:
    print("stopped: the kernel is still here")

# %% [markdown] minutes=3
# ## 3. Ask your first question, in three cells (3 minutes)
#
# First, choose a model. `load` returns at once; the model is read when you ask something.

# %%
from labs_helper import check, hint, load

model = load("instruct")
model

# %% [markdown]
# Second, ask.

# %%
answer = model.ask("Where is Changsha?")
answer

# %% [markdown]
# Third, look at what came back. `answer` is more than a text: it knows who answered, how many tokens were read and
# written, and how fast. A **token** is a piece of text, often a word or a part of one. Lab 01 shows them one by one.

# %%
assert "China" in answer.text or "Hunan" in answer.text
answer.summary()

# %% [markdown] minutes=2
# ## 4. Which model answered, and why (2 minutes)
#
# *New words: [bundled model](../docs/glossary.md#bundled-model), [real model](../docs/glossary.md#real-model), [tier](../docs/glossary.md#tier).*

# %%
print(f"{answer.model} answered.")
print(f"Why: {model.reason}.")

# %% [markdown]
# There are two kinds of models in this course.
#
# - **The bundled model**, `instruct-tiny`, is part of the course. It has the architecture of Phi-3.5-mini and about
#   a thousandth of its size. It was trained for this course, on text that the course made. It is *not* one of
#   Microsoft's models. It knows where places are, some words in five languages, a little arithmetic, and what it is.
#   Outside this small world it should say that it does not know. Sometimes it is wrong.
# - **The real model**, Phi-3.5-mini-instruct, has 3.8 billion parameters. It needs a Mac with Apple silicon to be
#   fast enough, and a download of 2.15 GB.
#
# The setting `LABS_MODELS` decides: `tiny` takes the bundled model, `real` takes the real one, and `auto` (the usual
# setting) takes the real one only if it is already on this Mac and fits into its memory. Nothing is downloaded unless
# you ask for it. Every answer carries the name of the model that gave it.

# %% [markdown] minutes=3
# ## 5. Ask in five languages (3 minutes)
#
# The same question in English, Chinese, Korean, Japanese and Spanish.

# %%
questions = ["Where is Nairobi?", "内罗毕在哪里?", "나이로비는 어디에 있나요?",
             "ナイロビはどこにありますか?", "¿Dónde está Nairobi?"]
for question in questions:
    print(f"{question}  ->  {model.ask(question).text}")

# %% [markdown]
# Now ask about something outside the small world of the bundled model. The real model would answer this one.

# %%
print(model.ask("How does a car engine work?").text)

# %% [markdown]
# Your turn: put your own question between the quotes.

# %%
model.ask("What is the capital of Kenya?")

# %% [markdown] minutes=3
# ## 6. How exercises work (3 minutes)
#
# *New words: [stub](../docs/glossary.md#stub).*
#
# An exercise gives you a cell with three dots, `...`. Replace the dots with your answer and run the cell. Then run
# the cell with `check`. It says what is right, or what to look at again. It never stops the notebook.
#
# ### Exercise 0.1 (very easy, 1 minute): copy a fact from an answer
#
# In which country is Changsha? Look at the answer in section 3. Write the place between quotes.

# %% tags=["exercise"]
place = ...  # for example "Kenya", with the quotes

# %% tags=["solution"]
place = "China"  # for example "Kenya", with the quotes

# %%
check("0.1", place)

# %% [markdown]
# When you do not know how to go on, call `hint`. Each call shows one more hint.

# %%
hint("0.1")

# %% [markdown] minutes=1
# ## 7. See what is in memory (1 minute)
#
# *New words: [edition](../docs/glossary.md#edition).*
#
# A model stays in memory until it is released. `memory()` shows what is there.

# %%
from labs_helper import memory

memory()

# %% [markdown] minutes=1
# ## Where help is
#
# - `check_setup()` looks at this machine again and says what to do. In a terminal: `labs doctor`.
# - `help(load)` prints what a function does, with an example. So does `load?` in a cell.
# - `hint("0.1")` helps with an exercise. The solutions of every lab are in [solutions](solutions/00-start-here.ipynb).
# - An error that starts with a plain sentence comes from the course. The sentence says what to do next. The kernel
#   lives on, and the model before it still answers.
# - When nothing else helps: Restart and run all.
#
# ## Recap
#
# In this notebook you:
#
# - checked this machine with `check_setup`;
# - ran cells, and know how to stop them;
# - asked a model with `load` and `ask`, and know which model answered;
# - solved an exercise with `check` and `hint`.
#
# **Further reading:** the [JupyterLab interface](https://jupyterlab.readthedocs.io/en/stable/user/interface.html);
# the model card of [Phi-3.5-mini-instruct](https://huggingface.co/microsoft/Phi-3.5-mini-instruct);
# the [MLX documentation](https://ml-explore.github.io/mlx/).
#
# **Next:** [01: run Phi-3.5-mini Instruct and look inside it](01-instruct.ipynb).

# %%
model.release()
