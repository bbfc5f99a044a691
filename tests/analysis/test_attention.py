"""Rows of attention sum to 1; the maps are those of the pass that decoding makes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sac_rag.adapter import Adapter
from sac_rag.analysis import attention_maps, said_again
from sac_rag.errors import ContextOverflowError
from sac_rag.generation import Prompt
from sac_rag.layout import num_anchors
from tests.analysis.conftest import ids
from tests.tiny import tiny_model


def test_rows_sum_to_one_over_anchors_and_prompt(adapter):
    found = said_again(adapter, ids(60))
    anchors = num_anchors(60, 5)
    assert found.num_anchors == anchors
    assert found.weights.shape == (3, 4, 60, anchors + 60)
    assert found.weights.sum(-1) == pytest.approx(1.0, abs=1e-5)
    # causal: a query sees the anchors and what stands before it, itself included
    ahead = np.triu(np.ones((60, 60), dtype=bool), k=1)
    assert (found.weights[..., anchors:][..., ahead] == 0).all()
    assert (found.to_anchors > 0).any()
    assert ((found.mass >= 0) & (found.mass <= 1)).all()
    assert ((found.diagonal >= 0) & (found.diagonal <= 1)).all()


def test_every_token_has_an_anchor_of_its_own_place(adapter):
    """Over chunks too, and whatever positions the method gives its anchors."""
    adapter = Adapter(adapter.method, adapter.config)
    found = said_again(adapter, ids(700))
    assert found.is_own.any(1).all()
    assert found.is_own.sum(1).max() <= 2
    assert (np.diff(found.anchor_places) > 0).all()


def test_maps_of_the_plain_model_are_its_own():
    """Every token an anchor, nothing learned: the rows of the model's own attention."""
    model, tokens = tiny_model(), torch.tensor(ids(40))
    plain = Adapter.plain(model)
    from sac_rag.chunking import Chunk

    anchors = plain.method.compress_chunk(Chunk(token_ids=tokens[:30]))
    prompt = Prompt(token_ids=tokens[30:].tolist(), anchors=anchors)
    found = attention_maps(plain, prompt)
    assert model.config._attn_implementation == "sdpa"
    model.set_attn_implementation("eager")
    own = model(input_ids=tokens[None], output_attentions=True).attentions
    expected = torch.stack([one[0, :, 30:] for one in own]).detach().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_text_beyond_the_window_is_refused(adapter):
    text = ids(4200)  # the window has 4,096
    last = replace(adapter.method.compress_chunk(_chunk(text)), span=4090)
    with pytest.raises(ContextOverflowError, match="the model has 4096"):
        attention_maps(adapter, Prompt(token_ids=text[:20], anchors=last))


def _chunk(text):
    from sac_rag.chunking import Chunk

    return Chunk(token_ids=torch.tensor(text[:100]))
