"""Full and none are the plain model's own; so is compression that keeps everything."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from sac_rag.adapter import Adapter
from sac_rag.analysis import continuation_perplexity
from sac_rag.errors import ConfigError, ContextOverflowError
from sac_rag.train.objectives import OBJECTIVES, compress_samples
from sac_rag.train.samples import Sample
from tests.analysis.conftest import ids
from tests.tiny import tiny_model


@torch.no_grad()
def _own_loss(context, target):
    tokens = torch.tensor([*context, *target])
    logits = tiny_model()(input_ids=tokens[None]).logits[0]
    return cross_entropy(logits[len(context) - 1 : -1], tokens[len(context) :]).item()


def test_floor_and_ceiling_are_the_plain_models_whatever_the_method(adapter, samples):
    found = continuation_perplexity(adapter, samples)
    for row, sample in enumerate(samples):
        [document] = sample.documents
        assert found.full[row] == pytest.approx(_own_loss(document, sample.target), abs=1e-4)
        assert found.none[row] == pytest.approx(_own_loss(document[:1], sample.target), abs=1e-4)
    assert found.num_tokens.tolist() == [12, 25]


def test_behind_anchors_it_is_the_loss_that_training_lowers(adapter, samples):
    found = continuation_perplexity(adapter, samples, batch_size=1)
    with torch.no_grad():
        anchors = compress_samples(adapter.method, samples)
        expected = OBJECTIVES["continuation"](adapter.method, samples, anchors)
    np.testing.assert_allclose(found.compressed, expected.numpy(), atol=1e-4)


def test_keeping_every_token_is_full_context(samples):
    found = continuation_perplexity(Adapter.plain(tiny_model()), samples)
    np.testing.assert_allclose(found.compressed, found.full, atol=1e-4)
    assert found.perplexity("compressed") == pytest.approx(found.perplexity("full"), rel=1e-3)


def test_perplexity_is_over_tokens_not_texts(adapter, samples):
    found = continuation_perplexity(adapter, samples)
    mean = (found.full * found.num_tokens).sum() / found.num_tokens.sum()
    assert found.perplexity("full") == pytest.approx(np.exp(mean))


def test_what_cannot_be_measured_is_refused(adapter):
    with pytest.raises(ConfigError, match="0 texts"):
        continuation_perplexity(adapter, [])
    long = Sample(documents=(ids(4000),), target=ids(100))
    with pytest.raises(ContextOverflowError, match="reads 4096 in full"):
        continuation_perplexity(adapter, [long])
