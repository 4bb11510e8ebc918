"""Reads from the cells of a lab what they hold in memory and on the disk when a certain model answers.

Nothing runs. The cells are followed in their order, and each call that takes room is known here by name:

| call | takes |
| --- | --- |
| `load("role")` | a model with the cache and the work of the lab's longest request, until `.release()` |
| `mlx_lm.load(path)`, `mlx_vlm.load(path)` | its weights, until the name is deleted or bound anew |
| `phimoe.Model(...)` and the like | a model of the same shape in 32 bits, for a moment or until its name goes |
| `mlx_lm.convert(..., dequantize=True)` | the weights in 32 bits on the disk, and as much memory for a moment |
| `serve("role")` | the same in a process of its own, and the packages there, until `.close()` |
| `convert(...)`, `moe_offload.repack(...)` | the source once more on the disk, and its memory for a moment |

`shutil.rmtree(folder)` gives disk back. Which model a path or a setting belongs to follows from the names that it is
made of: `small.path` is the model that `small` was loaded from. A call whose model cannot be told
is an error: write the cell so that it can.
"""

from __future__ import annotations

import ast
import math
import re
from dataclasses import dataclass, field

import jupytext

from labs_helper import catalog, store
from labs_helper.capacity import estimate

RAW = {"mlx_lm.load", "mlx_vlm.load"}
NEW = re.compile(r"\b\w+\.Model$")
FULL_BITS = 32
PACKAGES = 200_000_000  # bytes of a server before it has read a weight


class Unclear(Exception):
    """A cell takes room, and nobody can tell for which model."""


def is_elsewhere(call):
    """Whether a call loads a model of a server, which takes nothing here: the server is counted where it starts."""
    return ast.unparse(call.func) == "load" and [ast.unparse(each) for each in call.args] == ["'endpoint'"]


@dataclass
class Needs:
    """The most that the cells hold at once, in bytes, and what they leave behind."""

    memory: int = 0
    disk: int = 0
    left_on_disk: int = 0
    copies: int = 0  # of the model in question, in memory at once


