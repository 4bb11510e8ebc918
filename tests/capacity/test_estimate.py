"""What a request needs and what is free, computed. Nothing here loads a real model."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest

from labs_helper import catalog, store
from labs_helper.capacity import estimate, limits
from labs_helper.capacity.require import require
from labs_helper.common import nvidia, platforms
from labs_helper.errors import BadRequest, NotEnoughMemory
from labs_helper.models.selection import choose

REAL = [card for card in catalog.cards() if card.tier == "real"]
GIB = 2**30


# -- need -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("card", [card for card in REAL if card.format == "mlx"], ids=lambda card: card.name)
def test_computed_weights_agree_with_the_published_sizes(card):
    """Sizes on the hub were read from its pages, to three digits; the shapes come from other sources."""
    computed, expanded = estimate.weight_bytes(card.config, estimate.table_of(card.config), on_cpu=False)
    assert computed == pytest.approx(card.bytes_on_disk, rel=0.004) and not expanded


@pytest.mark.parametrize(
    ("name", "cache"), [("phi-3.5-mini-instruct-4bit", 393_216), ("phi-3.5-moe-instruct-4bit", 131_072)]
)
def test_cache_bytes_a_token_are_those_of_the_facts(name, cache):
    config = catalog.find(name)[0].config
    assert estimate.cache_bytes(config, 256, 2) == 256 * cache
    assert estimate.cache_bytes(config, 257, 2) == 512 * cache, "room is made for 256 tokens at a time"
    assert estimate.cache_bytes(config, 0, 2) == 0


@pytest.mark.parametrize(
    ("name", "prompt", "generated", "peak"),
    [("phi-3.5-mini-instruct-4bit", 17, 932, 2.512), ("phi-3.5-moe-instruct-4bit", 448, 1024, 22.158)],
)
def test_peaks_printed_by_the_original_notebooks(name, prompt, generated, peak):
    """Measured on a Mac by the labs' author; mlx-lm printed GiB as "GB" (the MoE's weights alone have 23.57 GB)."""
    config = catalog.find(name)[0].config
    table = estimate.table_of(config)
    whole = estimate.need(config, table, prompt + generated, on_cpu=False)
    reading = estimate.need(config, table, prompt, on_cpu=False)
    assert whole.weights + whole.cache + reading.work == pytest.approx(peak * GIB, rel=0.1)


def test_the_table_of_shapes_is_that_of_a_real_checkpoint(tiny_checkpoint):
    """Same bytes from the shapes in config.json as from the headers of a file that mlx wrote."""
    config = json.loads((tiny_checkpoint / "config.json").read_text())
    written = store.weight_table(tiny_checkpoint)

    def numbers(table):
        import math

        packed = sum(math.prod(e["shape"]) for e in table.values() if e["dtype"] == "U32")
        return packed, sum(math.prod(e["shape"]) for e in table.values() if e["dtype"] != "U32")

    assert numbers(estimate.table_of(config)) == numbers(written)


def test_on_a_cpu_everything_is_wider(monkeypatch):
    monkeypatch.setenv("LABS_DEQUANTIZE", "0")
    config = catalog.find("phi-3.5-mini-instruct-4bit")[0].config
    table = estimate.table_of(config)
    gpu, cpu = (estimate.need(config, table, 4096, on_cpu=on_cpu) for on_cpu in (False, True))
    assert cpu.cache == 2 * gpu.cache
    scales = sum(2 * e["shape"][0] * (e["shape"] + [1])[1] for e in table.values() if e["dtype"] == "F16")
    assert cpu.weights - gpu.weights == scales, "16-bit scales and norms become 32-bit ones"


def test_expanded_weights_need_more_while_they_are_read(tiny_checkpoint, monkeypatch):
    monkeypatch.setenv("LABS_DEQUANTIZE", "1")
    expanded = estimate.of_folder(tiny_checkpoint, 256, on_cpu=True)
    monkeypatch.setenv("LABS_DEQUANTIZE", "0")
    packed = estimate.of_folder(tiny_checkpoint, 256, on_cpu=True)
    assert expanded.weights > 4 * packed.weights and expanded.loading > expanded.weights
    assert packed.loading == packed.weights


def test_pictures_are_looked_at_before_the_prompt_is_read():
    """So they need room of their own only where that is more than what the prompt needs."""
    card = catalog.find("vision", "real")[0]
    none, few = (estimate.of_card(card, 4096, on_cpu=False, views=crops) for crops in (0, 17))
    assert none == few
    none, few = (estimate.of_card(card, 256, on_cpu=False, views=crops) for crops in (0, 17))
    assert none.work < few.work < 200_000_000, "one view at a time"
    text = catalog.find("instruct", "real")[0]
    assert estimate.of_card(text, on_cpu=False, views=17) == estimate.of_card(text, on_cpu=False)


def test_the_longest_sequence_is_the_longest_that_fits(tmp_path, monkeypatch):
    config = catalog.find("instruct", "real")[0].config
    # The shapes of the real model, without its two gigabytes.
    monkeypatch.setattr(estimate, "_shapes", lambda path: (config, estimate.table_of(config)))
    for room in (3e9, 4e9, 6e9, 20e9):
        fits = estimate.longest_of_folder(tmp_path, int(room), on_cpu=False)
        assert fits % 256 == 0 and estimate.of_folder(tmp_path, fits, on_cpu=False).total <= room
        assert fits == 131072 or estimate.of_folder(tmp_path, fits + 256, on_cpu=False).total > room
    assert estimate.longest_of_folder(tmp_path, 10**9, on_cpu=False) == 0
    assert estimate.longest_of_folder(tmp_path, 10**13, on_cpu=False) == 131072


# -- what is free -----------------------------------------------------------------------------------------


def pretend(monkeypatch, total: float, available: float, containers=(), mac=False, wired=0):
    monkeypatch.delenv("LABS_MEMORY_GB", raising=False)
    memory = SimpleNamespace(total=int(total), available=int(available))
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    monkeypatch.setattr(limits, "container_limits", lambda: [(int(a), int(b)) for a, b in containers])
    monkeypatch.setattr(limits, "_wired_limit", lambda: wired)
    monkeypatch.setattr(limits, "sys", SimpleNamespace(modules={}))
    monkeypatch.setattr(platforms, "has_apple_gpu", lambda: mac)


@pytest.mark.parametrize(
    ("gigabytes", "mebibytes"), [(8, 5461), (16, 10922), (32, 21845), (36, 27648), (64, 49152), (96, 73728)]
)
def test_what_metal_gives_the_gpu(monkeypatch, gigabytes, mebibytes):
    pretend(monkeypatch, gigabytes * GIB, gigabytes * GIB, mac=True)
    limit = limits.tightest()
    assert (limit.kind, limit.left // 2**20) == ("gpu", mebibytes)


def test_a_card_has_a_memory_of_its_own(monkeypatch):
    """Weights pass through the machine too, so the least of both counts. Without CUDA the card counts for nothing."""
    card = nvidia.parse("NVIDIA L4, 580.65.06, 23034, 22000, 8.9")
    pretend(monkeypatch, 64 * GIB, 60 * GIB)
    monkeypatch.setattr(nvidia, "card", lambda: card)
    assert limits.tightest().kind == "machine"
    monkeypatch.setattr(nvidia, "is_used", lambda: True)
    assert platforms.has_mlx_gpu()
    limit = limits.tightest()
    assert (limit.kind, limit.total, limit.left) == ("card", 23034 * 2**20, 22000 * 2**20)
    pretend(monkeypatch, 16 * GIB, 12 * GIB)
    assert (limits.tightest().kind, limits.free()) == ("machine", 12 * GIB)


def test_what_mlx_says_counts_more(monkeypatch):
    pretend(monkeypatch, 32 * GIB, 30 * GIB, mac=True, wired=28 * GIB)
    assert limits.tightest().left == 28 * GIB
    fake = SimpleNamespace(
        device_info=lambda: {"max_recommended_working_set_size": 26 * GIB}, get_active_memory=lambda: 3 * GIB
    )
    limits.sys.modules["mlx.core"] = fake
    monkeypatch.setitem(sys.modules, "mlx", SimpleNamespace(core=fake))
    monkeypatch.setitem(sys.modules, "mlx.core", fake)
    assert limits.tightest() == limits.Limit("gpu", 26 * GIB, 23 * GIB)


def test_the_tightest_limit_wins(monkeypatch):
    pretend(monkeypatch, 16e9, 12e9, containers=[(8e9, 3e9), (6e9, 5.5e9)])
    assert limits.tightest() == limits.Limit("container", 6 * 10**9, 5 * 10**8)
    assert limits.total() == 6 * 10**9
    pretend(monkeypatch, 16e9, 2e9, containers=[(8e9, 3e9)])
    assert limits.tightest().kind == "machine"


def test_labs_memory_gb_stands_for_everything(monkeypatch):
    monkeypatch.setenv("LABS_MEMORY_GB", "6.5")
    assert limits.free() == 6_500_000_000
    for wrong in ("many", "-1", "nan", "inf"):
        monkeypatch.setenv("LABS_MEMORY_GB", wrong)
        with pytest.raises(BadRequest, match="LABS_MEMORY_GB"):
            limits.free()


def test_the_wired_limit_is_read_with_care(monkeypatch):
    def sysctl(output):
        return lambda *arguments, **options: SimpleNamespace(stdout=output)

    for output, limit in (("0\n", 0), ("26000\n", 26000 * 2**20), ("", 0), ("unknown oid", 0)):
        monkeypatch.setattr(limits.subprocess, "run", sysctl(output))
        assert limits._wired_limit() == limit
    monkeypatch.setattr(limits.subprocess, "run", lambda *a, **o: (_ for _ in ()).throw(FileNotFoundError()))
    assert limits._wired_limit() == 0


# -- refusals ---------------------------------------------------------------------------------------------


@pytest.fixture
def moe(tmp_path, monkeypatch):
    """A folder that says it is the 4-bit MoE: its true shapes, no weights."""
    monkeypatch.setenv("LABS_MODELS_DIR", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    card = catalog.find("phi-3.5-moe-instruct-4bit")[0]
    folder = tmp_path / card.name
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(card.config))
    monkeypatch.setattr(store, "weight_table", lambda path: estimate.table_of(card.config))
    return folder


def refused(path, tokens=4096) -> str:
    with pytest.raises(NotEnoughMemory) as caught:
        require(path, tokens)
    return str(caught.value)


def test_enough_memory_gives_the_need(moe, monkeypatch):
    pretend(monkeypatch, 64 * GIB, 60 * GIB, mac=True)
    need = require(moe, 4096)
    assert need.total == pytest.approx(24.8e9, rel=0.01)


def test_a_refusal_names_the_model_that_fits_and_the_setting(moe, monkeypatch):
    pretend(monkeypatch, 32 * GIB, 31 * GIB, mac=True)
    said = refused(moe)
    assert "phi-3.5-moe-instruct-4bit needs 24.68 GB: 23.5" in said
    assert 'load("phi-mini-moe-instruct-bf16") needs 16.3 GB and fits (first: labs models fetch phi-mini' in said
    assert "sudo sysctl iogpu.wired_limit_mb=23" in said
    pretend(monkeypatch, 16 * GIB, 14 * GIB, mac=True)
    said = refused(moe)
    assert 'load("' not in said, "a model that no engine can run is not offered"
    assert "too little memory" in said


def test_a_setting_that_is_followed_is_enough(moe, monkeypatch):
    pretend(monkeypatch, 32 * GIB, 31 * GIB, mac=True)
    import re

    wired = int(re.search(r"wired_limit_mb=(\d+)", refused(moe))[1]) * 2**20
    pretend(monkeypatch, 32 * GIB, 31 * GIB, mac=True, wired=wired)
    assert require(moe, 4096)


def test_a_shorter_request_is_offered_and_fits(moe, monkeypatch):
    pretend(monkeypatch, 64 * GIB, 28e9, mac=True)
    import re

    said = refused(moe, 100_000)
    fewer = int(re.search(r"At most ([\d,]+) tokens fit", said)[1].replace(",", ""))
    assert 256 <= fewer < 100_000 and require(moe, fewer)
    assert "Close other programs" in said


def test_containers_and_our_own_setting_are_named(moe, monkeypatch):
    pretend(monkeypatch, 64e9, 60e9, containers=[(16e9, 2e9)])
    assert "docker run --memory" in refused(moe)
    monkeypatch.setenv("LABS_MEMORY_GB", "4")
    assert "LABS_MEMORY_GB is set" in refused(moe)


def test_auto_takes_the_best_real_model_that_fits(moe, monkeypatch):
    """Two models of the role are here: with less memory the smaller one answers."""
    small = catalog.find("phi-mini-moe-instruct-bf16")[0]
    folder = moe.parent / small.name
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(small.config))
    tables = {moe.name: catalog.find(moe.name)[0].config, small.name: small.config}
    monkeypatch.setattr(store, "weight_table", lambda path: estimate.table_of(tables[path.name]))
    monkeypatch.setattr(store, "verify", lambda path, **options: {})
    for memory, chosen in ((64, moe.name), (32, small.name)):
        pretend(monkeypatch, memory * GIB, memory * GIB, mac=True)
        assert choose("moe", "auto").card.name == chosen
    assert choose("moe", "real").card.name == moe.name


def test_what_no_engine_can_run_is_said_at_once():
    gguf = catalog.find("phi-3.5-mini-instruct-q4-gguf")[0]
    assert estimate.of_card(gguf, on_cpu=True).weights == 2_390_000_000
    assert not gguf.not_yet, "llama.cpp runs it"
    with pytest.raises(BadRequest, match="This version cannot run"):
        choose("phi-tiny-moe-instruct-bf16")


def test_the_table_in_the_documentation_is_computed():
    """docs/models.md says that this function wrote its table; here is the proof."""
    from pathlib import Path

    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text("utf-8")
    for card in REAL:
        cells = []
        for tokens in (1024, 4096, 16384, 65536):
            fits = tokens <= card.context
            need = estimate.of_card(
                card, tokens, on_cpu=card.format == "gguf", views=17 if card.role == "vision" else 0
            )
            cells.append(f"{need.total / 1e9:.1f}" if fits else "-")
        assert f"| `{card.name}` | {card.bytes_on_disk / 1e9:.2f} | {' | '.join(cells)} |" in text, card.name


def test_layers_with_bits_of_their_own_are_counted_once(tiny_moe, monkeypatch):
    """Gate and head have 8 bits in moe-tiny: expanded they take no more than at 4."""
    import math

    from labs_helper.engines.mlx_text import MLXText

    monkeypatch.setenv("LABS_DEQUANTIZE", "1")
    engine = MLXText(tiny_moe)
    engine.load(16)
    loaded = engine.weight_bytes
    engine.close()
    need = estimate.of_folder(tiny_moe, 16, on_cpu=True)
    assert need.weights == loaded
    assert math.isclose(need.loading, 1.85 * loaded, rel_tol=1e-6)
