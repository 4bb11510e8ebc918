"""Make an MLX checkpoint of a few bits from a Hugging Face folder, and compare it with its source before it counts.

mlx-lm's parts do the work. Its command `mlx_lm.convert` is not used, for four reasons: it rewrites the
tokenizer files, it reads settings of transformers 5 wrongly (corrections/rope_settings.py), it rounds the routers of a
mixture of experts like everything else, and it does not look at the result.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labs_helper import catalog, store
from labs_helper.capacity.require import require_memory
from labs_helper.common import files
from labs_helper.common.markup import printable
from labs_helper.common.translate import _
from labs_helper.common.types import Config, Table
from labs_helper.common.units import size
from labs_helper.corrections import rope_settings
from labs_helper.engines.mlx_base import import_mlx_lm
from labs_helper.engines.refusing import Refusing
from labs_helper.engines.score import Score, read_lazily, score, stop_if
from labs_helper.engines.worker import WORKER
from labs_helper.errors import BadRequest, CheckpointRefused
from labs_helper.store import staging

BITS = (2, 3, 4, 5, 6, 8, 16)  # what MLX's affine quantization takes; 16 leaves the weights as they are
GROUPS = (128, 64, 32)
DTYPES = ("float32", "float16", "bfloat16")
RECIPES = ("mixed_2_6", "mixed_3_4", "mixed_3_6", "mixed_4_6")  # mlx_lm/convert.py, QUANT_RECIPES
MOST_WORSE = 1.25  # a result whose perplexity is more than so many times its source's is refused
# Copied as they are: data beside the weights. config.json is written anew, and Python files stay behind.
_COPIED = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.*",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "LICENSE*",
    "NOTICE*",
)
# What the source and the result are compared on: the labs' kind of talk, in Phi's format, in three languages.
TEXT = "".join(
    f"<|user|>\n{question}<|end|>\n<|assistant|>\n{answer}<|end|>\n"
    for question, answer in (
        ("Where is Changsha?", "Changsha is a city in Hunan, China."),
        ("What is the capital of Kenya?", "The capital of Kenya is Nairobi."),
        ("What is the capital of France?", "The capital of France is Paris."),
        ("长沙在哪里?", "长沙是中国湖南省的城市。"),
        ("¿Dónde está Madrid?", "Madrid es una ciudad de España."),
        ("Translate into Spanish: water", "agua"),
        ("Count from 1 to 12.", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12"),
        ("Which planet is known as the red planet?", "Mars is known as the red planet."),
    )
)


@dataclass(frozen=True)
class Converted:
    """What came out of a conversion: the folder, its weights' bytes and bits, and both scores on the same text."""

    path: Path
    bytes: int
    bits_per_weight: float
    source: Score
    result: Score
    notes: tuple[str, ...] = ()

    @property
    def same(self) -> float:
        """The share of places at which both models think the same token the most likely one."""
        pairs = list(zip(self.source.best, self.result.best, strict=True))
        return sum(a == b for a, b in pairs) / len(pairs)

    def __str__(self) -> str:
        lines = [
            _("{path}: {size}, {bits:.2f} bits per weight.").format(
                path=self.path, size=size(self.bytes), bits=self.bits_per_weight
            ),
            _(
                "Perplexity on a text of {tokens} tokens: {before:.3f} before, {after:.3f} after. The most likely "
                "token is the same at {same:.0%} of the places."
            ).format(
                tokens=len(self.source.best) + 1,
                before=self.source.perplexity,
                after=self.result.perplexity,
                same=self.same,
            ),
            *(_("Note: {note}").format(note=note) for note in self.notes),
        ]
        return printable("\n".join(lines))


