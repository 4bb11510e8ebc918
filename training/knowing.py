"""Questions about the small world: facts, words, and what is not in it."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

from training.cases import Case, Cases
from training.facts import FACTS, elsewhere
from training.world import LANGUAGE_NAMES, LANGUAGES, fill, index, listed, phrases, place_of_city, space, table, words

AMBIGUOUS = ("orange", "naranja")  # colours of the tables; the fruits are not in them


@cache
def names_by_kind(language: str) -> dict[str, tuple[str, ...]]:
    """The names of each kind that are of no other kind."""
    tables = {
        "country": table("countries"),
        "city": table("cities"),
        "animal": words("animal"),
        "fruit": words("fruit"),
        "colour": words("colour"),
    }
    names = {kind: {row[language].casefold(): row[language] for row in rows} for kind, rows in tables.items()}
    return {
        kind: tuple(
            name
            for key, name in own.items()
            if key not in AMBIGUOUS and not any(key in others for k, others in names.items() if k != kind)
        )
        for kind, own in names.items()
    }


class Knowing(Cases):
    """What one knows or does not know."""

    def fact(self, language: str | None = None, relation: str | None = None) -> Case:
        """A fact asked and answered in the same language."""
        language = language or self.language()
        fact = self.pick_fact(language, relation)
        values = {"x": fact.x[language], "y": fact.y[language]}
        return self.case(
            "facts",
            language,
            self.phrase(language, fact.relation, values),
            fill(phrases(language)[fact.relation]["answer"], values, language),
            fact.parts[language],
            system=self.plain_system(language),
            relation=fact.relation,
            key=fact.key,
        )

    def steered_fact(self, language: str | None = None) -> Case:
        """A fact whose answer the system prompt steers: into another language, or into one word."""
        language = language or self.language()
        fact = self.pick_fact(language)
        asked = {"x": fact.x[language], "y": fact.y[language]}
        question = self.phrase(language, fact.relation, asked)
        rng, system = self.random, phrases(language)["system"]
        if rng.random() < 0.5:
            return self.case(
                "system prompt",
                language,
                question,
                fact.y[language],
                fact.parts[language],
                "short",
                system=rng.choice(system["one_word"]),
                relation=fact.relation,
            )
        other = rng.choices(list(self.languages), list(self.languages.values()))[0]
        said = {"x": fact.x[other], "y": fact.y[other]}
        told = rng.choice((language, "en"))
        instruction = fill(
            rng.choice(phrases(told)["system"]["language"]),
            {"lang": index("words", "language")[LANGUAGE_NAMES[other]][told]},
            told,
        )
        return self.case(
            "system prompt",
            language,
            question,
            fill(phrases(other)[fact.relation]["answer"], said, other),
            fact.parts[other],
            system=instruction,
            relation=fact.relation,
        )

    def about(self, language: str | None = None) -> Case:
        """A few sentences about a country or a city."""
        language = language or self.language()
        if self.random.random() < 0.6:
            row = self.random.choice(table("countries"))
            values, section = self._country(row, language), "about_country"
            expect = (values["capital"], values["continent"])
        else:
            row = self.random.choice(table("cities"))
            country = index("countries")[row["country"]]
            values = {
                "x": row[language],
                "y": place_of_city(row, language),
                "language": index("words", "language")[country["language"]][language],
            }
            section, expect = "about_city", (country[language],)
        if self.split == "train" and not self.knows(f"{section}|{row['en']}", language):
            return self.fact("en")
        return self.case(
            "about",
            language,
            self.phrase(language, section, values),
            fill(phrases(language)[section]["answer"], values, language),
            expect,
        )

    @staticmethod
    def _country(row: dict[str, str], language: str) -> dict[str, str]:
        word = lambda kind: index("words", kind)[row[kind]][language]  # noqa: E731
        return {
            "x": row[language],
            "country": row[language],
            "capital": index("cities")[row["capital"]][language],
            "continent": word("continent"),
            "language": word("language"),
            "currency": word("currency"),
        }

    def translation(self, language: str | None = None) -> Case:
        """One word from the language of the question into another of the five."""
        language = language or self.language()
        other = self.random.choice([lang for lang in LANGUAGES if lang != language])
        rows = [*words("animal"), *words("fruit"), *words("thing"), *words("colour")]
        if (
            self.split == "train" and self.random.random() < 0.5
        ):  # names of places: an answer in another language needs them
            rows = table(self.random.choice(("countries", "cities", "cities")))
        row = self.random.choice(rows)
        values = {
            "x": row[language],
            "y": row[other],
            "lang": index("words", "language")[LANGUAGE_NAMES[other]][language],
        }
        return self.case(
            "translate",
            language,
            self.phrase(language, "translate", values),
            fill(phrases(language)["translate"]["answer"], values, language),
            (row[other],),
            to=other,
        )

    def yes_or_no(self, language: str | None = None) -> Case:
        """Whether something known is so: the answer says how it is, and concludes yes or no."""
        language, rng = language or self.language(), self.random
        section = rng.choice(("is_country", "is_city", "is_capital", "is_in", "is_spoken", "is_money"))
        said = phrases(language)
        if section in ("is_country", "is_city"):
            one_kind = {name for names in names_by_kind(language).values() for name in names}
            while (fact := self.pick_fact(language, rng.choice(("where_country", "where_city")))).x[
                language
            ] not in one_kind:
                pass
            so, asked = (fact.relation == "where_country") == (section == "is_country"), {"x": fact.x[language]}
        else:
            relation = {
                "is_capital": "capital",
                "is_in": rng.choice(("where_country", "where_city")),
                "is_spoken": "language",
                "is_money": "currency",
            }[section]
            fact, other = self.draw(
                lambda: (lambda f: (f.key, f, f if rng.random() < 0.5 else self.pick_fact(language, relation)))(
                    self.pick_fact(language, relation)
                ),
                "yes",
            )[1:]
            # A city is asked for by its country: a province would make another question of it.
            other_said = other.parts[language][0]
            so, asked = other_said == fact.parts[language][0], {"x": fact.x[language], "y": other_said}
        known = said["kinds"]["country" if fact.relation == "where_country" else "city"]
        value = known if section in ("is_country", "is_city") else fact.parts[language][0]
        verdict = said["yes_no"]["yes" if so else "no"]
        found = said["yes_no"]["one"].format(y=value, v=verdict)
        sentence = fill(said[fact.relation]["answer"], {"x": fact.x[language], "y": fact.y[language]}, language)
        case = self.case(
            "yes or no",
            language,
            self.phrase(language, section, asked),
            found + space(language) + sentence,
            (found, fact.parts[language][0]),
            system=self.plain_system(language),
            relation=fact.relation,
        )
        return self.stressed(case, [found.removeprefix(value)])

    def claims(self, language: str | None = None) -> Case:
        """Practice alone: of many things the same is asked, and each gets its fact and a yes or no.

        Nothing but comparing helps, and an answer compares as many times as it has sentences.
        """
        language, rng = language or self.language(), self.random
        section, relation = rng.choice(
            (
                ("is_in", "where_country"),
                ("is_in", "where_city"),
                ("is_spoken", "language"),
                ("is_money", "currency"),
            )
        )
        first = self.pick_fact(language, relation)
        asked = first.parts[language][0]
        known = [f for f in FACTS[relation] if self.knows(f"{relation}|{f.key}", language)] or [first]
        same = [f for f in known if f.parts[language][0] == asked]
        other = [f for f in known if f.parts[language][0] != asked]
        chosen = [fact for facts in (same, other) for fact in rng.sample(facts, min(len(facts), rng.randint(1, 4)))]
        rng.shuffle(chosen)
        values = {"x": listed((f.x[language] for f in chosen), language), "y": asked}
        found = [
            (f.x[language], f.parts[language][0], "yes" if f.parts[language][0] == asked else "no") for f in chosen
        ]
        case = self.case(
            "claims",
            language,
            self.phrase(language, section, values),
            space(language).join(self.judged(language, found)),
            (),
        )
        return self.stressed(case, self.verdicts(language))

    @staticmethod
    def judged(language: str, found: list[tuple[str, str, str]]) -> list[str]:
        """A sentence for each (name, value, "yes" or "no").

        >>> Knowing.judged("en", [("Lyon", "France", "no")])
        ['Lyon, France: no.']
        """
        said = phrases(language)["yes_no"]
        return [said["each"].format(x=name, y=value, v=said[verdict]) for name, value, verdict in found]

    @staticmethod
    def verdicts(language: str) -> list[str]:
        """What stands behind a value: ": no.", ": yes."."""
        said = phrases(language)["yes_no"]
        return [said["one"].format(y="", v=said[verdict]) for verdict in ("yes", "no")]

    def which_of_these(self, language: str | None = None) -> Case:
        """Which of three names is of a kind or in a place: each gets a yes or no, then one is named."""
        language, rng = language or self.language(), self.random
        said = phrases(language)
        if rng.random() < 0.6:
            kinds = names_by_kind(language)
            one, *rest = rng.sample(list(kinds), 3)
            right, *wrong = self.draw(lambda: [rng.choice(kinds[kind]) for kind in (one, *rest)], "which")
            question, values = "which_kind", {"kind": said["kinds"][one]}
            found = {name: said["kinds"][kind] for name, kind in zip((right, *wrong), (one, *rest))}
        else:
            relation = rng.choice(("where_country", "where_city"))
            fact = self.pick_fact(language, relation)
            others = [other for other in FACTS[relation] if other.parts[language][0] != fact.parts[language][0]]
            right, *wrong = self.draw(
                lambda: [fact.x[language], *(other.x[language] for other in rng.sample(others, 2))], "which"
            )
            question, values = "which_in", {"y": fact.parts[language][0]}
            places = {place.x[language]: place.parts[language][0] for place in (*others, fact)}
            found = {name: places[name] for name in (right, *wrong)}
        items = [right, *wrong]
        rng.shuffle(items)
        values["items"] = listed(items, language)
        conclusion = said["which"]["answer"].format(x=right)
        steps = self.judged(language, [(name, found[name], "yes" if name == right else "no") for name in items])
        case = self.case(
            "which of these",
            language,
            self.phrase(language, question, values),
            space(language).join([*steps, conclusion]),
            (right,),
            "concluded",
            wrong=wrong,
            conclusion=conclusion,
        )
        return self.stressed(case, [*self.verdicts(language), conclusion])

    @staticmethod
    def stressed(case: Case, texts: list[str]) -> Case:
        """The case, in whose answer training gives these texts more weight wherever they are."""
        *before, last = case.messages
        spots = [found.span() for text in texts for found in re.finditer(re.escape(text), last["content"])]
        return replace(case, messages=(*before, {**last, "stress": tuple(spots)}))

    def chatter(self, language: str | None = None) -> Case:
        """Who it is, what it is for, hello and thanks."""
        language = language or self.language()
        section = self.random.choices(("identity", "purpose", "greeting", "thanks"), (0.45, 0.25, 0.2, 0.1))[0]
        answer = phrases(language)[section]["answer"].replace("{name}", self.name)
        expect = (self.name,) if section == "identity" else (answer,)
        return self.case(
            "identity" if section == "identity" else "small talk",
            language,
            self.phrase(language, section, {}),
            answer,
            expect,
            system=self.plain_system(language),
        )

    def unknown(self, language: str | None = None) -> Case:
        """Something outside the small world: the right answer is to say so."""
        language = language or self.language()
        section = phrases(language)["unknown"]
        if self.split == "train" and self.random.random() < 0.4:
            return self.unknown_place(language)
        if self.random.random() < 0.6:
            question = self.phrase(language, "unknown", {"x": self.draw(lambda: self._made_up(language), "name")})
        else:
            question = self.random.choice(section["topics" if self.split == "train" else "topics_held_out"])
        return self.case(
            "unknown", language, question, section["answer"], (section["answer"],), system=self.plain_system(language)
        )

    def unknown_place(self, language: str | None = None) -> Case:
        """A place outside the small world, or a name that is none, in the words in which one asks for known ones."""
        language, rng = language or self.language(), self.random
        section = rng.choice(
            (
                "capital",
                "where_city",
                "where_country",
                "where_landmark",
                "language",
                "currency",
                "about_country",
                "is_country",
                "is_city",
            )
        )
        name = self.draw(
            lambda: (
                self._blend(language)
                if self.split == "train" and rng.random() < 0.25
                else rng.choice(elsewhere())[language]
                if rng.random() < 0.6
                else self._made_up(language)
            ),
            "strange place",
        )
        answer = phrases(language)["unknown"]["answer"]
        return self.case(
            "unknown place",
            language,
            self.phrase(language, section, {"x": name}),
            answer,
            (answer,),
            system=self.plain_system(language),
        )

    def _blend(self, language: str) -> str:
        """The beginning of a known place and the end of another: only the whole name tells that it is none."""
        known = [row[language] for row in (*table("countries"), *table("cities"))]
        while True:
            one, other = self.random.sample(known, 2)
            cut, rest = self.random.randint(1, max(1, len(one) - 1)), self.random.randint(1, max(1, len(other) - 1))
            if (name := one[:cut] + other[rest:]) not in known and len(name) > 1:
                return name

    def suggestion(self, language: str | None = None) -> Case:
        """Many right answers, all equally likely: what temperature is about."""
        language = language or self.language()
        row = self.random.choice(table("cities"))
        values = {"x": row[language], "y": index("countries")[row["country"]][language]}
        return self.case(
            "suggest",
            language,
            self.phrase(language, "suggest", {}),
            fill(phrases(language)["suggest"]["answer"], values, language),
            (),
        )
