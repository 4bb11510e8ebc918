"""The corpus: the two splits never meet, every case's own answer is graded right, and wrong ones are not."""

from __future__ import annotations

import re

import pytest

from training import corpus as c
from training.corpus import Case, Corpus, held_out
from training.evaluate import TASKS, numbered, right
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
@pytest.mark.parametrize("task", TASKS)
def test_the_reference_answer_is_right_and_another_is_wrong(task, language):
    stream = Corpus("eval", 11)
    for _ in range(12):
        case = TASKS[task](stream, language)
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
    said = {stream.fact("ko", relation).messages[-1]["content"] for relation in c.RELATIONS for _ in range(5)}
    assert len(said) == len(c.RELATIONS)


def test_unknown_split_is_refused():
    with pytest.raises(ValueError, match="train"):
        c.Corpus("test", 1)
