"""Objectives are what the paper writes down; a batch is the mean of its samples."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy

from sac_rag.chunking import Chunk
from sac_rag.train.module import TrainingModule, make_trainable
from sac_rag.train.objectives import OBJECTIVES, compress_samples
from sac_rag.train.samples import Sample
from tests.tiny import tiny_adapter, tiny_model


def ids(*shape: int, seed: int = 0) -> list[int]:
    return torch.randint(3, 264, shape, generator=torch.Generator().manual_seed(seed)).tolist()


SAMPLES = [
    Sample(documents=(ids(30),), target=ids(7, seed=1)),
    Sample(documents=(ids(600, seed=2),), target=ids(3, seed=3)),
    Sample(
        documents=(ids(9, seed=4), ids(70, seed=5)), prompt=ids(5, seed=6), target=ids(4, seed=7)
    ),
]


@pytest.fixture(scope="module")
def adapter():
    made = tiny_adapter(tiny_model())
    make_trainable(made)
    return made


def test_what_is_trained_is_lora_and_embeddings(adapter):
    trained = {
        name for name, weight in adapter.backbone.model.named_parameters() if weight.requires_grad
    }
    assert trained
    assert all("lora_" in name for name in trained)
    assert all(weight.requires_grad for weight in adapter.method.parameters())


@pytest.mark.parametrize("name", OBJECTIVES)
@torch.no_grad()
def test_a_batch_gives_its_samples_losses(adapter, name):
    method = adapter.method
    together = OBJECTIVES[name](method, SAMPLES, compress_samples(method, SAMPLES))
    alone = [
        OBJECTIVES[name](method, [sample], compress_samples(method, [sample]))[0]
        for sample in SAMPLES
    ]
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_continuation_is_the_papers_formula(adapter):
    """[LM] at the last context id, the target behind it, every token of it in the loss."""
    method, sample = adapter.method, SAMPLES[0]
    base = tiny_model()
    anchors = method.compress_chunk(Chunk(token_ids=torch.tensor(sample.documents[0])))
    from transformers import DynamicCache

    cache = DynamicCache()
    for layer in range(3):
        cache.update(anchors.keys[layer][None], anchors.values[layer][None], layer)
    target = torch.tensor(sample.target)
    embeds = torch.cat([method.task_embedding()[None], base.model.embed_tokens(target[:-1])])[None]
    logits = base(
        inputs_embeds=embeds,
        position_ids=30 + torch.arange(len(target))[None],
        past_key_values=cache,
    ).logits[0]
    [loss] = OBJECTIVES["continuation"](method, [sample], compress_samples(method, [sample]))
    torch.testing.assert_close(loss, cross_entropy(logits, target), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_prompt_carries_no_loss(adapter):
    method, sample = adapter.method, SAMPLES[2]
    whole = Sample(documents=sample.documents, target=[*sample.prompt, *sample.target])
    anchors = compress_samples(method, [sample])
    [answer] = OBJECTIVES["qa"](method, [sample], anchors)
    [everything] = OBJECTIVES["qa"](method, [whole], anchors)
    prompt_only = Sample(documents=sample.documents, target=list(sample.prompt))
    [prompt] = OBJECTIVES["qa"](method, [prompt_only], anchors)
    torch.testing.assert_close(everything * 9, prompt * 5 + answer * 4, atol=1e-3, rtol=1e-4)


def test_weights_mix_objectives_and_zero_is_not_built(adapter):
    both = TrainingModule(adapter, weights={"continuation": 3.0, "autoencoding": 1.0, "qa": 0.0})
    with torch.no_grad():
        made = both(SAMPLES[:2])
    assert set(made) == {"loss", "continuation", "autoencoding"}
    expected = (3 * made["continuation"] + made["autoencoding"]) / 4
    torch.testing.assert_close(made["loss"], expected)


def test_a_step_lowers_the_loss(adapter):
    module = TrainingModule(adapter, weights={"continuation": 1.0})
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    before = [weight.detach().clone() for weight in weights]
    optimizer = torch.optim.SGD(weights, lr=0.05)
    losses = []
    for _ in range(4):
        loss = module(SAMPLES)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    with torch.no_grad():
        for weight, old in zip(weights, before, strict=True):
            weight.copy_(old)
    assert losses[-1] < losses[0]
