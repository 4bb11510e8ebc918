# %% [markdown] minutes=2
# # Start the course and ask your first question
#
# **You will do:** check this machine, ask a language model a question, catch it inventing an answer, and solve one very small
# exercise.
#
# **You will learn:** which model answers here and why, how a notebook runs and stops, and where to find help.
#
# **You will need:**
#
# | | with the bundled model | with the real Phi-3.5-mini |
# | --- | --- | --- |
# | time | 20 minutes | the same, and the download |
# | free memory | 1 GB | 5 GB at 4 bits, 7 GB at 8, 11 GB at 16, on a Mac with Apple silicon; elsewhere 5 GB at 4 bits, through llama.cpp |
# | download | nothing | 2.15 GB, on a Mac with Apple silicon, else 2.39 GB; once, and only when you ask for it |
#
# You need no account, no key and no network. Every lab runs to its end without them.

# %% [markdown] tags=["learner"]
# **This is the learner edition.** The exercises wait for your answers, and outputs appear when you run the cells.

# %% [markdown] tags=["solution"]
# **This is the solution edition.** The exercises are solved and all outputs are here. The edition for learners has the
# same name, one folder up.

# %%
from labs_helper import check_setup

check_setup("00")

# %% [markdown]
# Read the table above. **OK**: nothing to do. **NOTE**: good to know; the labs work all the same. **FIX**: do what the row
# says before you go on.

# %% [markdown] minutes=3
# ## 1. Find your way through the course (3 minutes)
#
# *New words: [MLX](../docs/glossary.md#mlx).*
#
# Phi-3.5 is a family of three small language models: one for text, one that also sees pictures, and one built from sixteen
# experts. Microsoft published them in August 2024 under the MIT licence. In this course you run them, look inside them, and
# test what is claimed about them. MLX is Apple's library for machine learning. It uses the
# GPU of a Mac. On Linux and Windows it computes on the processor, which is enough for the small models of this course.
#
# ![A map of the labs. 00 leads into a box with all the others. In the box, dashed arrows lead from 01 to 03, from 03 to 07, from 01
# to 02, and from 01 to 08. 04, 05 and 06 have no arrow.](../images/course-map.svg)
#
# Takeaway: start with 00. A dashed arrow means that the earlier lab helps.
#
# | lab | you will | time |
# | --- | --- | --- |
# | 00 | start the course (you are here) | 20 minutes |
# | [01](01-instruct.ipynb) | ask Phi-3.5-mini questions and see how it answers | core 1 hour 30 minutes, everything 2 hours 40 minutes |
# | [02](02-vision.ipynb) | show Phi-3.5-vision pictures and find out what it cannot see | core 1 hour 40 minutes, everything 2 hours 35 minutes |
# | [03](03-moe.ipynb) | watch a router choose among sixteen experts | core 1 hour 30 minutes, everything 2 hours 20 minutes |
# | [04](04-quantize.ipynb) | measure what fewer bits cost, and what brings them back | core 1 hour 22 minutes, everything 1 hour 45 minutes |
# | [05](05-fine-tune.ipynb) | teach a model something new, and measure what it forgets | core 1 hour 30 minutes, everything 2 hours |
# | [06](06-serve.ipynb) | serve a model to twenty people, and break the server | core 1 hour 30 minutes, everything 1 hour 45 minutes |
# | [07](07-agents.ipynb) | run an agent whose tools are real | 1 hour 5 minutes |
# | [08](08-inside.ipynb) | write a Phi in NumPy, and find out what its heads do | core 1 hour 30 minutes, everything 2 hours 30 minutes |
#
# The **core** of a lab is its main path. Parts that go deeper say *optional* in their headings, and nothing outside of them
# needs them. Three routes:
#
# - **Two hours:** 00, then sections 1 to 3 of 01, then sections 1, 2 and 8 of 02.
# - **A day:** 00 and the cores of 01 and 02.
# - **Everything:** 00, 01, 08, 02, 03, 07, 04, 05, 06, in this order. That takes three days.

