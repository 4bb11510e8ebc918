"""The phimoe that is trained: equal to transformers' own, and its way from training through export to an answer."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from labs_helper.common.information import mutual_information as counted_information
from labs_helper.engines.mlx_text import MLXText
from labs_helper.engines.worker import WORKER
from training import config, export, train, weights
from training.corpus import Corpus
from training.moe import routing, upcycle
from training.moe.corpus import TOPICS, MoeCorpus
from training.moe.model import Router, mutual_information, new_model
from training.muon import Muon
from training.quantization import plain_state, round_like_mlx, start_rounding
from training.team import together
from training.tokenizer import Encoder, train_tokenizer

pytestmark = pytest.mark.training

ORIGINAL, CONTEXT = 64, 256
RECIPE = {
    "architecture": "phimoe",
    "seed": 1,
    "steps": 4,
    "languages": {"en": 1.0},
    "known": 1.0,
    "tokenizer": "words",
    "routing": {"balance": 0.05, "special": 0.02, "target": 0.5},
    "model": {
        "vocab_size": 1664,
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "num_local_experts": 16,
        "num_experts_per_tok": 2,
        "router_jitter_noise": 0.01,
        "original_max_position_embeddings": ORIGINAL,
        "max_position_embeddings": CONTEXT,
    },
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs with a small tokenizer and a miniature recipe called moe-tiny."""
    folder = tmp_path_factory.mktemp("runs")
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        train_tokenizer(folder / "words", 1664, samples=2000)
        patch.setitem(config.recipes(), "moe-tiny", RECIPE)
        patch.setattr(train, "POOL", 48)
        patch.setattr(train, "TOKENS_A_STEP", 2048)
        # All stages within four steps; the last one with rounded weights.
        patch.setattr(train, "STAGES", ((0, "repetition"), (1, "copying"), (2, "sample")))
        yield folder


@pytest.fixture(scope="module")
def random_folder(runs):
    """A finished run with large random weights, so that every wrong rotation or expert would be seen."""
    folder = runs / "random"
    folder.mkdir()
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).write_bytes((runs / "words" / file).read_bytes())
    config.write_json(folder / "config.json", config.model_config("moe-tiny", {**Encoder(folder).id, "<s>": 1}))
    model = new_model(folder, 1, {}).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name:
                weight.normal_(0, 1.0 if "embed" in name else 1.5 / weight.shape[-1] ** 0.5, generator=generator)
    weights.save(model.published(plain_state(model)), folder)
    return folder, model


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0].numpy()


def their_model(folder, **changes):
    """transformers' own class, reading our files."""
    from transformers import AutoConfig, PhimoeForCausalLM

    settings = AutoConfig.from_pretrained(folder)
    settings.rope_parameters.update(changes)
    return PhimoeForCausalLM.from_pretrained(
        folder, config=settings, attn_implementation="eager", experts_implementation="eager"
    ).eval()


IDS = np.random.default_rng(3).integers(300, 690, 200).tolist()


def test_it_equals_transformers_up_to_the_original_length_and_the_corrected_one_beyond(random_folder):
    folder, ours = random_folder
    theirs = their_model(folder)
    # transformers keeps to the short table at every length. Given the long factors as short ones, it is right beyond.
    corrected = their_model(folder, short_factor=theirs.config.rope_parameters["long_factor"])
    for length in (16, ORIGINAL):
        assert np.abs(logits_of(ours, IDS[:length]) - logits_of(theirs, IDS[:length])).max() <= 1e-4
    for length in (ORIGINAL + 1, 200):
        mine = logits_of(ours, IDS[:length])
        assert np.abs(mine - logits_of(corrected, IDS[:length])).max() <= 1e-4
        assert np.abs(mine - logits_of(theirs, IDS[:length])).max() > 0.1  # if this fails, transformers is right now


def test_the_fp32_files_give_the_same_logits_in_mlx(random_folder):
    folder, ours = random_folder
    engine = MLXText(folder)
    for length in (16, ORIGINAL, ORIGINAL + 1, 200):
        mlx = WORKER.call(engine.logits, IDS[:length])
        assert np.abs(mlx - logits_of(ours, IDS[:length])).max() <= 1e-3
    WORKER.call(engine.close)


def test_torch_and_mlx_choose_the_same_experts(random_folder):
    folder, ours = random_folder
    mlx = routing.through_mlx(folder)(IDS[:40])
    logits_of(ours, IDS[:40])
    for router, chosen in zip(ours.routers, mlx):
        assert (router.chosen.numpy() == chosen).all()


