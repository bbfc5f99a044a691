"""The laws on a GPU: it answers as the CPU does, and its stores hold what it made.

Run them with ``python -m pytest -m gpu``. ``SAC_RAG_GPU_TESTS=cpu`` tries the tests themselves on a
machine without a card.
"""

from __future__ import annotations

import os

import pytest
import torch

from sac_rag import SACEngine, open_store
from sac_rag.chunking import split_chunks
from sac_rag.codecs import PCACodec, fit_pca
from sac_rag.compiled import CompiledEncoder
from sac_rag.engine.encoding import copy_out
from tests.tiny import tiny_adapter, tiny_config, tiny_model

DEVICE = os.environ.get("SAC_RAG_GPU_TESTS", "cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        DEVICE == "cuda" and not torch.cuda.is_available(), reason="needs a CUDA device"
    ),
]
COMPILE = {"mode": "reduce-overhead"} if DEVICE == "cuda" else {"backend": "eager"}
TEXTS = [
    "The lighthouse of Kelm Point was lit in 1871. Its keeper, Ada Brook, kept bees.",
    "Bellford was founded in 1204 by monks who had lost their way in the marsh of Orrin.",
    "The ferry between Orrin and Tay runs at noon, and not at all when the wind is from the east.",
]
QUESTIONS = ["Who kept bees?", "When was Bellford founded?", "When does the ferry run?"]


@pytest.fixture(scope="module")
def engine():
    with SACEngine.from_pretrained("embedded", device=DEVICE, dtype="float32") as engine:
        yield engine


@pytest.fixture(scope="module")
def on_cpu():
    with SACEngine.from_pretrained("embedded", device="cpu", dtype="float32") as engine:
        yield engine


def error(found: torch.Tensor, wanted: torch.Tensor) -> float:
    found, wanted = found.float().cpu(), wanted.float().cpu()
    return float((found - wanted).norm() / wanted.norm())


def test_it_encodes_and_answers_as_the_cpu_does(engine, on_cpu):
    for text in TEXTS:
        found, wanted = engine.compress(text), on_cpu.compress(text)
        assert found.fingerprint == wanted.fingerprint
        assert error(found.keys, wanted.keys) < 1e-3
        assert error(found.values, wanted.values) < 1e-3
    for compress in (True, False):
        found, wanted = (
            [one.answer(question, TEXTS, 12, compress=compress).text for question in QUESTIONS]
            for one in (engine, on_cpu)
        )
        assert found == wanted


def test_its_own_precision_stays_close(on_cpu):
    with SACEngine.from_pretrained("embedded", device=DEVICE) as engine:
        assert DEVICE == "cpu" or engine.compress(TEXTS[0]).keys.dtype == torch.bfloat16
        for text in TEXTS:
            assert error(engine.compress(text).values, on_cpu.compress(text).values) < 0.1


def test_a_batch_gives_what_one_by_one_gives(engine):
    together = engine.compress([text * 20 for text in TEXTS])
    for text, cache in zip(TEXTS, together, strict=True):
        with SACEngine.from_pretrained("embedded", device=DEVICE, dtype="float32") as alone:
            assert error(cache.keys, alone.compress(text * 20).keys) < 1e-3
    requests = [
        engine.request(question, TEXTS[:count])
        for count, question in zip((1, 2, 3), QUESTIONS, strict=True)
    ]
    found = [answer.text for answer in engine.generate(requests, max_new_tokens=12)]
    assert found == [engine.generate([one], max_new_tokens=12)[0].text for one in requests]


def test_what_is_copied_out_beside_other_work_is_what_was_there(engine):
    cache = engine.compress(TEXTS[0]).to(DEVICE)
    wanted = cache.keys.cpu().clone()
    copy = copy_out(cache)
    torch.randn(500, 500, device=DEVICE) @ torch.randn(500, 500, device=DEVICE)
    host = copy()
    assert host.keys.device.type == "cpu"
    assert torch.equal(host.keys, wanted)


@pytest.mark.parametrize("codec", ["exact", "bf16", "int8", "int4", "pca"])
def test_a_fresh_answer_is_the_stored_answer(engine, codec, tmp_path):
    if codec == "pca":
        sample = engine.compress([f"{text} {n}" for n in range(20) for text in TEXTS])
        codec = PCACodec(fit_pca(sample, inv_freq=engine.inv_freq, bits=3))
    answers, caches = [], []
    for _ in range(2):
        store = open_store(tmp_path, codec=codec)
        with SACEngine.from_pretrained(
            "embedded", device=DEVICE, dtype="float32", store=store
        ) as one:
            answers.append(one.answer(QUESTIONS[0], TEXTS, 12))
            caches.append(one.compress(TEXTS[0]))
    fresh, stored = answers
    assert fresh.usage.anchors_encoded == stored.usage.anchors_loaded > 0
    assert fresh.text == stored.text
    assert torch.equal(caches[0].keys.cpu(), caches[1].keys.cpu())


def test_asked_in_turn_and_streamed_equals_asked_apart(engine):
    context = engine.context(TEXTS)
    for question in [*QUESTIONS, QUESTIONS[0]]:
        apart = engine.answer(question, TEXTS, 12).text
        assert context.ask(question, max_new_tokens=12).text == apart
        assert "".join(engine.stream(question, TEXTS, 12)) == apart


def test_the_compiled_encoder_gives_the_plain_anchors_every_time():
    method = tiny_adapter(tiny_model(tiny_config()).to(DEVICE), chunk_size=60).method
    ids = torch.arange(4 * 60) % 250 + 6
    first, second = split_chunks(ids, chunk_size=60), split_chunks(ids.flip(0), chunk_size=60)
    with torch.inference_mode():
        plain = [method.compress_chunks(chunks) for chunks in (first, second)]
        method.backbone.run_encoder = CompiledEncoder(rows=4, tokens=60, **COMPILE)
        # a graph writes its next pass where it wrote the last: what it gave before must stay
        for _ in range(3):
            compiled = [method.compress_chunks(chunks) for chunks in (first, second)]
    for found, wanted in zip(compiled, plain, strict=True):
        for one, other in zip(found, wanted, strict=True):
            assert error(one.keys, other.keys) < 1e-3
            assert error(one.values, other.values) < 1e-3