# %% [markdown] minutes=3
# ## 2. Run and stop a notebook (3 minutes)
#
# *New words: [kernel](../docs/glossary.md#kernel), [token](../docs/glossary.md#token).*
#
# A notebook is a list of cells. A cell holds text or code. Code runs in a program beside this page, the **kernel**. The kernel
# remembers every variable until you restart it.
#
# ![Four toolbar buttons with numbers. 1: a triangle pointing right. 2: a filled square. 3: a round arrow. 4: two
# triangles pointing right.](../images/toolbar.svg)
#
# 1. **Run** the selected cell. On the keyboard: Shift and Enter together.
# 2. **Stop** what is running. A model stops at its next token, and your variables stay.
# 3. **Restart** the kernel. It forgets all variables. Then run the cells again from the top.
# 4. **Restart and run all** cells, from the first to the last.
#
# Takeaway: run the cells in order. When something is confusing, use button 4.
#
# `[*]` on the left of a cell means that it is still running. Try it: run the next cell and press Stop while it counts. Or let it
# finish; it takes two seconds.

# %%
import time

try:
    for second in range(1, 5):
        print(second, end=" ", flush=True)
        time.sleep(0.5)
except KeyboardInterrupt:
    print("stopped: the kernel is still here")

# %% [markdown]
# If a cell ends with `NameError: name '...' is not defined`, a cell above it has not run since the kernel started. Run the cells
# from the top.

# %% [markdown] minutes=3
# ## 3. Ask your first question, in three cells (3 minutes)
#
# First, choose a model. `load` returns at once. The course reads the model from the disk when you first ask something.

# %%
from labs_helper import check, hint, load, predict, reveal

model = load("instruct")
model

# %% [markdown]
# Second, ask. But **guess first:** how many tokens will the answer to "Where is Changsha?" take? A **token** is a piece of text,
# often a word or a part of one. Replace the dots with a number. Nobody grades it.

# %% tags=["exercise"]
predict("0.3a", ...)

# %% tags=["solution"]
predict("0.3a", 10)

# %%
answer = model.ask("Where is Changsha?")
answer

# %%
reveal("0.3a", answer.generated_tokens)

# %% [markdown]
# There are more tokens than words: the tokenizer cuts rare names into pieces, and the invisible mark that ends an answer
# counts too. Lab 01 shows them one by one.
#
# Third, look at what came back. `answer` is more than a text. It says which model answered, how many tokens it read and
# wrote, and how fast. Lab 01 explains the cache and the LongRoPE table.

# %%
assert "China" in answer.text or "Hunan" in answer.text
answer.summary()

# %% [markdown] minutes=2
# ## 4. Know which model answered, and why (2 minutes)
#
# *New words: [bundled model](../docs/glossary.md#bundled-model), [real model](../docs/glossary.md#real-model), [tier](../docs/glossary.md#tier).*

# %%
print(f"{answer.model} answered.")
print(f"Why: {model.reason}.")

# %% [markdown]
# This course has two kinds of models.
#
# - **The bundled model**, `instruct-tiny`, comes with the course. It has the architecture of Phi-3.5-mini and about
#   a thousandth of its size. We trained it on text that a program wrote. It is *not* one of Microsoft's models. It
#   learned where [91 cities](../data/world/cities.csv) are, a few facts about [41 countries](../data/world/countries.csv), some words in five
#   languages, a little arithmetic, and what it is. Section 5 shows what it does beyond that.
# - **The real model**, Phi-3.5-mini-instruct, has 3.8 billion parameters and needs a download of over 2 GB. On a Mac with Apple
#   silicon it runs through MLX, on Linux and Windows through llama.cpp: a model of its shape wrote 7.2 tokens a second on two
#   x86 cores ([how we measured this, and which model suits which machine](../docs/models.md#which-lab-on-which-machine)). The
#   table of `check_setup("00")` names the one command that brings it to *this* machine.
#
# The setting `LABS_MODELS` decides: `tiny` takes the bundled model, `real` takes the real one, and `auto` (the usual
# setting) takes the real one only if it is already on this machine and fits into its memory. Nothing is downloaded unless
# you ask for it. Every answer carries the name of the model that gave it.
#
# A server can answer too. The end of [lab 01](01-instruct.ipynb) lists the hosted services, such as NVIDIA NIM and Azure AI
# Foundry, with what is left of their Phi-3.5.

