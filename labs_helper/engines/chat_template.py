"""Chat templates, rendered with limits in time and size.

A chat template is a small program that comes with a checkpoint, and it runs in the thread that owns every model of the
kernel. transformers' sandbox keeps it from files and secrets, not from running for ever or from asking for all memory.
Here a template may use what the templates of chat models need: conditions, loops, additions and harmless methods.
What could multiply its work without being counted (multiplication, macros, filters that pad or repeat) is refused when
the template is read; the rest is counted while it runs.
"""

from __future__ import annotations

import datetime
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import FILTERS
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from labs_helper.common.translate import _
from labs_helper.engines.base import Message
from labs_helper.errors import BadRequest, CheckpointRefused

LONGEST_SOURCE = 64_000  # characters; the longest published templates have some 20,000
SECONDS = 2.0  # of computing; Phi's own templates take a thousandth of one
MOST_STEPS = 100_000  # rounds of loops, calls and additions
_ROOM = 200_000  # characters that a template may make besides those of the messages
_COPIES = 50  # how often it may copy the messages while it puts the prompt together

_NODES: tuple[type[nodes.Node], ...] = (
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign, nodes.Scope),
    *(nodes.Break, nodes.Continue, nodes.Name, nodes.NSRef, nodes.Const, nodes.Tuple, nodes.List),
    *(nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.And, nodes.Or, nodes.Not, nodes.Compare, nodes.Operand),
    *(nodes.CondExpr, nodes.Add, nodes.Concat, nodes.Sub, nodes.Mod, nodes.Neg, nodes.Pos, nodes.Call, nodes.Keyword),
    *(nodes.Filter, nodes.Test),
)
_FILTERS = ("trim", "length", "count", "lower", "upper", "capitalize", "default", "d", "first", "last", "int")
_METHODS = {
    str: ("strip", "lstrip", "rstrip", "startswith", "endswith", "lower", "upper", "title", "split"),
    dict: ("get", "items", "keys", "values"),
}


# What a template can run into while it computes with wrong values.
_FAULTS = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError, MemoryError)


class _Refused(Exception):
    """A template does something that is not allowed, or too much of it."""


class _Complaint(Exception):
    """A template has called raise_exception: the conversation is not as it wants it."""


class _Generation(Extension):
    """The tags {% generation %} around answers matter to training only; what they enclose stays."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it as a set

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class ChatTemplate:
    """The chat template of a checkpoint.

    Args:
        source: its text.
        tokens: the variables that name tokens, such as bos_token.
        origin: the folder or file it comes from, for messages.

    Raises:
        CheckpointRefused: it uses what the labs do not render, or it is no template.

    Example:
        template = ChatTemplate(tokenizer.chat_template, tokenizer.special_tokens_map, folder)
        template.render([{"role": "user", "content": "Hi"}])      # '<|user|>\\nHi<|end|>\\n<|assistant|>\\n'
    """

    def __init__(self, source: object, tokens: Mapping[str, object], origin: Path) -> None:
        if isinstance(source, dict):  # several templates with names, as some tokenizers have them
            source = source.get("default")
        if not isinstance(source, str) or not source:
            raise self._refusal(origin, _("there is none"))
        self.source, self._origin, self._lock = source, origin, threading.Lock()
        self._tokens = {name: token for name, token in tokens.items() if isinstance(token, str)}
        self._environment = _Environment()
        try:
            if len(source) > LONGEST_SOURCE:
                raise _Refused(_("it has {count:,} characters").format(count=len(source)))
            tree = _Counted().visit(_checked(self._environment.parse(source)))
            tree.set_environment(self._environment).set_lineno(1)
            code = self._environment.compile(tree)
            self._template = jinja2.Template.from_code(self._environment, code, self._environment.globals)
        except (jinja2.TemplateError, _Refused, SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise self._refusal(origin, _reason(error)) from error

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt for a conversation, up to the mark that begins the answer.

        Raises:
            CheckpointRefused: the template fails, or needs too much time or memory.
            BadRequest: the template does not take such a conversation.
        """
        plain = [{"role": message["role"], "content": message["content"]} for message in messages]
        size = sum(len(message["content"]) for message in plain)
        with self._lock:
            self._environment.begin(size)
            try:
                parts = self._template.generate(
                    messages=plain, add_generation_prompt=True, tools=None, documents=None, **self._tokens
                )
                return "".join(self._environment.writing(parts))
            except _Complaint as error:
                raise BadRequest(
                    _("The chat template of this model does not accept this conversation ({reason}).").format(
                        reason=_reason(error)
                    ),
                    _("Change the roles or the order of the messages."),
                ) from error
            except (jinja2.TemplateError, _Refused, *_FAULTS) as error:
                raise self._refusal(self._origin, _reason(error)) from error

    @staticmethod
    def _refusal(origin: Path, reason: str) -> CheckpointRefused:
        return CheckpointRefused(
            _("The chat template of {path} cannot be used ({reason}).").format(path=origin, reason=reason),
            _("Put the chat template of the original model there, or choose another checkpoint."),
        )


