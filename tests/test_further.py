"""Training that goes on from published weights: they come back as they were, and a mean is a mean."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from training.config import CHECKPOINTS, recipes  # noqa: E402
from training.further import as_trained, beginning, published_weights  # noqa: E402
from training.train import loss_of, new_model  # noqa: E402


@pytest.mark.parametrize("name", ["instruct-tiny", "moe-tiny"])
def test_the_published_weights_fit_the_model_that_is_trained_and_answer_as_they_do(name):
    model = new_model(CHECKPOINTS / name, 1, recipes()[name].get("routing"))
    missing, unknown = model.load_state_dict(as_trained(published_weights(CHECKPOINTS / name)), strict=False)
    assert not unknown and all(key.endswith("router.load") for key in missing)
    model.eval()
    from training.corpus import Corpus
    from training.tokenizer import Encoder

    encoder, stream, losses = Encoder(CHECKPOINTS / name), Corpus("eval", 3, name), []
    for _ in range(20):
        ids, mask = encoder.conversation(stream.fact("en").messages)
        weights = torch.tensor([[float(m == 1) for m in mask[1:]]])
        losses.append(loss_of(model, torch.tensor([ids]), weights, False, 256)[1].mean().item())
    assert sum(losses) / len(losses) < 0.2, losses  # drawn weights give about 7


def test_a_mean_is_weighted(tmp_path):
    one, two = {"a": torch.tensor([1.0])}, {"a": torch.tensor([3.0]), "x.router.load": torch.tensor([9.0])}
    for number, state in enumerate((one, two)):
        torch.save({"model": state}, tmp_path / f"{number}.pt")
    made = beginning([f"{tmp_path}/0.pt:0.25", f"{tmp_path}/1.pt:0.75"])
    assert set(made) == {"a"} and made["a"].item() == pytest.approx(2.5)
    assert torch.equal(
        beginning([f"{CHECKPOINTS / 'instruct-tiny'}:1"])["model.norm.weight"],
        published_weights(CHECKPOINTS / "instruct-tiny")["model.norm.weight"],
    )
