"""The teacher is the frozen decoder that reads in full; a student that lost nothing has no loss."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch.nn.functional import log_softmax

from sac_rag import GenerationParams, SACEngine
from sac_rag.adapter import Adapter
from sac_rag.errors import ConfigError
from sac_rag.train.__main__ import main
from sac_rag.train.distillation import Distillation
from sac_rag.train.module import TrainingModule, make_trainable
from sac_rag.train.objectives import OBJECTIVES, compress_samples
from sac_rag.train.recipe import Objectives
from sac_rag.train.recipe_file import read_recipe
from sac_rag.train.samples import Sample
from tests.tiny import tiny_adapter, tiny_model
from tests.train.test_objectives import SAMPLES, ids

TINY = Path(__file__).parents[2] / "train" / "recipes" / "tiny.yaml"
ONE_CHUNK = [
    Sample(documents=([0, *ids(30)],), prompt=ids(5, seed=1), target=ids(7, seed=2)),
    Sample(documents=([0, *ids(200, seed=3)],), prompt=ids(9, seed=4), target=ids(2, seed=5)),
]


@torch.no_grad()
def test_a_student_that_lost_nothing_has_no_loss():
    """Ratio 1, no adapter: the anchors are the text itself."""
    plain = Adapter.plain(tiny_model())
    anchors = compress_samples(plain.method, ONE_CHUNK)
    same = Distillation(bos_id=0, task_token=plain.config.task_token)
    losses = same(plain.method, ONE_CHUNK, anchors)
    torch.testing.assert_close(losses, torch.zeros(2), atol=1e-6, rtol=0)
    # and one that reads another text has
    swapped = same(plain.method, ONE_CHUNK, anchors[::-1])
    assert (swapped > 1e-2).all()


@torch.no_grad()
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_it_is_the_formula(temperature):
    """KL over the answer's positions alone, from transformers' own forward of both roads."""
    adapter, base = tiny_adapter(tiny_model()), tiny_model()
    method, sample = adapter.method, ONE_CHUNK[0]
    [anchors] = compress_samples(method, [sample])
    size, asked = len(sample.target), [*sample.prompt, *sample.target][:-1]
    teacher = base(input_ids=torch.tensor([[*sample.documents[0], *asked]])).logits[0, -size:]
    from transformers import DynamicCache

    cache = DynamicCache()
    for layer in range(3):
        cache.update(anchors.keys[layer][None], anchors.values[layer][None], layer)
    embeds = torch.cat(
        [method.task_embedding()[None], base.model.embed_tokens(torch.tensor(asked))]
    )
    student = base(
        inputs_embeds=embeds[None],
        position_ids=len(sample.documents[0]) + torch.arange(len(embeds))[None],
        past_key_values=cache,
    ).logits[0, -size:]
    wanted, found = (log_softmax(one / temperature, -1) for one in (teacher, student))
    expected = ((wanted.exp() * (wanted - found)).sum(-1)).mean() * temperature**2
    [loss] = Distillation(temperature=temperature, bos_id=0)(method, [sample], [anchors])
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_batch_gives_its_samples_losses():
    method = tiny_adapter(tiny_model()).method
    distill = Distillation(bos_id=0, separator=(9,))
    together = distill(method, SAMPLES, compress_samples(method, SAMPLES))
    alone = [distill(method, [one], compress_samples(method, [one]))[0] for one in SAMPLES]
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-4, rtol=1e-4)


def test_the_teacher_reads_what_the_engine_reads_in_full(shared_engine):
    texts, question, tokens = ["One text.", "Another."], "Which?", shared_engine.tokens
    request = shared_engine.request(question, texts, compress=False)
    [built] = shared_engine._open().prompts.build([request], params=GenerationParams())
    prompt = shared_engine.adapter.config.prompt
    sample = Sample(
        documents=tuple(prompt.seen_ids(text, tokens=tokens) for text in texts),
        prompt=tokens.encode(prompt.question(question)),
        target=[7, 8],
    )
    teacher = Distillation.of(shared_engine.adapter, tokens)
    assert teacher.read_in_full(sample) == [*built.prompt.token_ids, 7]


def test_gradients_reach_the_adapter_and_zero_weight_is_not_built():
    adapter = tiny_adapter(tiny_model())
    make_trainable(adapter)

    def never(*given):
        raise AssertionError("an objective of weight 0 was built")

    without = TrainingModule(
        adapter,
        weights={"qa": 1.0, "distillation": 0.0},
        objectives={**OBJECTIVES, "distillation": never},
    )
    assert set(without(ONE_CHUNK)) == {"loss", "qa"}
    alone = TrainingModule(
        adapter,
        weights={"distillation": 1.0},
        objectives={"distillation": Distillation(bos_id=0)},
    )
    alone(ONE_CHUNK)["loss"].backward()
    assert adapter.method.anchor_embeddings.grad.abs().sum() > 0
    assert all(
        weight.grad is None
        for name, weight in adapter.backbone.model.named_parameters()
        if "lora_" not in name
    )


def test_a_wrong_setting_names_the_way_out():
    with pytest.raises(ConfigError, match=r"distill\.temperature=0\.0 should be above 0"):
        read_recipe(TINY, ["distill.temperature=0"], stage="finetune")
    words = ["finetune.objectives.qa=0", "finetune.objectives.distillation=1"]
    with pytest.raises(ConfigError, match="reads the samples of another objective"):
        read_recipe(TINY, words, stage="finetune")


def test_runs_of_before_keep_their_identity():
    """A recipe without a teacher hashes as it did before there was one."""
    recipe = read_recipe(TINY, stage="finetune")
    other = read_recipe(TINY, ["distill.temperature=2"], stage="finetune")
    assert recipe.identity() != other.identity()
    from sac_rag.settings import plain

    assert "distill" not in plain(recipe)
    assert "distillation" not in plain(Objectives(qa=1.0))


def test_a_recipe_is_taught_and_its_adapter_answers(tiny_folders, tmp_path, monkeypatch):
    pytest.importorskip("datasets", reason="the extra 'train' is not installed")
    monkeypatch.setenv("SAC_RAG_CACHE", str(tmp_path / "cache"))
    words = [f"model={tiny_folders[0]}", "steps=2", "save_every=2", "data.limit=8", "log_every=1"]
    words += ["finetune.adapter=''", "gradient_checkpointing=true"]
    losses = {}
    for weight in (0.0, 1.0):
        out = tmp_path / f"run-{weight}"
        more = [f"finetune.out={out}", f"finetune.objectives.distillation={weight}"]
        assert main(["finetune", "--config", str(TINY), *words, *more]) == 0
        lines = map(json.loads, (out / "history.jsonl").read_text().splitlines())
        losses[weight] = next(line["loss"] for line in lines if "loss" in line)
    assert abs(losses[0.0] - losses[1.0]) > 1e-3
    with SACEngine.from_pretrained(tiny_folders[0], adapter=out / "adapter") as engine:
        assert engine.answer("Who?", ["a text about someone"], max_new_tokens=3).usage.anchors > 1