class _Environment(ImmutableSandboxedEnvironment):
    """jinja2's sandbox, which also counts what a template does. One rendering at a time."""

    intercepted_binops = frozenset(("+", "-", "%"))

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation], finalize=self._shown
        )
        self._steps, self._made, self._most, self._deadline = 0, 0, 0, 0.0
        self.filters = {name: self._filter(name) for name in FILTERS}
        functions: dict[str, Callable[..., Any]] = {
            "namespace": jinja2.utils.Namespace,
            "range": self._range,
            "raise_exception": _raise_exception,
            "strftime_now": _strftime_now,
            "labs_each": self._each,
            "labs_slice": self._slice,
            "labs_text": self._shown,
        }
        self.globals = dict(functions)
        self._functions = tuple(functions.values())

    def begin(self, size: int) -> None:
        """Count from zero, for messages of `size` characters in all."""
        self._steps, self._made, self._most = 0, 0, _ROOM + _COPIES * size
        self._deadline = time.thread_time() + SECONDS

    def writing(self, parts: Iterable[str]) -> Iterator[str]:
        """What a template writes, as long as it keeps to the limits."""
        for part in parts:
            self._make(len(part))
            yield part

    def _step(self) -> None:
        self._steps += 1
        if self._steps > MOST_STEPS or time.thread_time() > self._deadline:
            raise _Refused(_("it never ends"))

    def _make(self, characters: int) -> None:
        self._step()
        self._made += characters
        if self._made > self._most:
            raise _Refused(_("it produces endless text"))

    # -- what a template may do ---------------------------------------------------------------------

    def call_binop(self, context: object, operator: str, left: Any, right: Any) -> Any:
        """Numbers with numbers, and texts joined."""
        if isinstance(left, str) and isinstance(right, str) and operator == "+":
            self._make(len(left) + len(right))
            return left + right
        for value in (left, right):
            if not isinstance(value, (int, float)) or abs(value) > 2**53:
                raise _Refused(_("it computes with something other than small numbers and text"))
        self._step()
        return self.binop_table[operator](left, right)

    def call(__self, __context: object, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """A function of ours, or a harmless method of a text or a dictionary."""
        __self._step()
        for inside in ("_loop_vars", "_block_vars"):  # jinja2 hands them on to functions that ask for its context
            kwargs.pop(inside, None)
        if __obj in __self._functions:
            return __obj(*args, **kwargs)
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        kind = str if isinstance(owner, str) else dict
        if not isinstance(owner, kind) or name not in _METHODS[kind]:
            raise _Refused(_("it calls {name}").format(name=name or type(__obj).__name__))
        # A text of n characters splits into as many parts at most, of some 50 bytes each.
        __self._make(len(owner) * (50 if name == "split" else 1))
        return __obj(*args, **kwargs)

    def _filter(self, name: str) -> Callable[..., Any]:
        def counted(value: Any = None, *args: Any, **kwargs: Any) -> Any:
            self._make(len(value) if isinstance(value, (str, list)) else 0)
            return original(value, *args, **kwargs)

        def refused(*_args: Any, **_kwargs: Any) -> Any:
            raise _Refused(_("it uses the filter {name}").format(name=name))

        original: Callable[..., Any] = _trim if name == "trim" else FILTERS[name]
        if name in ("first", "last"):
            return lambda value: self._item(value, 0 if name == "first" else -1)
        if name == "string":
            return self._shown
        return counted if name in _FILTERS else refused

    def _shown(self, value: Any) -> str:
        """A value as text. Lists and dictionaries are not written: nested ones may be endless."""
        if not isinstance(value, (str, int, float, bool, type(None), jinja2.Undefined)):
            raise _Refused(_("it writes a {kind}").format(kind=type(value).__name__))
        text = str(value)
        self._make(len(text))
        return text

    def _each(self, values: Any) -> Any:
        """What a loop goes over, counted."""
        for value in values:
            self._step()
            yield value

    def _item(self, value: Any, place: int) -> Any:
        self._step()
        return value[place] if value else self.undefined("The sequence is empty.")

    def _slice(self, value: Any, start: Any, stop: Any, step: Any) -> Any:
        part = value[start:stop:step]
        self._make(len(part))
        return part

    def _range(self, *bounds: int) -> range:
        numbers = range(*bounds)
        if len(numbers) > MOST_STEPS:
            raise _Refused(_("it never ends"))
        return numbers


def _trim(value: Any, signs: str | None = None) -> str:
    return str(value).strip(signs)


def _raise_exception(message: object) -> None:
    raise _Complaint(str(message))


def _strftime_now(form: str) -> str:
    if len(form) > 100 or not re.fullmatch(r"(?:%[A-Za-z]|[^%])*", form):  # a width could be of any size
        raise _Refused(_("it writes a date in an unknown form"))
    return datetime.datetime.now().strftime(form)


def _checked(tree: nodes.Template) -> nodes.Template:
    """A template's tree, if each part of it is allowed."""
    for node in tree.find_all(nodes.Node):
        if type(node) not in _NODES or (isinstance(node, nodes.For) and node.recursive):
            raise _Refused(_("it uses {name}").format(name=type(node).__name__))
        if isinstance(node, nodes.Name) and node.name.startswith("labs_"):
            raise _Refused(_("it uses {name}").format(name=node.name))  # those that count keep their names
        if isinstance(node, (nodes.List, nodes.Tuple)) and not all(
            isinstance(item, nodes.Const) or (isinstance(item, nodes.Name) and item.ctx == "store")
            for item in node.items
        ):
            raise _Refused(_("it uses {name}").format(name=type(node).__name__))  # a list of itself doubles
    return tree


class _Counted(jinja2.visitor.NodeTransformer):
    """Puts functions that count in place of what jinja2 would compile to plain Python."""

    def visit_For(self, node: nodes.For, *args: Any, **kwargs: Any) -> nodes.Node:
        self.generic_visit(node, *args, **kwargs)
        assert isinstance(node.iter, nodes.Expr)
        node.iter = _call("labs_each", node.iter)
        return node

    def visit_Getitem(self, node: nodes.Getitem, *args: Any, **kwargs: Any) -> nodes.Node:
        self.generic_visit(node, *args, **kwargs)
        if not isinstance(node.arg, nodes.Slice):
            return node
        bounds = (node.arg.start, node.arg.stop, node.arg.step)
        return _call("labs_slice", node.node, *(bound or nodes.Const(None) for bound in bounds))

    def visit_Concat(self, node: nodes.Concat, *args: Any, **kwargs: Any) -> nodes.Node:
        self.generic_visit(node, *args, **kwargs)
        joined: nodes.Expr = _call("labs_text", node.nodes[0])
        for part in node.nodes[1:]:
            joined = nodes.Add(joined, _call("labs_text", part))
        return joined


def _call(name: str, *values: nodes.Expr) -> nodes.Call:
    return nodes.Call(nodes.Name(name, "load"), list(values), [], None, None)


def _reason(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