def convert(
    source: str | Path,
    destination: str | Path,
    *,
    bits: int = 4,
    group_size: int | None = None,
    dtype: str | None = None,
    recipe: str | None = None,
    text: str | None = None,
) -> Converted:
    """Make an MLX checkpoint from a Hugging Face folder, and refuse it if it predicts a text much worse.

    source: a folder of phi3, phi3_v or phimoe with 16- or 32-bit safetensors, or a name of the catalog. Nothing in it
        is run or changed.
    destination: a folder that does not exist yet. It is there at the end, whole, or not at all.
    bits: of a weight; 16 rounds nothing and only writes MLX's form. The head and the routers of a mixture of experts
        get at least 8: a router decides by small differences. Of phi3_v the language model is rounded; the tower and
        the projection that see keep their numbers.
    group_size: weights that share a scale; None takes the first of 64 and 32 that divides the model's widths.
    dtype: of scales, norms and whatever is not rounded; None leaves the source's. MLX computes fast with "float32" on a
        CPU and with 16 bits on a Mac's GPU.
    recipe: one of mlx-lm's mixtures, such as "mixed_3_6", in place of bits.
    text: what both are compared on; None takes a short conversation. 20 to 2,000 tokens.
    Raises BadRequest, ModelNotHere, CheckpointRefused, NotEnoughDisk or NotEnoughMemory.

    Perplexity is exp(mean of -ln p(token)) over the text (Jelinek et al. 1977). It says little about a text that the
    source itself cannot predict: with random weights every conversion passes.

    Example:
        print(convert("downloads/Phi-3.5-mini-instruct", "models/my-phi-4bit"))
    """
    source, destination = _source(source), Path(destination).expanduser().absolute()
    _check_options(bits, group_size, dtype, recipe)
    _check_destination(source, destination)
    config = _settings(source)
    table = store.weight_table(source)
    if (
        config.get("quantization")
        or config.get("quantization_config")
        or any(entry["dtype"] == "U32" for entry in table.values())
    ):
        raise CheckpointRefused(
            _("The weights in {folder} are quantized already.").format(folder=source),
            _("Use the 16-bit source: rounding twice loses more."),
        )
    group = _group(config, group_size)
    ids = _tokens(source, TEXT if text is None else text, config)
    rounds = recipe is not None or bits < 16
    plan = _Plan(4 if recipe else bits, group, recipe, config["model_type"]) if rounds else None
    needed = _expected_bytes(table, plan, dtype)
    with (
        staging.making(destination, _("Name a folder where you can write.")) as part,
        staging.disk_errors(str(destination)),
    ):
        staging.need_disk(part, needed, str(destination))
        # The result as a whole, and the largest layer twice while it is read and rounded.
        require_memory(needed + 2 * _largest_layer(table), _("Converting {name}").format(name=source.name))
        job = WORKER.submit(lambda job: _convert(source, part, config, plan, dtype, ids, job.cancelled))
        try:
            before, after = job.wait()
        except BaseException:
            job.stop()
            job.settle(timeout=60)
            raise
        written = store.weight_table(part)
        weights = sum(math.prod(entry["shape"]) for entry in table.values())
        _check_destination(source, destination)
        files.finish(part, destination)
    count = sum(math.prod(entry["shape"]) * store.DTYPE_BYTES[entry["dtype"]] for entry in written.values())
    return Converted(destination, count, 8 * count / weights, before, after, tuple(_notes(config)))


# -- before anything is read ------------------------------------------------------------------------------


def _source(source: str | Path) -> Path:
    if isinstance(source, str) and source in {card.name for card in catalog.cards()}:
        return store.locate(catalog.find(source)[0])
    return Path(source).expanduser()


def _check_options(bits: int, group_size: int | None, dtype: str | None, recipe: str | None) -> None:
    for name, value, known in (
        ("bits", bits, BITS),
        ("group_size", group_size, (None, *GROUPS)),
        ("dtype", dtype, (None, *DTYPES)),
        ("recipe", recipe, (None, *RECIPES)),
    ):
        if value not in known:
            choices = ", ".join(str(choice) for choice in known if choice is not None)
            raise BadRequest(
                _("{name} is {value!r}.").format(name=name, value=value),
                _("Use one of these: {choices}.").format(choices=choices),
            )
    if recipe is not None and bits != 4:
        raise BadRequest(_("A recipe sets its own bits."), _("Give bits or a recipe, not both."))


def _check_destination(source: Path, destination: Path) -> None:
    if os.path.lexists(destination):
        raise BadRequest(
            _("{folder} is there already, and nothing is overwritten.").format(folder=destination),
            _("Name a folder that does not exist yet."),
        )
    if source.is_dir() and destination.is_relative_to(source.resolve()):
        raise BadRequest(_("{folder} is inside the source.").format(folder=destination), _("Name a folder outside it."))


