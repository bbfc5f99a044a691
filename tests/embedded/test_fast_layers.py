"""The fast training road and the library's road give one result."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from atlas import World
from build_tokenizer import save as save_tokenizer
from chunks import arrange, lay_out
from curriculum import IGNORE, LEVELS, Coder, make_batch
from peft import LoraConfig
from reader import Reader
from train_base import new_model
from train_sac import Weights
from transformers import AutoTokenizer

from sac_rag.adapter import Adapter
from sac_rag.anchor_cache import cat, join
from sac_rag.chunking import split_chunks
from sac_rag.config import CompressConfig


@pytest.fixture(scope="module")
def coder(tmp_path_factory: pytest.TempPathFactory) -> Coder:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    return Coder(AutoTokenizer.from_pretrained(folder))


@pytest.fixture(scope="module")
def model(coder: Coder, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("model")
    save_tokenizer(folder)
    torch.manual_seed(0)
    return new_model(AutoTokenizer.from_pretrained(folder), tiny=True).eval()


def test_questions_read_together_get_the_logits_of_each_alone(coder, model):
    batch = make_batch(World("law"), coder, LEVELS[1], 0.0)
    weights = dict(model.named_parameters())
    reader = Reader(model.config, compiled=False)
    seen = torch.arange(batch.context.shape[1])[None] < batch.lengths[:, None]
    cache = reader.read(weights, batch.context)
    hidden = reader.ask(weights, cache, seen, batch.questions, batch.lengths)
    for b, n in ((0, 0), (3, 2), (7, 5)):
        last = int((batch.labels[b, n] != IGNORE).nonzero().max())
        ids = torch.cat((batch.context[b, : batch.lengths[b]], batch.questions[b, n, : last + 1]))
        alone = model.model(ids[None]).last_hidden_state[0, batch.lengths[b] :]
        torch.testing.assert_close(hidden[b, n, : last + 1], alone, rtol=1e-4, atol=1e-4)


def test_encoded_in_place_equals_compressed_apart_and_joined(coder, model):
    torch.manual_seed(1)
    lora = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False)
    adapter = Adapter.create(model, compress=CompressConfig(ratio=5, chunk_size=40), lora=lora)
    torch.nn.init.normal_(adapter.method.anchor_embeddings)
    weights = Weights(adapter, dtype=torch.float32)
    documents = [list(range(300, 393)), list(range(400, 441)), list(range(500, 507))]
    chunks = lay_out([documents], ratio=5, chunk_size=40, multiple=(4, 8, 8))
    reader = Reader(model.config, compiled=False)
    cache = arrange(
        reader.encode(weights.encoder(), chunks, adapter.method.anchor_embeddings), chunks
    )
    apart = [
        cat(adapter.method.compress_chunks(split_chunks(ids, chunk_size=40))) for ids in documents
    ]
    joined = join(apart, inv_freq=adapter.backbone.inv_freq)
    assert chunks.totals.item() == joined.num_tokens
    for layer, (keys, values) in enumerate(cache):
        own_keys = keys[0][chunks.seen[0]].transpose(0, 1)
        own_values = values[0][chunks.seen[0]].transpose(0, 1)
        torch.testing.assert_close(own_keys, joined.keys[layer], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(own_values, joined.values[layer], rtol=1e-3, atol=1e-4)
