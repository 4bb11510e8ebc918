"""The exercises of lab 01. Answers are compared with stored results, and those of common mistakes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from labs_helper.common.translate import _
from labs_helper.exercises import diagnosis, facts, stored
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

# --- 1.1 The prompt by hand -------------------------------------------------------------------------------

SYSTEM = "Answer in one word."
QUESTION = "What is the capital of Kenya?"


def _prompt_by_hand(value: object) -> str:
    written = text(value, _("The prompt"))
    expected = f"<|system|>\n{SYSTEM}<|end|>\n<|user|>\n{QUESTION}<|end|>\n<|assistant|>\n"
    if written == expected:
        return _("Character for character what the chat template makes.")
    if written.startswith("<s>"):
        raise TryAgain(_("Leave <s> out. It is not part of the text: if a tokenizer wants it, it adds the id itself."))
    for part, name in ((SYSTEM, _("the system message")), (QUESTION, _("the question"))):
        if part not in written:
            raise TryAgain(
                _("I do not find {name} in it: {text!r}, with the same capital letters and marks.").format(
                    name=name, text=part
                )
            )
    for marker in ("<|system|>", "<|user|>", "<|assistant|>"):
        if marker not in written:
            raise TryAgain(_("The marker {marker} is missing.").format(marker=marker))
    if written.index("<|user|>") < written.index("<|system|>"):
        raise TryAgain(_("The order is wrong. The system message comes first, then the user."))
    if written.count("<|end|>") != 2:
        raise TryAgain(
            _(
                "I count {count} times <|end|>. Each finished message ends with one: the system message "
                "and the question. The assistant's message is not finished, so it has none."
            ).format(count=written.count("<|end|>"))
        )
    if written.replace("\n", "").replace(" ", "") == expected.replace("\n", "").replace(" ", ""):
        raise TryAgain(
            _(
                "All parts are there; the spaces or new lines differ. There is one \\n after every marker "
                "<|...|>, <|end|> and the last <|assistant|> included, and no other white space around "
                "them."
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
        return _("Right: {count} stop ids. The first one the model produces ends the answer.").format(count=len(ids))
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
        raise TryAgain(_("Hand in two things: the dict of ratios and the name of the dearest language."))
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
    name = text(dearest, _("The dearest language")).strip().capitalize()
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
                "{name} has the most tokens per character, but not the most tokens: {tokens} for the sentence. The "
                "same meaning is what you pay for."
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
            "exchanged": _("The two tables are exchanged: the short one is for requests that fit."),
            "prompt alone": _("The prompt fits, but the answer grows past the original length. Add max_tokens."),
            "answer alone": _("You looked at max_tokens alone. Add the tokens of the prompt."),
            "one too strict": _("The request fits exactly, so the short table still holds."),
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


# --- 1.7 The KV cache -------------------------------------------------------------------------------------

# Phi-3.5-mini-instruct, its config.json: data/benchmarks/model_facts.csv
LAYERS, KV_HEADS, HEAD_DIM, BYTES = 32, 32, 96, 2


def _kv_bytes(value: object) -> str:
    answer = number(value)
    right = 2 * LAYERS * KV_HEADS * HEAD_DIM * BYTES
    if answer == right:
        return _("Right: {right} bytes, which is {kib} KiB for every token.").format(right=right, kib=right // 1024)
    for wrong, why in (
        (right / 2, _("Half of it. Keys and values are stored (two tensors), and each number takes 2 bytes.")),
        (right / 4, _("A quarter of it. Keys and values are two tensors, and each number takes 2 bytes.")),
        (right / 1024, _("This is the answer in KiB. Hand in bytes.")),
        (right * 8, _("This is in bits. Hand in bytes.")),
        (right / LAYERS, _("This is one layer. The model has 32, and each keeps its own cache.")),
        (right * 3072 / (KV_HEADS * HEAD_DIM) * KV_HEADS, _("The hidden size already is heads times head size.")),
        (2 * right, _("Twice too much. A 16-bit number takes 2 bytes.")),
    ):
        if abs(answer - wrong) < 1e-6:
            raise TryAgain(why)
    raise TryAgain(_("Multiply: 2 (keys and values), layers, KV heads, head size, bytes of one number."))


# --- 1.8 What the prompt cache saves ----------------------------------------------------------------------

TURNS, QUESTION_TOKENS, ANSWER_TOKENS = 10, 30, 70


def _prefill(value: object) -> str:
    without, cached = numbers(value, 2, _("The pair"))
    turn = QUESTION_TOKENS + ANSWER_TOKENS
    right_without = sum(turn * earlier + QUESTION_TOKENS for earlier in range(TURNS))
    right_cached = TURNS * QUESTION_TOKENS
    if (without, cached) == (right_without, right_cached):
        return _("Right: {without} against {cached}. The longer the chat, the more the cache saves.").format(
            without=right_without, cached=right_cached
        )
    if (without, cached) == (right_cached, right_without):
        raise TryAgain(_("Both numbers are right, in the other order: first without the cache, then with it."))
    if without == TURNS * turn or without == right_cached:
        raise TryAgain(_("Without a cache every turn reads the whole conversation again, not only its own part."))
    if without == sum(turn * (earlier + 1) for earlier in range(TURNS)):
        raise TryAgain(_("Nearly. The answer of the running turn is generated, not read: it is not in the prompt yet."))
    if without != right_without:
        raise TryAgain(_("The first number is not right. In turn k the prompt holds k - 1 full turns and a question."))
    if cached == TURNS * turn:
        raise TryAgain(
            _("The first is right. For the second: the model wrote the answers, so they are cached already.")
        )
    raise TryAgain(_("The first is right. With the cache only the new question of each turn is read."))


def exercises() -> tuple[Exercise, ...]:
    """The exercises of lab 01, in their order, with titles and hints in the learner's language."""
    # Long because it is a list, as long as the lab has exercises.
    return (
        Exercise(
            "1.1",
            _("Write the exact prompt by hand"),
            _prompt_by_hand,
            (
                _(
                    "Three parts follow each other: system, user, assistant. Each starts with its marker "
                    "and a new line."
                ),
                _("A finished message ends with <|end|> and a new line. A new line inside a text is written \\n."),
                _(
                    'It starts like this: "<|system|>\\nAnswer in one word.<|end|>\\n<|user|>\\n" and it ends '
                    'with "<|assistant|>\\n".'
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
                _("The dearest language is the one with the largest number of tokens: max(tokens, key=tokens.get)"),
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
            _("Compute the cache cost of one token"),
            _kv_bytes,
            (
                _("For one token, every layer stores one key and one value for each KV head."),
                _("One key of one head has 96 numbers, and one number takes 2 bytes."),
                _("2 * layers * kv_heads * head_dim * 2"),
            ),
        ),
        Exercise(
            "1.8",
            _("Compute what the cache saves"),
            _prefill,
            (
                _("Write down the prompt length of turns 1, 2 and 3 first: 30, 130, 230."),
                _("Without the cache: add up the ten prompt lengths. With it: only the new question is read."),
                _("without_cache = sum(100 * k + 30 for k in range(10)), with_cache = 10 * 30"),
            ),
        ),
    )