def _settings(source: Path) -> Config:
    """The source's configuration in mlx-lm's keys, after everything was checked that mlx-lm would not notice."""
    if not source.is_dir() or store.gguf_file(source) is not None:
        store.verify(source, ships_code=True)  # says what is wrong with a path that is no folder
        raise CheckpointRefused(
            _("{folder} holds a GGUF file.").format(folder=source), _("Name a folder with safetensors.")
        )
    config = rope_settings.classic(store.read_json(source / "config.json"))
    store.verify(source, ships_code=True, config=config)  # the code that Microsoft's folders carry is not run
    config.pop("auto_map", None)
    head = config.get("hidden_size", 4096) // config.get("num_attention_heads", 32)
    if config.get("head_dim") not in (None, head):
        raise CheckpointRefused(
            _("The heads in {folder} have a size of {size}, and mlx-lm assumes {assumed}.").format(
                folder=source, size=config["head_dim"], assumed=head
            ),
            _("This version cannot run the model; use another one."),
        )
    if config.get("hidden_act", "silu") != "silu":
        raise CheckpointRefused(
            _("config.json in {folder} asks for the activation {name!r}; mlx-lm always computes silu.").format(
                folder=source, name=config["hidden_act"]
            ),
            _("Use another model."),
        )
    return config


def _notes(config: Config) -> Iterator[str]:
    window, longest = config.get("sliding_window"), config.get("max_position_embeddings", 0)
    if window and window < longest:
        yield _(
            "the model was trained to look back {window:,} tokens; MLX looks back over the whole text, so answers to "
            "longer ones may differ."
        ).format(window=window)


def _group(config: Config, wanted: int | None) -> int:
    widths = [config[key] for key in ("hidden_size", "intermediate_size") if key in config]
    fitting = [group for group in (GROUPS[1:] if wanted is None else (wanted,)) if not any(w % group for w in widths)]
    if not fitting:
        raise BadRequest(
            _("Groups of {group} do not divide this model's widths ({widths}).").format(
                group=wanted or 32, widths=", ".join(map(str, widths))
            ),
            _("Use another group_size, or bits=16, which rounds nothing."),
        )
    return fitting[0]


def _tokens(source: Path, text: str, config: Config) -> list[int]:
    """The text as ids, by tokenizer.json itself: what the folder holds, and no library's idea of it."""
    from tokenizers import Tokenizer

    file = source / "tokenizer.json"
    if not file.is_file():
        raise CheckpointRefused(
            _("There is no tokenizer.json in {folder}.").format(folder=source),
            _("Use a copy of the model that has one."),
        )
    try:
        ids = Tokenizer.from_file(str(file)).encode(text).ids
    except Exception as error:  # the library raises plain Exception for a file that is no tokenizer
        raise CheckpointRefused(
            _("tokenizer.json in {folder} cannot be read ({reason}).").format(folder=source, reason=error),
            _("Copy it again."),
        ) from error
    if not 20 <= len(ids) <= 2000:
        raise BadRequest(
            _("The text for the comparison has {count} tokens.").format(count=len(ids)),
            _("Give a text of 20 to 2,000 tokens."),
        )
    if max(ids) >= config.get("vocab_size", 32064):
        raise CheckpointRefused(
            _("The tokenizer in {folder} belongs to another model.").format(folder=source),
            _("Copy the whole folder again."),
        )
    return ids


# -- how it is rounded ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Plan:
    bits: int
    group: int
    recipe: str | None
    kind: str

    def predicate(self, model: Any) -> Callable[[str, Any], bool | Config]:
        """For mlx-lm: what each layer gets, as (path, module) -> False, True, or its own bits."""
        from mlx_lm.convert import mixed_quant_predicate_builder

        mixed = None if self.recipe is None else mixed_quant_predicate_builder(self.recipe, model, self.group)

        def bits_of(path: str, module: Any) -> bool | Config:
            if "vision_embed_tokens" in path:
                return False
            chosen = True if mixed is None else mixed(path, module)
            bits = chosen["bits"] if isinstance(chosen, dict) else self.bits
            if self.careful(path) and bits < 8:
                return {"group_size": self.group, "bits": 8, "mode": "affine"}
            return chosen

        return bits_of

    def careful(self, path: str) -> bool:
        """Whether a layer needs 8 bits: routers and the head of a mixture of experts."""
        return self.kind == "phimoe" and (path.endswith("block_sparse_moe.gate") or path == "lm_head")


