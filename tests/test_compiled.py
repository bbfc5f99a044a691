"""A compiled pass gives what the plain one gives, as one graph, and for its shape alone."""

from __future__ import annotations

import pytest
import torch

from sac_rag.chunking import split_chunks
from sac_rag.compiled import CompiledEncoder
from tests.tiny import tiny_adapter, tiny_model

IDS = torch.arange(2 * 60 + 17) % 250 + 6


@pytest.mark.parametrize("attention", ["bidirectional", "causal"])
def test_compiled_equals_plain_for_its_shape_and_others_run_plainly(attention):
    torch._dynamo.reset()
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    method = tiny_adapter(tiny_model(), chunk_size=60, attention=attention).method
    chunks = split_chunks(IDS, chunk_size=60)
    model = method.backbone.causal_lm
    model(IDS[None, :5], output_hidden_states=True, output_attentions=True)  # leaves hooks behind
    hooked = sum(len(part._forward_hooks) for part in model.modules())
    with torch.inference_mode():
        plain = [method.compress_chunks(chunks[:2]), method.compress_chunks(chunks)]
        method.backbone.run_encoder = CompiledEncoder(rows=2, tokens=60, backend=backend)
        assert method.compress_chunks(chunks)[0].keys.shape == plain[1][0].keys.shape
        assert not graphs
        compiled = method.compress_chunks(chunks[:2])
        with method.backbone.decoding():
            model(IDS[None, :5])
        again = method.compress_chunks(chunks[:2])
    assert len(graphs) == 1
    for found in (compiled, again):
        for one, other in zip(found, plain[0], strict=True):
            torch.testing.assert_close(one.keys, other.keys, atol=1e-6, rtol=1e-5)
            torch.testing.assert_close(one.values, other.values, atol=1e-6, rtol=1e-5)
    method.requires_grad_(True)
    assert method.compress_chunks(chunks[:2])[0].keys.requires_grad
    assert len(graphs) == 1
    assert sum(len(part._forward_hooks) for part in model.modules()) == hooked > 0
