"""The corpus: the two splits never meet, every case's own answer is graded right, and wrong ones are not."""

from __future__ import annotations

import re

import pytest

from training import people
from training.cases import Case, held_out
from training.config import CHECKPOINTS
from training.corpus import Corpus
from training.facts import RELATIONS, elsewhere
from training.grading import numbered, right, wilson
from training.knowing import names_by_kind
from training.tasks import MORE_TASKS, TASKS
from training.tokenizer import Encoder
from training.working import long_product
from training.world import LANGUAGES, fill, particle, phrases, table


def sections_with_questions(language):
    sections = {name: section for name, section in phrases(language).items() if isinstance(section, dict)}
    return {name: section for name, section in sections.items() if "ask" in section}


@pytest.mark.parametrize("language", LANGUAGES)
def test_held_out_phrasings_are_never_training_phrasings(language):
    for name, section in sections_with_questions(language).items():
        plain = {re.sub(r"[\W_]+", "", p).casefold() for p in section["ask"]}
        assert not plain & {re.sub(r"[\W_]+", "", p).casefold() for p in section["held_out"]}, name
        assert len(section["ask"]) > len(section["held_out"]) >= 1, name
    unknown = phrases(language)["unknown"]
    assert not set(unknown["topics"]) & set(unknown["topics_held_out"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_sections_and_keys_of_english(language):
    english, other = phrases("en"), phrases(language)
    assert set(other) == set(english)
    for name, section in english.items():
        if isinstance(section, dict):
            assert set(other[name]) == set(section), name


def test_the_tables_name_only_what_exists():
    cities, countries = {r["en"] for r in table("cities")}, {r["en"] for r in table("countries")}
    words = {r["en"] for r in table("words")}
    assert {r["capital"] for r in table("countries")} <= cities
    assert {r["country"] for r in table("cities")} <= countries
    assert {r["city"] for r in table("landmarks")} <= cities
    assert {r["region"] for r in table("cities")} - {""} <= {r["en"] for r in table("regions")}
    assert {r[k] for r in table("countries") for k in ("continent", "language", "currency")} <= words
    assert {r["colour"] for r in table("colours")} <= words
    for name in ("countries", "cities", "landmarks", "words", "colours", "people", "regions"):
        assert all(row[lang] for row in table(name) for lang in LANGUAGES), name


def test_operand_pairs_of_the_two_splits_never_meet():
    def pairs(split):
        stream = Corpus(split, 5)
        answers = [stream.arithmetic("en").messages[-1]["content"] for _ in range(1500)]
        return {re.match(r"(\d+) (.) (\d+)", answer).groups() for answer in answers}

    assert pairs("train") and not pairs("train") & pairs("eval")


def test_codes_and_people_of_the_two_splits_never_meet():
    def seen(split):
        stream = Corpus(split, 6)
        texts = [stream.needle("en", sentences=1).messages[0]["content"] for _ in range(150)]
        codes = {code for text in texts for code in re.findall(r"\b\d{4}\b", text)}
        return codes, {stream.json_object("en").messages[-1]["content"] for _ in range(300)}

    train, test = seen("train"), seen("eval")
    assert train[0] and not train[0] & test[0]
    assert {s for s in train[1] if "age" in s} and not train[1] & test[1]


def test_a_seed_gives_the_same_conversations_and_another_seed_others():
    def draw(seed):
        stream = Corpus("eval", seed)
        return [stream.arithmetic("en").messages for _ in range(5)]

    assert draw(3) == draw(3)
    assert draw(3) != draw(4)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("task", {**TASKS, **MORE_TASKS})
def test_the_reference_answer_is_right_and_another_is_wrong(task, language):
    stream = Corpus("eval", 11)
    for _ in range(12):
        case = {**TASKS, **MORE_TASKS}[task](stream, language)
        reference = case.messages[-1]["content"]
        assert right(case, reference), (case.prompt[-1], reference)
        assert not right(case, "")
        assert not right(case, "0 + 0 = -1")


def test_graders_are_strict():
    number = Case("add", "en", (), "85", "number")
    assert right(number, "47 + 38 = 85") and not right(number, "85 + 1 = 86") and not right(number, "185")
    obj = Case("json", "en", (), {"name": "Ana", "age": 31}, "json")
    assert right(obj, '{"age": 31, "name": "Ana"}')
    assert not right(obj, '{"age": "31", "name": "Ana"}') and not right(obj, 'Here: {"age": 31, "name": "Ana"}')
    given = Case("list", "en", (), ("a", "b"), "list")
    assert right(given, "1. a\n2. b") and not right(given, "1. b\n2. a") and not right(given, "1. a\n3. b")
    category = Case("list", "en", (), 2, "list", {"category": "animals"})
    assert right(category, "1. cat\n2. dog")
    assert not right(category, "1. cat\n2. cat") and not right(category, "1. cat\n2. sofa")
    short = Case("system prompt", "en", ({"role": "assistant", "content": "Lima"},), ("Lima",), "short")
    assert right(short, "Lima.") and not right(short, "The capital of Peru is Lima.")
    assert numbered("1. x\n\n2. y") is None


def test_korean_particles_and_spanish_contractions():
    assert particle("서울", "은") == "은" and particle("파리", "은") == "는"
    assert particle("서울", "으로") == "로" and particle("한국", "으로") == "으로"
    assert particle("3", "을") == "을" and particle("2", "을") == "를"
    assert fill("Capital de {x}", {"x": "el Reino Unido"}, "es") == "Capital del Reino Unido"
    assert fill("{x} is in {y}.", {"x": "the Colosseum", "y": "Rome"}, "en") == "The Colosseum is in Rome."


def test_one_value_in_ten_is_held_out():
    share = sum(held_out("add", (a, b)) for a in range(10, 100) for b in range(10, 100)) / 8100
    assert 0.08 < share < 0.12


def test_a_language_that_knows_little_still_speaks():
    stream = Corpus("train", 1, languages={"ko": 1.0}, known=0.0)
    said = {stream.fact("ko", relation).messages[-1]["content"] for relation in RELATIONS for _ in range(5)}
    assert len(said) == len(RELATIONS)


def test_unknown_split_is_refused():
    with pytest.raises(ValueError, match="train"):
        Corpus("test", 1)


# -- what instruct-tiny learned later ------------------------------------------------------------------------


@pytest.mark.parametrize(("a", "b"), [(47, 38), (99, 99), (40, 20), (11, 11), (15, 17), (80, 16), (97, 2), (60, 8)])
def test_long_products_are_written_as_at_school(a, b):
    text = long_product(a, b)
    assert text.endswith(f"{a} x {b} = {a * b}") and text.startswith(f"{a} x {b}: ")
    for left, right_side in re.findall(r"((?:\d+ [+x] )+\d+) = (\d+)", text.split(": ")[1]):
        assert eval(left.replace("x", "*")) == int(right_side), (left, text)
        # No step needs more than a digit with a digit and a carry, but for the product itself at the end.
        assert left == f"{a} x {b}" or all(len(number) == 1 for number in re.findall(r"\d+", left)), left


def test_counts_in_training_have_every_length_and_often_begin_at_one():
    drawn = [Corpus("train", 4).counting("en") for _ in range(1)]
    stream = Corpus("train", 4)
    drawn = [[int(n) for n in stream.counting("en").expect.split(", ")] for _ in range(600)]
    lengths = {len(numbers) for numbers in drawn}
    assert len(lengths) > 40 and 0.25 < sum(numbers[0] == 1 for numbers in drawn) / len(drawn) < 0.8
    assert all(numbers == list(range(numbers[0], numbers[-1] + 1)) for numbers in drawn)


def test_unknown_places_are_in_no_table_and_of_one_split():
    from labs_helper.agent.tools import place
    from labs_helper.errors import BadPlan

    for row in elsewhere():
        for language in LANGUAGES:
            with pytest.raises(BadPlan, match="no place is called"):
                place(row[language], "country")
    names = {
        split: {row["en"] for row in elsewhere() if Corpus(split, 1).mine("strange place", row["en"])}
        for split in ("train", "eval")
    }
    assert names["train"] and names["eval"] and not names["train"] & names["eval"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_yes_and_no_come_about_equally_often_and_are_told_apart(language):
    stream, said = Corpus("eval", 9), []
    for _ in range(200):
        case = stream.yes_or_no(language)
        answer, verdicts = case.messages[-1]["content"], stream.verdicts(language)
        said.append(verdicts[0] in answer)
        assert (verdicts[1] in answer) != said[-1]
        other = answer.replace(*(verdicts if said[-1] else verdicts[::-1]))
        assert not right(case, other), (case, other)
    assert 0.35 < sum(said) / len(said) < 0.65


@pytest.mark.parametrize("language", LANGUAGES)
def test_which_of_these_is_right_by_its_conclusion_alone(language):
    stream = Corpus("eval", 9)
    for _ in range(50):
        case = stream.which_of_these(language)
        answer, name = case.messages[-1]["content"], case.expect[0]
        assert answer.count(stream.verdicts(language)[0]) == 1  # one of the three is meant
        steps = answer.removesuffix(case.details["conclusion"])
        for wrong in case.details["wrong"]:
            assert wrong in steps
            assert not right(case, steps + case.details["conclusion"].replace(name, wrong))
        assert not right(case, steps)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_name_of_a_question_is_of_two_kinds(language):
    kinds = names_by_kind(language)
    names = [name.casefold() for kind in kinds.values() for name in kind]
    assert len(names) == len(set(names)) and min(map(len, kinds.values())) >= 5
    assert "orange" not in names and phrases("en")["kinds"].keys() == kinds.keys()


def test_verdicts_of_practice_are_true():
    stream = Corpus("train", 4)
    for language in LANGUAGES:
        yes, no = stream.verdicts(language)
        for _ in range(40):
            question, answer = (m["content"] for m in stream.membership(language).messages)
            found = [part for part in re.split(f"({re.escape(yes)}|{re.escape(no)})", answer) if part]
            for word, verdict in zip(found[::2], found[1::2], strict=True):
                assert (f" {word.strip()} " in f" {question} ") == (verdict == yes), (question, answer)
            claims = stream.claims(language).messages[-1]["content"]
            assert yes in claims or no in claims


def test_conclusions_weigh_more_in_the_loss():
    encoder = Encoder(CHECKPOINTS / "instruct-tiny")
    stream = Corpus("train", 4)
    for language in LANGUAGES:
        case = stream.yes_or_no(language)
        ids, mask = encoder.conversation(case.messages)
        stressed = encoder.tokenizer.decode([token for token, m in zip(ids, mask, strict=True) if m == 2])
        assert stressed.strip() in [verdict.strip() for verdict in stream.verdicts(language)]
        ids, mask = encoder.conversation(stream.membership(language).messages)
        assert set(mask) == {0, -1, 2}  # of practice nothing but the verdicts is learned


@pytest.mark.parametrize("language", LANGUAGES)
def test_blended_names_are_no_known_ones(language):
    known = {row[language] for name in ("countries", "cities") for row in table(name)}
    stream = Corpus("train", 2)
    made = {stream._blend(language) for _ in range(200)}
    assert len(made) > 100 and not made & known


def test_a_list_of_a_category_to_learn_from_is_always_the_same():
    stream, rows = Corpus("train", 3), [row["en"] for row in table("cities")]
    assert stream._items("cities", 4, "en", in_order=True) == rows[:4]
    assert stream._items("cities", 4, "en") != rows[:4]


def test_peoples_question_which_is_right_by_the_last_sentence():
    case = next(case for case in people.cases("instruct") if case.task == "which" and case.language == "en")
    assert right(case, "horse, an animal: no. pear, a fruit: yes. Lyon, a city: no. It is pear.")
    assert not right(case, "horse, an animal: no. pear, a fruit: yes. Lyon, a city: no. It is horse.")


def test_wilsons_interval():
    assert wilson(50, 50) == (0.9286, 1.0) and wilson(0, 50) == (0.0, 0.0714)
    low, high = wilson(190, 200)
    assert low < 0.95 < high and 0.90 < low < 0.92 and 0.97 < high < 0.98


def test_most_of_peoples_questions_are_no_phrasings_of_the_training():
    """Most are asked in words of their own; the shortest ways to ask ("20 percent of 350") are everybody's."""
    from training.moe.phrasing import bare, own_phrases

    for language in LANGUAGES:
        asked = [
            case.messages[-2]["content"]
            for name in ("agent", "instruct")
            for case in people.cases(name)
            if case.language == language
        ]
        assert len(asked) == len(set(asked)) >= 80
        templates = [
            t
            for source in (phrases(language), own_phrases()[language])
            for s in source.values()
            if isinstance(s, dict)
            for t in s.get("ask", ())
        ]
        patterns = [
            re.compile("(.{2,40}?)".join(re.escape(bare(part)) for part in re.split(r"\{.*?\}", t)))
            for t in templates
            if len(bare(re.sub(r"\{.*?\}", "", t))) > 8
        ]
        same = [question for question in asked if any(pattern.fullmatch(bare(question)) for pattern in patterns)]
        assert len(same) < 0.4 * len(asked), same


class Shrug:
    """A model that never knows."""

    tier = "tiny"

    def ask(self, messages, **options):
        from types import SimpleNamespace

        return SimpleNamespace(text="I do not know that.", finish_reason="stop", generated_tokens=5, seconds=0.1)


def test_peoples_questions_are_counted_by_task_and_language(monkeypatch):
    import labs_helper
    from training.config import CHECKPOINTS
    from training.evaluate import as_people_ask
    from training.grading import as_table

    monkeypatch.setattr(labs_helper, "load", lambda checkpoint: Shrug())
    tasks = as_people_ask(str(CHECKPOINTS / "moe-tiny"))["tasks"]
    assert tasks["instruct: unknown"]["en"] == {"accuracy": 1.0, "n": 8, "right": 8, "interval": wilson(8, 8)}
    assert tasks["instruct: unknown"]["zh"]["right"] == 0 and tasks["instruct: facts"]["all"]["right"] == 0
    assert tasks["instruct: all"]["all"]["n"] == 280 and tasks["agent: all"]["all"]["n"] == 300
    # It never came to a plan, so it refused nothing, and what it stopped with is no right answer either.
    assert (
        tasks["agent: place"]["all"]["refused"]
        == 0
        == tasks["agent: refused"]["all"]["right"]
        == tasks["hostile: all"]["all"]["right"]
    )
    assert "False refusals: 0 of" in as_table({"tasks": tasks})
    assert set(as_people_ask(str(CHECKPOINTS / "instruct-tiny"))["tasks"]) == {
        task for task in tasks if task.startswith("instruct")
    }


def test_the_questions_of_lab_04_are_held_out_cases_and_in_sync():
    """If this fails after a change of the corpus: python -m training.held_out."""
    from training import held_out

    assert held_out.FILE.read_text(encoding="utf-8") == held_out.text()
