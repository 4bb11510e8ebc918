"""mlx-vlm's expert offload on a phimoe, as notebook 03 uses it: the same tokens with experts on the disk."""

from __future__ import annotations

import pytest

from labs_helper.engines.mlx_text import import_mlx_lm

QUESTION = "<|user|>\nWhere is Changsha?<|end|>\n<|assistant|>\n"

# mlx_vlm/moe_offload.py leaves the files that it reads to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def repacked(tiny_moe, tmp_path_factory):
    """The checkpoint with a file of experts for each layer, and the bytes of one expert."""
    import_mlx_lm()
    from mlx_vlm import moe_offload

    folder = tmp_path_factory.mktemp("offload") / "tiny-moe"
    moe_offload.repack(str(tiny_moe), str(folder))
    files = sorted((folder / "experts").glob("*.safetensors"))
    assert len(files) == 2
    import mlx.core as mx

    return folder, 1.001 * sum(array.nbytes for array in mx.load(str(files[0])).values()) / 16


def answer(folder, **options):
    import mlx_vlm

    model, processor = mlx_vlm.load(str(folder), **options)
    made = mlx_vlm.generate(model, processor, QUESTION, max_tokens=24, verbose=False)
    return made.token_ids, getattr(model, "moe_offload_store", None)


def test_the_same_tokens_at_every_budget_and_more_hits_with_more_room(tiny_moe, repacked):
    folder, one = repacked
    resident, _ = answer(tiny_moe)
    rates = []
    for room in (1, 8, 16, 32):
        tokens, store = answer(folder, expert_cache_gb=room * one / 1e9)
        stats = store.stats()
        assert tokens == resident
        assert stats["resident_experts"] <= room and stats["resident_bytes"] <= stats["budget_bytes"]
        rates.append(stats["hit_rate"])
    assert rates == sorted(rates) and rates[0] < 0.1 < rates[-1]
    assert stats["evictions"] == 0, "with room for all of them none has to leave"


def test_the_engine_of_the_course_gives_the_same_tokens(tiny_moe, repacked):
    from labs_helper.models.load import load

    folder, one = repacked
    model = load(str(tiny_moe))
    ours = model.ask("Where is Changsha?", max_tokens=24)
    assert ours.prompt.text == QUESTION
    assert [token.id for token in ours.tokens] == answer(folder, expert_cache_gb=one / 1e9)[0]
    model.release()
