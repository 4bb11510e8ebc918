"""The exercises of lab 01. Answers are compared with stored results, and those of common mistakes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from labs_helper.common.translate import _
from labs_helper.exercises import diagnosis, facts, instruct_experiments, stored
from labs_helper.exercises.base import (
    Exercise,
    NotYet,
    TryAgain,
    a_function,
    as_list,
    is_unfilled,
    kind,
    number,
    numbers,
    text,
)

# --- 1.1 An answer that is begun already -------------------------------------------------------------------

QUESTION = "What is the capital of Kenya?"
BEGUN = "The capital of Peru is"


def _begun_answer(value: object) -> str:
    written = text(value, _("The prompt"))
    expected = f"<|user|>\n{QUESTION}<|end|>\n<|assistant|>\n{BEGUN}"
    if written == expected:
        return _("The model now goes on from your words. It cannot tell them from its own.")
    if "\\n" in written:
        raise TryAgain(
            _(
                "It holds a backslash and the letter n, not a new line. Take away the r before the text, or the second "
                "backslash."
            )
        )
    if written.startswith("<s>"):
        raise TryAgain(_("Leave <s> out. It is not part of the text: if a tokenizer wants it, it adds the id itself."))
    for part, name in ((QUESTION, _("the question")), (BEGUN, _("the begun answer"))):
        if part not in written:
            raise TryAgain(
                _("I do not find {name} in it: {text!r}, with the same capital letters and marks.").format(
                    name=name, text=part
                )
            )
    for marker in ("<|user|>", "<|assistant|>"):
        if marker not in written:
            raise TryAgain(_("The marker {marker} is missing.").format(marker=marker))
    if not written.index("<|user|>") < written.index(QUESTION) < written.index("<|assistant|>") < written.index(BEGUN):
        raise TryAgain(_("The order is wrong. The user's message comes first, then the assistant's."))
    if written.rstrip().endswith("<|end|>"):
        raise TryAgain(
            _(
                "The answer ends with <|end|>, so it is finished and the model has nothing to continue. Stop after "
                "your words."
            )
        )
    if "<|system|>" in written:
        raise TryAgain(_("Leave the system message out this time: only the question and the begun answer."))
    if "<|end|>" not in written:
        raise TryAgain(_("The user's message is finished: it needs <|end|> before the assistant's marker."))
    if written != written.rstrip():
        raise TryAgain(
            _(
                "Stop right after the last letter. The next token brings its own space, and a space before it is one "
                "too many."
            )
        )
    if "".join(written.split()) == "".join(expected.split()):
        raise TryAgain(
            _(
                "All parts are there; the spaces or new lines differ. There is one \\n after <|user|>, after <|end|> "
                "and after <|assistant|>, and no other white space around them."
            )
        )
    raise TryAgain(_("Close. Compare it with the prompt printed above, marker by marker."))


# --- 1.2 The stop tokens ----------------------------------------------------------------------------------

# generation_config.json of Phi-3.5-mini-instruct: <|end|>, <|assistant|>, <|endoftext|>.
REAL_STOP_IDS = frozenset({32007, 32001, 32000})
REAL_END = 32007


def _stop_ids(value: object) -> str:
    if isinstance(value, Mapping):
        raise TryAgain(_('This is the whole file, as a dict. The list is under one of its keys: "eos_token_id".'))
    answer = [value] if isinstance(value, (str, bytes)) or not isinstance(value, Iterable) else as_list(value)
    if any(isinstance(part, str) and part.strip().isdigit() for part in answer):
        raise TryAgain(_("These ids are texts. Hand in whole numbers, without quotes."))
    if any(isinstance(part, str) for part in answer):
        raise TryAgain(_("Give the ids, not the names: whole numbers, in a list or a set."))
    read = [number(part, _("Each id")) for part in answer]
    if not all(part.is_integer() for part in read):
        raise TryAgain(_("An id is a whole number, and one of yours is not: {ids}.").format(ids=read[:10]))
    ids = {int(part) for part in read}
    bundled, end = facts.stop_ids("instruct-tiny"), facts.special_id("instruct-tiny", "<|end|>")
    if ids in (set(bundled), set(REAL_STOP_IDS)):
        return _(
            "Right: {count} stop ids. The first one the model produces ends the answer. Here config.json has the same "
            "list, so a program that reads the wrong file works by luck; that of the real model has only <|endoftext|>."
        ).format(count=len(ids))
    if not ids & {end, REAL_END}:
        raise TryAgain(_("The id of <|end|> is missing. It is the one that ends every message of a chat."))
    wanted = REAL_STOP_IDS if REAL_END in ids else bundled
    if ids < wanted:
        raise TryAgain(
            _("You have <|end|>, but the file lists more ids. A model can also end with <|endoftext|>, for example.")
        )
    raise TryAgain(_("Too many: {ids} would stop an answer that is not finished.").format(ids=sorted(ids - wanted)))


# --- 1.3 Temperature by hand ------------------------------------------------------------------------------

NAMES = ("Africa", "Asia", "Europe", "Oceania")  # of the four tokens, in the order of the task
ROUNDED = 5.1e-3  # two decimals are enough


def _temperature(value: object) -> str:
    if isinstance(value, Mapping) and set(value) == set(NAMES):
        value = [value[name] for name in NAMES]
    answer = numbers(value, len(NAMES), _("The list"))
    case = stored.case("1.3")

    def close(given: list[float], expected: list[float]) -> bool:
        return all(abs(a - b) <= ROUNDED * max(1, abs(b)) for a, b in zip(given, expected, strict=True))

    sentences = {
        "temperature 1": _("These are the probabilities at temperature 1. Divide each logit by the temperature first."),
        "multiplied": _("You multiplied by the temperature. Divide: a small temperature makes differences larger."),
        "per cent": _("These are in per cent. A probability is between 0 and 1."),
        "not divided": _("The four numbers must add up to 1. Divide each by their sum."),
        "not divided, temperature 1": _(
            "The four numbers must add up to 1: divide each by their sum. And divide the logits by the temperature "
            "first."
        ),
        "logits shared": _("You divided the logits by their sum. Take math.exp of each one first."),
        "scaled logits": _(
            "These are the logits divided by the temperature. Take math.exp of each, then divide by the sum."
        ),
        "base 2": _("You took powers of 2. math.exp takes powers of e."),
        "base 10": _("You took powers of 10. math.exp takes powers of e."),
        "afterwards": _("You divided the probabilities by the temperature. Divide the logits, before math.exp."),
        "one decimal": _(
            "This is rounded to one decimal, and small probabilities are gone. Keep two decimals or more."
        ),
        "": _("They add up to 1, but they are not softmax(logits / temperature). Check the exponent."),
    }
    if close(answer, case.right):
        return _("Right. At temperature {temperature} the first token gets {share:.0%} of the draws.").format(
            temperature=0.5, share=answer[0]
        )
    if any(part < 0 for part in answer):
        raise TryAgain(_("A probability is never negative. Use math.exp on each logit divided by the temperature."))
    if close(sorted(answer), sorted(case.right)):
        raise TryAgain(_("The values are right, the order is not. Keep the order of the logits."))
    if abs(sum(answer) - 1) > 0.03:
        sentences[""] = _("The four numbers must add up to 1. Yours add up to {total:.3g}.").format(total=sum(answer))
    diagnosis.refuse([answer], [case], sentences, close=close)
    raise AssertionError  # refuse has raised


# --- 1.4 What a language costs ----------------------------------------------------------------------------

# The notebook shows the same three sentences; tests/exercises/test_lab01.py compares them.
SENTENCES = {
    "English": "The capital of France is Paris, and people there speak French.",
    "Chinese": "法国的首都是巴黎，那里的人说法语。",
    "Korean": "프랑스의 수도는 파리이고, 그곳 사람들은 프랑스어를 말합니다.",
}


def _language_cost(value: object) -> str:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TryAgain(
            _("Hand in two things: the dict of ratios and the name of the language that costs the most tokens.")
        )
    ratios, dearest = value
    if not isinstance(ratios, Mapping):
        raise TryAgain(
            _("The ratios must be a dict, language to number. I was given {kind}.").format(kind=kind(ratios))
        )
    missing = [language for language in SENTENCES if language not in ratios]
    if missing:
        raise TryAgain(_("A ratio is missing for: {languages}.").format(languages=", ".join(missing)))
    given = {name: number(ratios[name], _("The ratio of {language}").format(language=name)) for name in SENTENCES}
    tokens = _tokens_of(given)
    name = text(dearest, _("The name of the language")).strip().capitalize()
    highest = max(tokens.values())
    most = {language for language, count in tokens.items() if count == highest}
    if name in most:
        return _("Right. For this sentence {name} needs the most tokens: {tokens}.").format(
            name=name, tokens=tokens[name]
        )
    if name not in SENTENCES:
        raise TryAgain(_("Name one of {languages}.").format(languages=", ".join(SENTENCES)))
    if name == max(given, key=lambda language: given[language]):
        raise TryAgain(
            _(
                "{name} has the most tokens per character, but not the most tokens: {tokens} for the sentence. "
                "You pay for the whole sentence."
            ).format(name=name, tokens=tokens[name])
        )
    raise TryAgain(
        _("{name} needs {tokens} tokens for the sentence; another language needs more. Compare the tokens.").format(
            name=name, tokens=tokens[name]
        )
    )


def _tokens_of(ratios: Mapping[str, float]) -> dict[str, int]:
    """The tokens of each sentence that ratios agree with, by a tokenizer of this machine."""
    counts = facts.token_counts(tuple(SENTENCES.values()))
    lengths = [len(sentence) for sentence in SENTENCES.values()]
    given = [ratios[language] for language in SENTENCES]
    for tokens in counts:
        right = [count / length for count, length in zip(tokens, lengths, strict=True)]
        wrong = [language for language, a, b in zip(SENTENCES, given, right, strict=True) if abs(a - b) > ROUNDED]
        if not wrong:
            return dict(zip(SENTENCES, tokens, strict=True))
    tokens = counts[0]  # of the bundled model, which is always here
    by_bytes = [len(sentence.encode()) for sentence in SENTENCES.values()]
    for mistaken, why in (
        (
            [n / c for c, n in zip(tokens, lengths, strict=True)],
            _("Divide tokens by characters, not the other way round."),
        ),
        (tokens, _("These are the tokens. Divide each by the characters of its sentence, len(sentence).")),
        (lengths, _("These are the characters. Divide the tokens by them.")),
        (
            [c / n for c, n in zip(tokens, by_bytes, strict=True)],
            _("You divided by bytes. len(sentence) counts characters; a Korean one has three bytes."),
        ),
        (
            [c / len(sentence.split()) for c, sentence in zip(tokens, SENTENCES.values(), strict=True)],
            _("You divided by words. Divide by characters, len(sentence)."),
        ),
        (
            [100 * c / n for c, n in zip(tokens, lengths, strict=True)],
            _("These are in per cent. Do not multiply by 100."),
        ),
        (
            [(c + 1) / n for c, n in zip(tokens, lengths, strict=True)],
            _("Each sentence has one token too many. Is a start token counted? instruct.count_tokens leaves it out."),
        ),
    ):
        if all(abs(a - b) <= ROUNDED * max(1, abs(b)) for a, b in zip(given, mistaken, strict=True)):
            raise TryAgain(why)
    raise TryAgain(
        _(
            "The ratio of {language} is not what the model's tokenizer gives. Divide tokens[...] by len(sentence)."
        ).format(language=", ".join(wrong))
    )


# --- 1.5 The misprints ------------------------------------------------------------------------------------


def _misprints(value: object) -> str:
    if isinstance(value, Mapping):
        value = [(*key, score) if isinstance(key, tuple) else (key, score) for key, score in value.items()]
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TryAgain(
            _("Hand in a list of (model, benchmark, right value). I was given {kind}.").format(kind=kind(value))
        )
    right = {(m.casefold(), b.casefold()): v for m, b, v in stored.case("1.5").right}
    seen: set[tuple[str, str]] = set()
    for entry in as_list(value):
        entry = as_list(entry) if isinstance(entry, Iterable) and not isinstance(entry, str) else []
        if len(entry) != 3:
            raise TryAgain(_("Each entry must have three parts: model, benchmark, right value."))
        model, benchmark, score = entry
        if is_unfilled(score):
            raise NotYet
        key = (text(model, _("The model")).strip().casefold(), text(benchmark, _("The benchmark")).strip().casefold())
        if key[::-1] in right:
            raise TryAgain(_("The order is model, benchmark, right value. Yours begins with the benchmark."))
        if key not in right:
            raise TryAgain(
                _("{model}, {benchmark}: this score agrees wherever it is printed. Use the printed names.").format(
                    model=model, benchmark=benchmark
                )
            )
        given = number(score, _("The right value"))
        if abs(given - right[key]) > 1e-6:
            told = _("{model}, {benchmark}: yes, this one is misprinted.").format(model=model, benchmark=benchmark)
            if abs(given - right[key]) < 0.1:
                why = _("Give the value with one decimal, as it is printed in the other table.")
            else:
                why = _("But {score} does not give the printed average. Try the other value.").format(score=score)
            raise TryAgain(f"{told} {why}")
        seen.add(key)
    if len(seen) < len(right):
        raise TryAgain(
            _("{seen} found, all correct. There are {count} in all: look in the other tables.").format(
                seen=len(seen), count=len(right)
            )
        )
    return _("All {count} found. A published table deserves the same check as your own.").format(count=len(right))


# --- 1.6 Which RoPE table ---------------------------------------------------------------------------------


def _rope_table(value: object) -> str:
    function = a_function(value, "choose_table")
    tried = stored.cases("1.6")

    def read(answer: object, call: str) -> str:
        if answer not in ("short", "long"):
            raise TryAgain(
                _('{call} must return "short" or "long". It returned {answer!r}.').format(
                    call=call, answer=str(answer)[:40]
                )
            )
        return str(answer)

    diagnosis.judge(
        function,
        tried,
        {
            "exchanged": _("You swapped the two tables: the short one is for requests that fit."),
            "prompt alone": _("The prompt fits, but the answer grows past the original length. Add max_tokens."),
            "answer alone": _("You looked at max_tokens alone. Add the tokens of the prompt."),
            "one too strict": _("The request fits exactly, so the short table still applies."),
            "one too many": _("That request is one token too long for the short table."),
            "always 256": _("The original length is an argument: it is 4096 for the real model. Do not write 256."),
            "always 4096": _("The original length is an argument: it is 256 for the bundled model. Do not write 4096."),
            "": _("Compare the whole request, prompt and max_tokens, with the original length."),
        },
        call=lambda *arguments: f"choose_table{arguments}",
        read=read,
        close=lambda answer, right: answer == right,
    )
    return _("Right for all {count} requests, the two at the exact limit included.").format(count=len(tried))


def exercises() -> tuple[Exercise, ...]:
    """The exercises of lab 01, in their order, with titles and hints in the learner's language."""
    # Long because it is a list, as long as the lab has exercises.
    return (
        Exercise(
            "1.1",
            _("Put words into the model's mouth"),
            _begun_answer,
            (
                _("The prompt holds two messages: the user's is complete, the assistant's has only begun."),
                _("A complete message ends with <|end|> and a new line. The begun answer ends with its last letter."),
                _(
                    'It starts like this: "<|user|>\\nWhat is the capital of Kenya?<|end|>\\n" and goes on with '
                    '"<|assistant|>\\n".'
                ),
            ),
        ),
        Exercise(
            "1.2",
            _("Find the stop ids"),
            _stop_ids,
            (
                _("The file generation_config.json in the folder of the checkpoint lists them."),
                _('The key is "eos_token_id". Its value is a list.'),
                _('stop_ids = json.loads((checkpoint / "generation_config.json").read_text())["eos_token_id"]'),
            ),
        ),
        Exercise(
            "1.3",
            _("Apply a temperature by hand"),
            _temperature,
            (
                _("First divide every logit by the temperature. Then math.exp. Then divide by the sum."),
                _("weights = [math.exp(z / temperature) for z in logits.values()]"),
                _("probabilities = [w / sum(weights) for w in weights]"),
            ),
        ),
        Exercise(
            "1.4",
            _("Compute what a language costs"),
            _language_cost,
            (
                _("The ratio is the number of tokens divided by the number of characters, len(sentence)."),
                _(
                    "A dict comprehension does it: {language: tokens[language] / len(sentence) for language, "
                    "sentence in sentences.items()}"
                ),
                _("The sentence costs most in the language with the most tokens: max(tokens, key=tokens.get)"),
            ),
        ),
        Exercise(
            "1.5",
            _("Find the misprints"),
            _misprints,
            (
                _(
                    "The cell above lists the scores that are printed with two values. There are two. Decide "
                    "by the averages."
                ),
                _(
                    "For each model, put in the other value and take the mean again. One value gives the "
                    "printed average."
                ),
                _(
                    "The other three are in the row Long context of the category table. Compare it with the "
                    "averages in the long-context table: three values are in the wrong columns."
                ),
            ),
        ),
        Exercise(
            "1.6",
            _("Choose the RoPE table"),
            _rope_table,
            (
                _("What counts is the longest position the request can reach."),
                _("That is prompt_tokens + max_tokens. Compare it with the original length."),
                _('return "short" if prompt_tokens + max_tokens <= original else "long"'),
            ),
        ),
        Exercise(
            "1.7",
            _("Judge a needle test of your own"),
            instruct_experiments.needle,
            (
                _("Change one line of crowded, and keep the rest: then you know what made the difference."),
                _("Ask in a loop over the seeds 0 to 39, and count the answers that hold the right code."),
                _(
                    "by_guessing(found, asked, 1 / (others + 1)) below 0.05 means: better than guessing. Anything else "
                    "means: no better than guessing."
                ),
            ),
        ),
        Exercise(
            "1.8",
            _("Write the loss of DPO"),
            instruct_experiments.dpo,
            (
                _("First the gap: how much the better answer gained, minus how much the worse answer gained."),
                _("The sigmoid is 1 / (1 + math.exp(-x)). The gap times beta goes into it."),
                _("return -math.log(1 / (1 + math.exp(-beta * gap)))"),
            ),
        ),
        Exercise(
            "1.9",
            _("Find the temperature at which half of the draws differ"),
            instruct_experiments.half_new,
            (
                _(
                    "draw(seed, temperature) gives one text. Draw with the seeds 1 to 20, and count with "
                    "len(set(draws))."
                ),
                _("Try 0.1 and 1 first. Then go to the middle of the half that holds the answer."),
                _("draws = [draw(seed, temperature) for seed in range(1, 21)]"),
            ),
        ),
    )