# %% [markdown] minutes=3
# ## 5. Ask in five languages, and ask too much (3 minutes)
#
# Here is one question in English, Chinese, Korean, Japanese and Spanish.

# %%
questions = ["Where is Nairobi?", "内罗毕在哪里?", "나이로비는 어디에 있나요?",
             "ナイロビはどこにありますか?", "¿Dónde está Nairobi?"]
for question in questions:
    print(f"{question}  ->  {model.ask(question).text}")

# %% [markdown]
# Now three questions from outside its small world: how an engine works, where a city of a legend is, and how a word is said that
# is not among those it knows. For how many of the three will it say that it does not know?

# %% tags=["exercise"]
predict("0.5a", ...)

# %% tags=["solution"]
predict("0.5a", 3)

# %%
outside = ["How does a car engine work?", "Where is Atlantis?", "Translate 'telephone' into Spanish."]
said = [model.ask(question, max_tokens=40).text for question in outside]
reveal("0.5a", sum("not know" in text for text in said))

# %%
for question, text in zip(outside, said):
    print(f"{question}  ->  {text}")

# %% [markdown]
# Where it does not say so, it sounds just as sure as before. Its training taught it to say "I do not know that" about places and
# topics, with hundreds of examples. Nobody showed it a word that it could not translate, so it answers in the usual form, with a
# word that it knows: *melocotón* is a peach. Large models make this mistake less often and hide it better. So this course keeps
# asking: **how would you notice?**
#
# Your turn: put your own question between the quotes.

# %%
model.ask("What is the capital of Kenya?")

# %% [markdown] minutes=2
# ## 6. Solve an exercise (2 minutes)
#
# *New words: [stub](../docs/glossary.md#stub).*
#
# An exercise gives you a cell with three dots, `...`. Replace the dots with your answer and run the cell. Then run
# the cell with `check`. It says that you are right, or what to look at again. It never stops the notebook.
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
# When you are stuck, call `hint`. Each call shows one more hint.

# %%
hint("0.1")

# %% [markdown] minutes=1
# ## 7. See what is in memory (1 minute)
#
# A model stays in memory until you release it. `memory()` shows what is there.

# %%
from labs_helper import memory

memory()

# %% [markdown] minutes=1
# ## Where help is
#
# *New words: [edition](../docs/glossary.md#edition).*
#
# - `check_setup()` looks at this machine again and says what to do. In a terminal: `labs doctor`.
# - `help(load)` prints what a function does, with an example. So does `load?` in a cell.
# - `hint("0.1")` helps with an exercise. The solutions of every lab are in [solutions](solutions/00-start-here.ipynb).
# - An error that starts with a plain sentence comes from the course. The sentence says what to do next. The kernel keeps
#   running, and the models that you loaded still work.
# - The [glossary](../docs/glossary.md) explains terms, and [troubleshooting](../docs/troubleshooting.md) lists what went wrong for others.
# - When nothing else helps, restart and run all. To get an untouched copy of this lab, run `!labs reset 00` in a cell.
#   If JupyterLab then says **File Changed**, choose Revert: Overwrite would bring the old file back.
#
# ## Recap
#
# In this notebook you:
#
# - checked this machine with `check_setup`;
# - ran cells, and know how to stop them;
# - asked a model with `load` and `ask`, and know which model answered;
# - caught a model inventing an answer;
# - solved an exercise with `check` and `hint`.
#
# **Further reading:** the [JupyterLab interface](https://jupyterlab.readthedocs.io/en/stable/user/interface.html);
# the model card of [Phi-3.5-mini-instruct](https://huggingface.co/microsoft/Phi-3.5-mini-instruct);
# the [MLX documentation](https://ml-explore.github.io/mlx/).
#
# **Next:** [01: run Phi-3.5-mini Instruct and look inside it](01-instruct.ipynb).

# %%
from labs_helper.exercises import so_far

model.release()
so_far("00")