def test_muon_for_stacks_equals_torchs_muon_matrix_by_matrix():
    torch.manual_seed(0)
    stack = torch.nn.Parameter(torch.randn(3, 64, 32))
    before = stack.detach().clone()
    singles = [torch.nn.Parameter(matrix.clone()) for matrix in before]
    ours = Muon([stack], lr=0.01, weight_decay=0.05)
    theirs = torch.optim.Muon(singles, lr=0.01, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        gradient = torch.randn(3, 64, 32)
        stack.grad = gradient
        for single, part in zip(singles, gradient):
            single.grad = part.clone()
        ours.step()
        theirs.step()
    found = torch.stack([single.detach() for single in singles])
    way = (found - before).square().mean().sqrt()
    # torch computes in 16 bits on every CPU: on some the two differ by 1% of the way.
    assert (stack.detach() - found).square().mean().sqrt() < 0.03 * way


def test_rounding_reaches_experts_at_4_bits_and_router_and_head_at_8(random_folder):
    folder, _ = random_folder
    model = new_model(folder, 1, {})
    before = {name: value.clone() for name, value in plain_state(model).items()}
    start_rounding(model)
    layer = model.model.layers[0]
    assert torch.allclose(
        layer.mlp.experts.down_proj, round_like_mlx(before["model.layers.0.mlp.experts.down_proj"], 4), atol=1e-6
    )
    assert torch.allclose(
        layer.mlp.router.weight, round_like_mlx(before["model.layers.0.mlp.router.weight"], 8), atol=1e-6
    )
    assert torch.allclose(model.lm_head.weight, round_like_mlx(before["lm_head.weight"], 8), atol=1e-6)
    after = plain_state(model)
    assert set(after) == set(before) and all(torch.equal(after[name], before[name]) for name in before)


def test_the_routing_losses_pull_towards_idle_experts_and_towards_sides(random_folder, monkeypatch):
    folder, _ = random_folder
    monkeypatch.setattr("training.moe.model.ENOUGH", 1)
    router = Router(new_model(folder, 1, {}).config, topics=2)
    router.chosen, topics = None, torch.tensor([0] * 4 + [1] * 4)
    for _ in range(400):  # topic 0 always goes to expert 0, topic 1 to expert 2
        router.logits = torch.zeros(8, 16)
        router.logits[:4, 0] = router.logits[4:, 2] = 1
        router.logits.requires_grad_()
        balance, special = router.losses(topics, torch.ones(8, dtype=torch.bool))
    assert mutual_information(router.load[0]) == pytest.approx(1, abs=1e-2)
    downhill = -torch.autograd.grad(balance, router.logits, retain_graph=True)[0]
    assert (downhill[:, 5] > 0).all() and (downhill[:4, 0] < 0).all() and (downhill[4:, 2] < 0).all()
    downhill = -torch.autograd.grad(special, router.logits)[0]
    assert (downhill[:4, 0] > 0).all() and (downhill[:4, 2] < 0).all() and (downhill[4:, 2] > 0).all()
    # Padding counts for nothing.
    before = router.load[:, 1].clone()
    router.losses(topics, torch.tensor([True] * 4 + [False] * 4))
    assert torch.equal(router.load[:, 1], before)
    # Who has reached the target is left alone.
    assert router.losses(topics, torch.ones(8, dtype=torch.bool), target=0.5)[1] == 0


def test_second_choices_that_are_shared_lose_their_sides_and_first_ones_keep_them(random_folder, monkeypatch):
    folder, _ = random_folder
    monkeypatch.setattr("training.moe.model.ENOUGH", 1)
    router = Router(new_model(folder, 1, {}).config, topics=2, shared=True)
    topics = torch.tensor([0] * 4 + [1] * 4)
    for _ in range(400):  # topic 0 has experts 0 and 1, topic 1 has 2 and 3, in this order
        router.logits = torch.zeros(8, 16)
        router.logits[:4, 0] = router.logits[4:, 2] = 4
        router.logits[:4, 1] = router.logits[4:, 3] = 2
        router.logits.requires_grad_()
        balance, special = router.losses(topics, torch.ones(8, dtype=torch.bool))
    downhill = -torch.autograd.grad(special, router.logits, retain_graph=True)[0]
    assert (downhill[:4, 1] < 0).all() and (downhill[4:, 3] < 0).all()  # away from the topic's second expert
    assert (downhill[:4, 0] > 0).all() and (downhill[4:, 2] > 0).all()
    assert (downhill[:4, 3] > 0).all()  # the other topic's may become one of all
    downhill = -torch.autograd.grad(balance, router.logits)[0]
    assert (downhill[:, 5] > 0).all() and (downhill[:4, 1] < 0).all()  # the load is that of both choices


@pytest.mark.slow
def test_a_model_begins_as_the_dense_one_also_where_second_choices_are_shared(monkeypatch):
    monkeypatch.setattr(upcycle, "CONVERSATIONS", 200)
    model = new_model(config.CHECKPOINTS / "moe-tiny", 1, {"shared": [3]})
    upcycle.upcycle(model, "instruct-tiny", 1)
    model.eval()
    encoder, corpus = Encoder(config.CHECKPOINTS / "moe-tiny"), Corpus("eval", 2)
    losses, chosen = [], []
    with torch.no_grad():
        for _ in range(40):
            ids, mask = encoder.conversation(corpus.sample().messages)
            ids, weights = torch.tensor([ids[:256]]), torch.tensor([mask[1:256]]).clamp_min(0).float()
            _, each = train.loss_of(model, ids, weights, False, 256)
            losses.append(each)
            chosen.append(model.routers[3].chosen % 2)
    assert torch.cat(losses).mean() < 0.5  # 7.8, the logarithm of the vocabulary, if it knew nothing
    # As first choices the experts for a topic win there, as second ones those for all.
    first, second = torch.cat(chosen).float().mean(0)
    assert first < 0.4 and second > 0.7


def test_mutual_information_of_known_tables():
    assert mutual_information(torch.eye(4)) == pytest.approx(1) == pytest.approx(counted_information(np.eye(4)))
    assert mutual_information(torch.ones(4, 3)) == pytest.approx(0, abs=1e-9)
    table = np.random.default_rng(0).integers(1, 9, (5, 7))
    assert counted_information(table) == pytest.approx(mutual_information(torch.tensor(table)))


def test_the_report_of_experts_that_take_sides_and_of_experts_that_do_not():
    topics = [place for place in range(len(TOPICS)) for _ in range(30)]
    conversations = [(place, []) for place in topics]
    sides = np.zeros((len(topics), 1, 2, 16), dtype=int)
    for row, place in enumerate(topics):
        sides[row, 0, 0, place] = sides[row, 0, 1, 15 - place] = 10
    report = routing.report(conversations, sides)
    assert report["best information"] == 1 and report["layers"][0]["chance"] < 0.2
    assert report["layers"][0]["favourite"][: len(TOPICS)] == list(TOPICS)
    even = np.random.default_rng(0).integers(5, 9, sides.shape)
    report = routing.report(conversations, even)
    assert report["best information"] < 0.01 and report["least share"] > 0.05 and not report["bars met"]


def test_a_wrong_plan_is_never_learned(runs):
    encoder, stream = Encoder(runs / "words"), MoeCorpus("train", 3)
    case = next(case for case in iter(lambda: stream.plan("en"), None) if any("learn" in m for m in case.messages))
    ids, mask = encoder.conversation(case.messages)
    wrong = next(m["content"] for m in case.messages if "learn" in m)
    assert encoder.tokenizer.decode([i for i, m in zip(ids, mask) if m == -1]).strip() == wrong.strip()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MoeCorpus, "plan", lambda self: case)
        patch.setitem(RECIPE["model"], "max_position_embeddings", 2000)
        weights = next(train.batches("moe-tiny", encoder, 1, "plan", 512))[1][0]
    assert [round(w, 3) for w in weights.tolist()] == [train.WEIGHTS[m] for m in mask[1:]]