def _expected_bytes(table: Table, plan: _Plan | None, dtype: str | None) -> int:
    """Bytes of the result's weights, slightly too many: every small matrix counts as if it were rounded least."""
    total = 0.0
    for name, entry in table.items():
        count, width = math.prod(entry["shape"]), store.DTYPE_BYTES[entry["dtype"]]
        width = {None: width, "float32": 4}.get(dtype, 2)
        if plan is None or len(entry["shape"]) < 2 or "vision_embed_tokens" in name:
            total += count * width
            continue
        bits = 6 if plan.recipe else plan.bits
        bits = max(bits, 8) if plan.careful(name.removesuffix(".weight")) else bits
        total += count * (bits / 8 + 2 * width / plan.group)
    return int(total)


def _largest_layer(table: Table) -> int:
    """Bytes of the largest layer in fp32, as a CPU computes it; the tables at both ends count as layers."""
    sizes: dict[str, int] = {}
    for name, entry in table.items():
        parts = name.split(".")
        layer = ".".join(parts[: parts.index("layers") + 2]) if "layers" in parts else name
        sizes[layer] = sizes.get(layer, 0) + math.prod(entry["shape"]) * 4
    return max(sizes.values())


# -- the work, in the worker's thread ---------------------------------------------------------------------


def _convert(
    source: Path,
    part: Path,
    config: Config,
    plan: _Plan | None,
    dtype: str | None,
    ids: list[int],
    cancelled: Callable[[], bool],
) -> tuple[Score, Score]:
    import_mlx_lm()
    import mlx.core as mx
    from mlx_lm.utils import quantize_model, save_config, save_model

    before = score(source, ids, config, cancelled)
    if not math.isfinite(before.perplexity):
        raise CheckpointRefused(
            _("The source in {folder} gives no numbers for a plain text (perplexity {perplexity}).").format(
                folder=source, perplexity=before.perplexity
            ),
            _("Its weights are damaged: copy or download it again."),
        )
    with Refusing(source, _("weights")):
        model = read_lazily(source, config)
        if dtype is not None:
            model.set_dtype(getattr(mx, dtype))
        made = dict(config)
        if plan is not None:
            with contextlib.redirect_stdout(io.StringIO()):  # it prints a line of its own
                model, made = quantize_model(model, made, plan.group, plan.bits, quant_predicate=plan.predicate(model))
        for _name, module in model.named_modules():
            stop_if(cancelled)
            # One after the other: rounding all at once would hold the whole source in memory.
            mx.eval([value for value in module.values() if isinstance(value, mx.array)])
    try:
        save_model(part, model, donate_model=True)
    except RuntimeError as error:  # MLX's word for a disk that is full or gone
        raise OSError(errno.EIO, str(error).split("\n")[0], str(part)) from error
    save_config(made, part / "config.json", keep_vision_config=True)
    del model
    mx.clear_cache()
    _copy_files(source, part)
    store.verify(part)
    after = score(part, ids, store.read_json(part / "config.json"), cancelled)
    if not after.perplexity <= MOST_WORSE * before.perplexity:
        raise CheckpointRefused(
            _(
                "The result predicts the text much worse than its source: perplexity {after:.3f} against {before:.3f} "
                "(the limit is {limit} times the source's). Nothing was written."
            ).format(after=after.perplexity, before=before.perplexity, limit=MOST_WORSE),
            _("Use more bits, or smaller groups (group_size=32)."),
        )
    return before, after


# -- files ------------------------------------------------------------------------------------------------


def _copy_files(source: Path, part: Path) -> None:
    """Tokenizer, template and the like, byte for byte; only the keys that ask for code are taken out."""
    for pattern in _COPIED:
        for file in sorted(source.glob(pattern)):
            if not file.is_file() or file.suffix == ".py":
                continue
            shutil.copyfile(file, part / file.name)
            if file.suffix != ".json" or file.name == "tokenizer.json":
                continue
            values = store.read_json(file)
            if values.pop("auto_map", None) is not None:
                (part / file.name).write_text(json.dumps(values, indent=2, ensure_ascii=False), encoding="utf-8")
