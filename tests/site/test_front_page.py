"""What `make site` adds to the documents: data of the front page, buttons, engine, policy, service worker."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import subprocess
from pathlib import Path

import pytest

from docs.site.door import course, engine, models, publish, questions
from labs_helper.catalog.labs import labs
from labs_helper.figures.base import Figure

ROOT = Path(__file__).resolve().parents[2]
SHOWN = "Lima is a city in Peru.\n[instruct-tiny: 9 prompt tokens, 8 generated, ended by itself]"
PRINTED = {"output_type": "stream", "name": "stdout", "text": "A  ->  one\nB  ->  two\n"}


def cell(source: str, *outputs: dict) -> dict:
    return {"cell_type": "code", "id": "a", "source": source, "outputs": list(outputs)}


def result(text: str) -> dict:
    return {"output_type": "execute_result", "data": {"text/plain": text}}


# --- the front page ----------------------------------------------------------------------------------------------


def test_the_front_page_has_every_lab_and_a_picture_of_each():
    stops = {stop.number: stop for stop in course.stops()}
    for lab in labs():
        stop = stops[lab.number]
        assert stop.there
        assert stop.about
        assert (ROOT / stop.page).with_suffix(".ipynb").is_file()
        assert stop.picture, f"lab {lab.number} has no picture; docs/site/door/front.toml says which it is"
        assert stop.picture.printed or stop.picture.markup or (stop.picture.data and stop.picture.alt)


def test_a_picture_is_read_from_either_kind_of_address():
    svg = '<svg xmlns="http://www.w3.org/2000/svg"><text>100 % of #1, &lt;3, 토큰</text></svg>'
    packed = base64.b64encode(svg.encode()).decode()
    texts = [Figure.from_svg(svg, alt="a").html, f'<img src="data:image/svg+xml;base64,{packed}" alt="a" width="9">']
    assert "base64" not in texts[0]
    found = [course._picture("01", {"data": {"text/html": text}}) for text in texts]
    assert [each.data.decode().replace("'", '"') for each in found] == [svg, svg]


def test_what_helps_what_is_as_on_the_map_of_notebook_00():
    alt = re.search(r"!\[(A map of the labs\..*?)\]", "".join(course._cell_with("A map of the labs")), re.S)[1]
    arrows = set(re.findall(r"from (\d\d) to (\d\d)", " ".join(alt.split())))
    assert arrows == {(other, lab.number) for lab in labs() for other in lab.after}


def test_three_routes_name_labs_that_exist():
    routes = course.routes()
    assert len(routes) == 3
    known = {stop.number for stop in course.stops()}
    for route in routes:
        assert route.labs[0] == "00"
        assert set(route.labs) <= known


def test_two_commands_and_one_promise():
    assert [command.split()[0] for command in course.commands()] == ["git", "make"]
    assert course.promise().startswith("See how a language model works")
    assert course.needs().startswith("You need git and Python")


def test_an_answer_with_its_tokens_is_beside_the_promise():
    shown = course.answer()
    assert shown.question.endswith((".", "?"))
    assert shown.tokens.count("title=") > 3
    assert shown.caption
    assert shown.unsure.count("%") > 1  # what the least sure token could have been


def test_what_the_page_says_about_a_model_is_what_was_measured():
    for name in models.NAMES:
        measured = json.loads((models.CHECKPOINTS / name / "evaluation.json").read_text("utf-8"))["4-bit"]
        about = models.about(name)["measured"]
        assert about["facts"] == {"right": measured["facts"]["all"]["right"], "of": measured["facts"]["all"]["n"]}
        assert len(about) == len(measured)
    card = " ".join((models.CHECKPOINTS / "instruct-tiny/MODEL_CARD.md").read_text("utf-8").split())
    assert f"{models.world()['countries']} countries, {models.world()['cities']} cities" in card


# --- "Try it here" -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "answers"),
    [
        (cell('model.ask("Where is Lima?")', result(SHOWN)), ["Lima is a city in Peru."]),
        (cell('q = ["A", "B"]\nfor x in q:\n    print(model.ask(x).text)', PRINTED), ["one", "two"]),
        (cell('d = [{"role": "user", "content": "A"}]\nprint("Answer:", model.ask(d).text)',
              {**PRINTED, "text": "Answer: one\n"}), ["one"]),
    ],
)  # fmt: skip
def test_a_cell_that_asks_a_bundled_model_gets_a_button(found, answers):
    asked = questions.asked(found, {"model": "instruct-tiny"})
    assert [stored for _messages, stored in asked.answers] == answers


@pytest.mark.parametrize(
    "found",
    [
        cell('vision.ask("Where is Lima?")', result(SHOWN)),  # a model that the page does not have
        cell('model.ask("Where is Lima?", images=p)', result(SHOWN)),
        cell('model.ask("Where is Lima?", temperature=1.0)', result(SHOWN)),  # drawn
        cell("model.ask(elsewhere)", result(SHOWN)),  # what is asked cannot be read from the cell
        cell('model.ask("Where is Lima?")'),  # nothing is stored
        cell('model.ask("A")\nmodel.ask("B")', result(SHOWN)),
        cell("!labs doctor"),
        {"cell_type": "markdown", "source": 'model.ask("Where is Lima?")'},
    ],
)
def test_other_cells_do_not_pretend(found):
    assert questions.asked(found, {"model": "instruct-tiny"}) is None


def test_the_solved_labs_have_buttons():
    for number, least in (("00", 3), ("01", 2)):
        content = json.loads(questions.with_buttons(json.dumps(course.notebook(number))))
        places = [found for found in content["cells"] if 'class="labs-try"' in "".join(found["source"])]
        assert len(places) >= least
    assert len(questions.compared(course.notebook("01")["cells"])) == 5


# --- the engine --------------------------------------------------------------------------------------------------


def package(data: bytes = b"x", integrity: str = "sha512-AAAA") -> engine.Package:
    return engine.Package("@a/b", "1.0.0", integrity, {"b.js": "b.js"})


def test_a_build_without_npm_and_without_cache_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _name: None)
    with pytest.raises(engine.EngineMissing, match=r"needs the npm package @wllama/wllama@.*\nInstall npm.*ENGINE=0"):
        engine.add(tmp_path / "site", tmp_path / "npm")


def test_a_build_without_a_network_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _name: "/bin/npm")
    failed = subprocess.CompletedProcess([], 1, "", "getaddrinfo failed\nmore")
    monkeypatch.setattr("subprocess.run", lambda *_args, **_options: failed)
    with pytest.raises(engine.EngineMissing, match=r"could not fetch it \(getaddrinfo failed\)"):
        engine.add(tmp_path / "site", tmp_path / "npm")


def test_another_file_than_the_pinned_one_is_refused_and_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "packages", lambda: [package()])
    kept = tmp_path / package().archive
    kept.write_bytes(b"something else")
    with pytest.raises(engine.EngineMissing, match="is not the file that"):
        engine.add(tmp_path / "site", tmp_path)
    assert not kept.exists()


def test_packages_are_pinned_exactly():
    for pinned in engine.packages():
        assert re.fullmatch(r"\d+\.\d+\.\d+", pinned.version)
        assert re.fullmatch(r"sha512-[A-Za-z0-9+/]{86}==", pinned.integrity)
    assert len({pinned.version for pinned in engine.packages()}) == 1  # both builds are of one release


def test_compressed_files_are_the_same_in_every_build():
    assert engine.packed(b"model" * 100) == engine.packed(b"model" * 100)
    assert gzip.decompress(engine.packed(b"model")) == b"model"


# --- policy and service worker -----------------------------------------------------------------------------------


def test_the_policy_allows_this_site_and_the_scripts_that_a_page_holds():
    found = publish.policy(
        '<script>let a = 1</script><script type="application/json">{}</script><script src="a.js"></script>'
    )
    scripts = re.search(r"script-src ([^;]*)", found)[1]
    assert scripts.count("sha256-") == 1
    assert "unsafe-inline" not in scripts
    assert "unsafe-eval'" not in scripts.replace("'wasm-unsafe-eval'", "")
    assert "http" not in found


def test_the_policy_allows_the_handlers_that_a_page_holds_and_no_other():
    found = publish.policy('<select onkeydown="if(a&amp;&amp;b)c(&#x27;d&#x27;)"></select>')
    digest = base64.b64encode(hashlib.sha256(b"if(a&&b)c('d')").digest()).decode()
    assert f"'sha256-{digest}' 'unsafe-hashes'" in found and "unsafe-inline" not in found.split("style-src")[0]
    assert "unsafe-hashes" not in publish.policy("<p>onkeydown</p>")


def test_every_page_gets_the_policy_once(tmp_path):
    page = tmp_path / "a.html"
    page.write_text('<html><head><meta charset="utf-8"/>\n<title>a</title></head></html>', "utf-8")
    for _build in range(2):
        publish.protect(tmp_path)
    assert page.read_text("utf-8").count("Content-Security-Policy") == 1


def test_what_the_theme_leaves_out_is_added_once(tmp_path):
    page = tmp_path / "a.html"
    body = (
        '<p class="caption" role="heading">a</p><aside class="toc-drawer no-toc"></aside><th class="head"><p></p></th>'
    )
    page.write_text(f'<html><head><meta charset="utf-8"/></head><body>{body}</body></html>', "utf-8")
    for _build in range(2):
        publish.protect(tmp_path)
    text = page.read_text("utf-8")
    assert text.count('aria-level="2"') == text.count("aria-label=") == text.count("<td></td>") == 1
    assert "<th" not in text


def test_the_service_worker_keeps_the_shell_and_its_version_follows_the_content(tmp_path):
    files = {
        "index.html": '<link href="a.css?v=1"><script src="x/a.js"></script>',
        "ask/index.html": '<script src="../x/b.js"></script>',
        "ko/index.html": '<link rel="alternate" hreflang="en" href="../other.html"><img src="../d.svg">',
        "ko/ask/index.html": "",
        "a.css": "",
        "x/a.js": 'import { c } from "./c.js";',
        "x/b.js": "",
        "x/c.js": "",
        "x/d.js": "",
        "model/manifest.json": json.dumps({"files": {"m.gz": {"version": "abc"}}}),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    first = publish.worker(tmp_path)
    written = (tmp_path / "service-worker.js").read_text("utf-8")
    shell = json.loads(re.search(r"const SHELL = (.*);", written)[1])
    assert set(shell) == set(files) - {"x/d.js"}
    assert '"model/m.gz?v=abc"' in written
    assert publish.worker(tmp_path) == first
    (tmp_path / "x/c.js").write_text("changed", "utf-8")
    assert publish.worker(tmp_path) != first
