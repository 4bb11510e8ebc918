"""Chat templates come from strangers: they have limits, and Phi's come out as transformers renders them."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path

import pytest

from labs_helper import catalog, load
from labs_helper.engines.chat_template import ChatTemplate
from labs_helper.errors import BadRequest, CheckpointRefused

TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Where is 长沙?"},
    {"role": "assistant", "content": "In China."},
    {"role": "user", "content": "And <Paris>?"},
]
# Published templates of the Phi-3 family, and forms that other chat models use.
KNOWN = {
    "mini": (
        "{% for message in messages %}{% if message['role'] == 'system' and message['content'] %}{{'<|system|>\n' + "
        "message['content'] + '<|end|>\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\n' + message['content'] + "
        "'<|end|>\n'}}{% elif message['role'] == 'assistant' %}{{'<|assistant|>\n' + message['content'] + '<|end|>\n'}}"
        "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}"
        "{% endif %}"
    ),
    "previous": (
        "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') %}{{'<|user|>' + '\n' + "
        "message['content'] + '<|end|>' + '\n' + '<|assistant|>' + '\n'}}{% elif (message['role'] == 'assistant') %}"
        "{{message['content'] + '<|end|>' + '\n'}}{% endif %}{% endfor %}"
    ),
    "vision": (
        "{% for message in messages %}{{'<|' + message['role'] + '|>' + '\n' + message['content'] + '<|end|>\n' }}"
        "{% endfor %}{% if add_generation_prompt and messages[-1]['role'] != 'assistant' %}{{- '<|assistant|>\n' -}}"
        "{% endif %}"
    ),
    "loops": (
        "{%- if messages[0].role == 'system' -%}\n  {%- set ns = namespace(system=messages[0].content | trim) -%}\n"
        "  {%- set messages = messages[1:] -%}\n{%- else -%}\n  {%- set ns = namespace(system='') -%}\n{%- endif -%}\n"
        "{% for message in messages if message.content is defined %}\n  {% generation %}\n"
        "  {%- if loop.index0 % 2 == 0 and message.role not in ['user', 'tool'] %}\n"
        "    {{- raise_exception('roles must alternate') }}\n  {%- endif %}\n"
        "  {{- ns.system ~ '|' ~ loop.index ~ '/' ~ loop.length ~ message.content.strip() }}\n  {% endgeneration %}\n"
        "  {% set ns.system = '' %}{% if loop.last %}{% break %}{% endif %}\n{% endfor %}{{ bos_token }}"
    ),
}
TOKENS = {"bos_token": "<s>", "eos_token": "<|endoftext|>"}


@pytest.mark.parametrize("name", list(KNOWN))
def test_known_templates_come_out_as_transformers_renders_them(name):
    from transformers.utils.chat_template_utils import render_jinja_template

    ours = ChatTemplate(KNOWN[name], TOKENS, Path("folder")).render(TURNS)
    theirs, _marked = render_jinja_template([TURNS], chat_template=KNOWN[name], add_generation_prompt=True, **TOKENS)
    assert [ours] == theirs


def test_the_bundled_templates_come_out_as_transformers_renders_them():
    for name in ("instruct-tiny", "instruct-previous-tiny", "moe-tiny", "vision-tiny"):
        model = load(name)
        model.count_tokens("")
        tokenizer = model.engine._tokenizer  # what transformers makes of the same folder
        theirs = tokenizer.apply_chat_template(TURNS, add_generation_prompt=True, tokenize=False)
        assert model.engine.template.render(TURNS) == theirs


def growing(start: str, following: str) -> str:
    """A template that changes one value in sixty rounds."""
    head = "{% set ns = namespace(x=" + start + ") %}{% for i in range(60) %}"
    return head + "{% set ns.x = " + following + " %}{% endfor %}{{ ns.x }}"


# By name: (template, a part of the reason).
HOSTILE = {
    "nested loops": ("{% for a in range(99999) %}" * 2 + "{% endfor %}" * 2, "never ends"),
    "loops over a text": ("{% for a in messages[0].content %}" * 8 + "{% endfor %}" * 8, "never ends"),
    "loops over a slice": ("{% for a in messages[0].content[1:] %}" * 8 + "{% endfor %}" * 8, "never ends"),
    "multiplication": ("{{ 'a' * 4000000000 }}", "Mul"),
    "hidden multiplication": ("{% set n = 4000000000 %}{{ 'a' * n }}", "Mul"),
    "power": ("{{ 9 ** 99999999 }}", "Pow"),
    "padding": ("{{ 'a' | center(4000000000) }}", "center"),
    "a method that pads": ("{{ 'a'.ljust(4000000000) }}", "ljust"),
    "a format": ("{{ '%4000000000d' % 1 }}", "computes"),
    "another format": ("{{ '{:>4000000000}'.format(1) }}", "format"),
    "a format as a filter": ("{{ '%4000000000d' | format(1) }}", "format"),
    "a date of any width": ("{{ strftime_now('%4000000000Y') }}", "date"),
    "doubling": (growing("'aaaa'", "ns.x + ns.x"), "endless text"),
    "doubling with ~": (growing("'a'", "ns.x ~ ns.x"), "endless text"),
    "doubling numbers": (growing("1", "ns.x + ns.x"), "computes"),
    "doubling lists": (growing("[1]", "ns.x + ns.x"), "computes"),
    "a list of itself": (growing("[1]", "[ns.x, ns.x]"), "List"),
    "a namespace of itself": (growing("1", "namespace(a=ns.x, b=ns.x)"), "writes a Namespace"),
    "replacing": (growing("'aaaa'", "ns.x | replace('a', 'aaaa')"), "replace"),
    "splitting": (growing("'a a'", "messages[0].content.split('x')"), "endless text"),
    "a macro": ("{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}", "Macro"),
    "a recursive loop": ("{% for a in messages recursive %}{{ loop(messages) }}{% endfor %}", "For"),
    "much text": ("{% for a in range(99999) %}" + "x" * 50_000 + "{% endfor %}", "endless text"),
    "the same text often": ("{% for a in range(99999) %}{{ messages[0].content }}{% endfor %}", "endless text"),
    "names of ours": ("{% set labs_each = range %}{% for a in range(9) %}{% endfor %}", "labs_each"),
    "a long list": ("{{ range(99999999) | list | length }}", "never ends"),
    "lorem ipsum": ("{{ lipsum(n=100000) }}", "Undefined"),
    "joining": ("{{ messages | map(attribute='content') | join('x') }}", "map"),
    "the whole conversation": ("{{ messages }}", "writes a list"),
    "depth": ("{{ " + "(" * 30_000 + "1" + ")" * 30_000 + " }}", "recursion"),
    "length": ("{{ 1 }}" * 100_000, "characters"),
    "no template": ("{% for %}", "end of"),
    "not there": ("", "none"),
    "wrong values": ("{{ messages[7].content + 1 }}", "no element 7"),
    "files": ("{% include '/etc/passwd' %}", "Include"),
    "Python": ("{{ ''.__class__.__mro__ }}", "unsafe"),
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_hostile_templates_are_refused_soon_and_without_memory(name):
    import tracemalloc

    template, reason = HOSTILE[name]
    tracemalloc.start()
    start = time.perf_counter()
    turns = [{"role": "user", "content": "x" * 20_000}]
    try:
        with pytest.raises(CheckpointRefused, match="chat template of folder") as caught:
            ChatTemplate(template, {}, Path("folder")).render(turns)
        assert reason in caught.value.what
        assert time.perf_counter() - start < 10 and tracemalloc.get_traced_memory()[1] < 100_000_000
        assert caught.value.do
    finally:
        tracemalloc.stop()


def test_a_template_that_complains_is_about_the_question():
    template = ChatTemplate("{{ raise_exception('only users may speak') }}", {}, Path("folder"))
    with pytest.raises(BadRequest, match="only users may speak"):
        template.render(TURNS)


def test_a_hostile_template_does_not_hold_up_the_other_models(tmp_path):
    folder = tmp_path / "hostile"
    shutil.copytree(catalog.course_folder() / "data/checkpoints/instruct-tiny", folder)
    (folder / "chat_template.jinja").write_text(HOSTILE["nested loops"][0])
    hostile, other = load(str(folder)), load("instruct")
    job = hostile.submit("Hello")
    start = time.perf_counter()
    assert other.ask("Hello", max_tokens=1).generated_tokens == 1
    with pytest.raises(CheckpointRefused, match="never ends"):
        job.wait(timeout=30)
    assert time.perf_counter() - start < 20


def test_two_threads_may_render_at_once():
    template, results = ChatTemplate(KNOWN["mini"], TOKENS, Path("folder")), []
    threads = [
        threading.Thread(target=lambda: results.extend(template.render(TURNS) for _round in range(100)))
        for _thread in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 400 and len(set(results)) == 1


def test_a_template_of_a_gguf_file(tiny_gguf):
    from labs_helper.engines.llama_cpp import LlamaCpp
    from labs_helper.store import gguf

    file = next(tiny_gguf.glob("*.gguf"))
    engine = LlamaCpp(tiny_gguf)
    engine.load_tokenizer()
    assert engine.template.source == gguf.read(file).settings["tokenizer.chat_template"]
    assert json.dumps(engine.template.render(TURNS[1:])).startswith('"<|user|>')