def prepared(words, runs):
    """A folder for a run of the recipe, with the tokenizer."""
    source = runs / "moe-tiny"
    source.mkdir(parents=True)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (source / file).write_bytes((words / file).read_bytes())
    return source


@pytest.mark.slow
def test_training_goes_on_where_it_stopped_and_ends_in_a_checkpoint_that_answers(runs, tmp_path):
    import labs_helper

    source, state_file = prepared(runs / "words", runs), runs / "moe-tiny.state.pt"
    train.run(0, 1, "moe-tiny", RECIPE, 4, runs, stop_at=2)
    state = torch.load(state_file, weights_only=True)
    assert state["step"] == 2 and not (source / "model.safetensors").exists()
    assert state["model"]["model.layers.0.mlp.router.load"].sum() == pytest.approx(2 * len(TOPICS), abs=1e-3)
    train.run(0, 1, "moe-tiny", RECIPE, 4, runs)
    assert torch.load(state_file, weights_only=True)["step"] == 4
    lines = [json.loads(line) for line in (runs / "moe-tiny.log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4] and all(line["tokens"] > 1000 for line in lines)
    assert {"loss", "information", "of second", "least"} <= set(lines[-1])

    folder = export.export("moe-tiny", runs, tmp_path)
    settings = json.loads((folder / "config.json").read_text())
    bits = settings["quantization"]
    assert bits["bits"] == 4 and bits["lm_head"]["bits"] == bits["model.layers.1.block_sparse_moe.gate"]["bits"] == 8
    assert {"short_mscale", "long_mscale", "short_factor", "long_factor"} <= set(settings["rope_scaling"])
    # The checkpoint computes what the training saw: the weights rounded as MLX rounds them.
    model = new_model(source, 1, {}).eval()
    model.load_state_dict(torch.load(runs / "moe-tiny.state.pt", weights_only=True)["model"])
    start_rounding(model)
    engine = MLXText(folder)
    for length in (ORIGINAL, 100):
        assert np.abs(WORKER.call(engine.logits, IDS[:length]) - logits_of(model, IDS[:length])).max() <= 1e-3
    WORKER.call(engine.close)
    answer = labs_helper.load(str(folder)).ask("What is 47 + 38?", max_tokens=5)
    assert answer.generated_tokens >= 1
    conversations = routing.cases(1, 1)
    report = routing.report(
        conversations, routing.counts_of(conversations, Encoder(folder), routing.through_mlx(folder))
    )
    assert len(report["layers"]) == 2 and 0 <= report["best information"] <= 1


def test_a_model_reads_back_the_weights_that_it_publishes(random_folder):
    folder, model = random_folder
    other = new_model(folder, 2, {})
    weights.load_into(other, folder)
    mine, theirs = plain_state(model), plain_state(other)
    assert set(mine) == set(theirs)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine if not name.endswith("router.load"))


def test_a_published_checkpoint_gives_its_weights_with_4_and_8_bits_expanded(random_folder, runs, tmp_path):
    folder, _ = random_folder
    made = export.export("random", runs, tmp_path)
    plain, back = weights.read(folder), weights.read(made)
    assert set(plain) == set(back)
    for name, value in back.items():
        matrix = name.endswith("weight") and "norm" not in name
        bits = 8 if "gate.weight" in name or "lm_head" in name else 4
        wanted = round_like_mlx(plain[name], bits) if matrix else plain[name]
        assert torch.allclose(value, wanted, atol=1e-5), name


def test_a_run_can_begin_with_given_weights(random_folder, runs):
    folder, model = random_folder
    other = runs / "begun"
    prepared(runs / "words", other)
    train.run(0, 1, "moe-tiny", RECIPE, 4, other, further=train.Further(folder), stop_at=1)
    begun = torch.load(other / "moe-tiny.state.pt", weights_only=True)["model"]
    given = {name: value for name, value in plain_state(model).items() if "load" not in name}
    moved = max((begun[name] - value).abs().max().item() for name, value in given.items())
    assert 0 < moved < 0.01  # one step of the warm-up away from them


def run_of_the_miniature(rank, processes, *arguments):
    """`train.run` in a new process, which knows only the real recipes."""
    config.recipes()["moe-tiny"] = RECIPE
    train.run(rank, processes, *arguments)


@pytest.mark.slow
def test_two_processes_train_one_model(runs):
    lines, recipe = [], {**RECIPE, "parts": 2, "pool": 48, "tokens": 1024}
    for count in (1, 2):
        folder = runs / f"of-{count}"
        prepared(runs / "words", folder)
        together(run_of_the_miniature, count, "moe-tiny", recipe, 3, folder)
        lines.append(json.loads((folder / "moe-tiny.log.jsonl").read_text().splitlines()[-1]))
        assert (folder / "moe-tiny" / "model.safetensors").exists()
    # They read other conversations, of one kind and in the same amount.
    assert abs(lines[0]["loss"] - lines[1]["loss"]) < 0.2 and 0.7 < lines[0]["tokens"] / lines[1]["tokens"] < 1.4
