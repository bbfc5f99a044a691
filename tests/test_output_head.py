"""While a model decodes, its output head reads states without gaps; behind, it is as it was."""

from __future__ import annotations

import pytest
import torch

from sac_rag.output_head import dense
from tests.tiny import tiny_adapter, tiny_model


@pytest.mark.parametrize("rows", [1, 3])
@torch.no_grad()
def test_the_head_reads_dense_states_and_says_the_same(rows):
    backbone = tiny_adapter(tiny_model()).method.backbone
    model, seen = backbone.causal_lm, []
    ids_BT = torch.arange(6, 6 + 9 * rows).view(rows, 9)
    head = model.get_output_embeddings()
    with backbone.decoding():
        wanted = model(input_ids=ids_BT).logits[:, -1]
        # behind the hook of decoding, so it sees what the head sees
        head.register_forward_pre_hook(lambda head, args: seen.append(args[0]))
        found = model(input_ids=ids_BT, logits_to_keep=1).logits[:, -1]
    model(input_ids=ids_BT, logits_to_keep=1)
    torch.testing.assert_close(found, wanted)
    inside, outside = (one.stride() for one in seen)
    assert inside == torch.empty(rows, 1, backbone.model_dim).stride()
    assert outside != inside  # what transformers gives: the test would say if it were mended


def test_dense_states_let_gradients_through():
    states = torch.randn(1, 5, 4, requires_grad=True)
    found = dense(states[:, -1:])
    assert found.stride() == torch.empty(1, 1, 4).stride()
    found.sum().backward()
    assert states.grad[0, -1].tolist() == [1.0] * 4