@dataclass
class Reader:
    """Follows the cells of one lab with one model in place of its role.

    Attributes:
        card: the model.
        lab: from the registry.
        on_cpu: whether MLX computes on the CPU.
    """

    card: catalog.ModelCard
    lab: catalog.Lab
    on_cpu: bool = False
    models: dict[str, set[str]] = field(default_factory=dict)  # name of a variable -> models that it is made from
    memory: dict[str, tuple[str, int]] = field(default_factory=dict)  # name -> (model, bytes)
    disk: dict[str, int] = field(default_factory=dict)  # name of a folder -> bytes
    folders: dict[str, str] = field(default_factory=dict)  # name of a variable -> folder that it is in
    needs: Needs = field(default_factory=Needs)

    def cells(self, source: str) -> Needs:
        for cell in jupytext.reads(source, fmt="py:percent").cells:
            if cell.cell_type == "code" and "exercise" not in cell.metadata.get("tags", []):
                self.block(ast.parse("\n".join(line for line in cell.source.splitlines() if line[:1] not in "!%")).body)
        self.needs.left_on_disk = sum(self.disk.values())
        return self.needs

    # -- statements -------------------------------------------------------------------------------------------

    def block(self, statements):
        for statement in statements:
            self.statement(statement)

    def statement(self, node):
        match node:
            case ast.Assign(targets=targets, value=value):
                self.assign(
                    [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)], value
                )
            case ast.AnnAssign(target=ast.Name(id=name), value=value) if value is not None:
                self.assign([name], value)
            case ast.Delete(targets=targets):
                for target in targets:
                    self.forget(ast.unparse(target))
            case ast.If(test=test, body=body, orelse=otherwise):
                known = self.truth(test)
                self.block(body if known is not False else [])
                self.block(otherwise if known is not True else [])
            case ast.For(target=target, iter=values, body=body):
                self.expression(values)
                for name in ast.walk(target):
                    if isinstance(name, ast.Name):
                        self.models[name.id] = self.made_from(values)
                self.block(body)
                self.block(body)  # the second time, the first one's models are still there
            case ast.FunctionDef(body=body):
                self.block(body)
            case ast.With(items=items, body=body):
                for item in items:
                    self.expression(item.context_expr)
                self.block(body)
            case ast.Try(body=body, handlers=handlers, finalbody=final):
                self.block([*body, *(line for handler in handlers for line in handler.body), *final])
            case ast.While(body=body):
                self.block(body)
            case ast.Import() | ast.ImportFrom() | ast.ClassDef():
                pass
            case _:
                for value in ast.iter_child_nodes(node):
                    self.expression(value)

    def assign(self, names, value):
        held = self.expression(value)  # first: the old value of a name is still there
        for name in names:
            self.forget(name)
        if not names:
            return
        for name in names:
            self.models[name] = self.made_from(value)
        folder = next(
            (self.folders[n.id] for n in ast.walk(value) if isinstance(n, ast.Name) and n.id in self.folders), None
        )
        if "mkdtemp" in ast.unparse(value):
            folder = names[0]
            self.disk.setdefault(folder, 0)
        if folder is not None:
            self.folders.update(dict.fromkeys(names, folder))
        if held is not None:
            self.memory[names[0]] = held
            self.note()

    def forget(self, name):
        self.memory.pop(name, None)

    # -- expressions ------------------------------------------------------------------------------------------

    def expression(self, node):
        """Follow the calls inside, and return what the value of the expression holds: (model, bytes) or None."""
        if isinstance(node, ast.IfExp):
            known = self.truth(node.test)
            sides = [
                side for side, taken in ((node.body, known is not False), (node.orelse, known is not True)) if taken
            ]
            return next((held for held in map(self.expression, sides) if held), None)
        if isinstance(node, ast.List):  # of servers
            held = [each for each in map(self.expression, node.elts) if each]
            return (held[0][0], sum(size for _model, size in held)) if held else None
        if isinstance(node, ast.Call):
            for part in [node.func, *node.args, *(keyword.value for keyword in node.keywords)]:
                self.expression(part)
            return self.call(node)
        for part in ast.iter_child_nodes(node):
            held = self.expression(part)
            if held is not None and isinstance(node, ast.Attribute):
                return None  # load(...).path holds nothing: a model is read with its first question
        return None

    def call(self, node):
        name = ast.unparse(node.func)
        if name == "able":  # the model itself, or the bundled one, which is small
            return self.call(node.args[0]) if isinstance(node.args[0], ast.Call) else None
        if name == "load" and is_elsewhere(node):
            return None
        if name == "serve":
            (asked,) = self.made_from(node)
            size = self.need(asked).total - estimate.SPARE + PACKAGES
            self.moment(size, asked)
            return f"server of {asked}", size
        if name.endswith(".close"):
            gone = {f"server of {model}" for model in self.made_from(node.func)}
            self.memory = {key: held for key, held in self.memory.items() if held[0] not in gone}
            return None
        if name == "load":
            (asked,) = self.made_from(node) or {""}
            if not asked:
                raise Unclear(ast.unparse(node))
            need = self.need(asked)
            return asked, need.total - estimate.SPARE
        if name.endswith(".release"):
            # also `for model in (a, b): model.release()`
            for gone in self.made_from(node.func):
                self.memory = {key: held for key, held in self.memory.items() if held[0] != gone or "." in key}
            return None
        if name in RAW or NEW.search(name):
            model = self.model_of(node)
            if name in RAW and catalog.find(model)[0].format != "mlx":
                return None  # `able` has put the bundled model in its place
            size = self.full(model) if NEW.search(name) else self.need(model).weights
            self.moment(size, model)
            return model, size
        if name in ("mlx_lm.convert", "mlx_vlm.convert", "convert", "moe_offload.repack"):
            model = self.model_of(node)
            whole = any(word.arg == "dequantize" for word in node.keywords)
            size = self.full(model) if whole else self.need(model).weights
            self.moment(size, model)
            folder = next(
                (
                    self.folders[n.id]
                    for n in ast.walk(node.args[1])
                    if isinstance(n, ast.Name) and n.id in self.folders
                ),
                None,
            )
            if folder is None:
                raise Unclear(ast.unparse(node))
            self.disk[folder] += size
            self.models[folder] = self.models.get(folder, set()) | {model}
            self.needs.disk = max(self.needs.disk, sum(self.disk.values()))
            return None
        if name == "shutil.rmtree":
            folder = ast.unparse(node.args[0])
            if folder in self.disk:
                self.disk[folder] = 0
        return None

    def truth(self, test):
        """Whether `model.tier == "tiny"` or `a is b` holds; None where only a run can tell."""
        match test:
            case ast.Compare(
                left=ast.Attribute(value=ast.Name(id=name), attr="tier"),
                ops=[op],
                comparators=[ast.Constant(value=tier)],
            ):
                tiers = {catalog.find(model)[0].tier for model in self.models.get(name, ())}
                if len(tiers) == 1:
                    return (tiers == {tier}) == isinstance(op, ast.Eq)
        return None

    def made_from(self, node):
        """The models that an expression is made from."""
        found = set()
        if isinstance(node, ast.IfExp):
            known = self.truth(node.test)
            return self.made_from(node.body if known is True else node.orelse) if known is not None else set()
        for part in ast.walk(node):
            match part:
                case ast.Name(id=name):
                    found |= self.models.get(name, set()) | self.models.get(self.folders.get(name, ""), set())
                case ast.Call() if is_elsewhere(part):
                    pass
                case ast.Call(
                    func=ast.Name(id="load" | "serve") | ast.Attribute(attr="find"),
                    args=[ast.Constant(value=asked), *more],
                    keywords=words,
                ):
                    tiny = "tiny" in [w.value.value for w in words if isinstance(w.value, ast.Constant)] + [
                        m.value for m in more if isinstance(m, ast.Constant)
                    ]
                    found.add(self.chosen(asked, tiny))
        return found

    def chosen(self, asked, tiny):
        """The name of the model that `load(asked)` gives."""
        named = catalog.find(asked)
        if tiny or asked != named[0].role:
            return next(card.name for card in named if not tiny or card.tier == "tiny")
        if self.card.role == asked:
            return self.card.name
        return next(card.name for card in named if card.tier == self.card.tier)

    def model_of(self, node):
        """The model that a call is about. Of several, the largest."""
        made_from = set().union(
            *(self.made_from(part) for part in [*node.args, *(word.value for word in node.keywords)])
        )
        if not made_from:
            raise Unclear(ast.unparse(node))
        return max(made_from, key=lambda model: self.need(model).total)

    # -- sizes ------------------------------------------------------------------------------------------------

    def need(self, model):
        (card,) = catalog.find(model)
        options = {"on_cpu": self.on_cpu, "views": self.lab.views}
        if card.tier == "tiny":
            return estimate.of_folder(card.path, min(self.lab.tokens, card.context), **options)
        return estimate.of_card(card, min(self.lab.tokens, card.context), **options)

    def full(self, model):
        """Bytes of the weights in 32 bits."""
        (card,) = catalog.find(model)
        if card.tier == "tiny":
            config, table = store.read_json(card.path / "config.json"), store.weight_table(card.path)
        else:
            config, table = card.config, estimate.table_of(card.config)
        if any(entry["dtype"] == "U32" for entry in table.values()):
            return estimate._expanded_bytes(config, table)  # private: the one formula for this size
        return sum(math.prod(entry["shape"]) for entry in table.values()) * FULL_BITS // 8

    def moment(self, size, model):
        self.note(size, model)

    def note(self, more=0, model=""):
        held = [*self.memory.values(), (model, more)]
        self.needs.memory = max(self.needs.memory, sum(size for _model, size in held) + estimate.SPARE)
        self.needs.copies = max(self.needs.copies, sum(name == self.card.name for name, _size in held))
