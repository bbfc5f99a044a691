"""What ours is compared with is what it says it is."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import kl_div

from sac_rag.bench.cartridge import Cartridges, SelfStudy
from sac_rag.bench.contexts import set_up
from sac_rag.bench.full_kv import FullKV
from sac_rag.bench.plain import PlainModel
from sac_rag.bench.released import released_anchors
from sac_rag.bench.rivals import plain_rivals
from sac_rag.bench.rows import RowsDecoder, full_keys_values, stored_anchors
from sac_rag.chunking import split_chunks
from sac_rag.engine.requests import Document
from tests.tiny import tiny_adapter, tiny_config, tiny_model


def ids(count, seed=0):
    """Random token ids."""
    return torch.randint(3, 263, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


@pytest.fixture(scope="module")
def model(subject):
    return PlainModel(subject.backbone)


@pytest.mark.parametrize("ratio", [5, 15])
@pytest.mark.parametrize("length", [1, 7, 508, 515, 1020])
def test_the_released_procedure_gives_our_anchors(length, ratio):
    adapter = tiny_adapter(tiny_model(tiny_config()), ratio=ratio)
    token_ids = ids(length)
    keys, values, positions = released_anchors(adapter, token_ids)
    with torch.inference_mode():
        ours = adapter.method.compress_chunks(split_chunks(token_ids, chunk_size=510))
    assert torch.equal(torch.cat([cache.positions for cache in ours]), positions)
    for name, theirs in (("keys", keys), ("values", values)):
        mine = torch.cat([getattr(cache, name) for cache in ours], dim=2)
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


def generated(subject, token_ids, count):
    """Answer by transformers' own generate, the LoRA off."""
    with subject.backbone.decoding(), torch.inference_mode():
        whole = subject.backbone.causal_lm.generate(
            torch.tensor([token_ids]), max_new_tokens=count, do_sample=False, eos_token_id=None
        )
    return whole[0, len(token_ids) :].tolist()


def test_the_plain_model_answers_as_generate_does(subject, model):
    context, question = ids(40), ids(9, seed=1)
    kept = model.prefill(context)
    found = model.answer(kept, question, max_new_tokens=6, eos_ids=[])
    assert found == generated(subject, context + question, 6)
    assert (
        model.answer(model.prefill(context), question, max_new_tokens=6, eos_ids=found[:1])
        == (found[:1])
    )


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_reused_full_cache_answers_like_the_plain_model(subject, model, tmp_path, on_disk):
    context, question = ids(40), ids(9, seed=1)
    full = FullKV(model, tmp_path if on_disk else None)
    full.save("one", context)
    for _ in range(2):  # and is not used up by an answer
        found = model.answer(full.load(["one"]), question, max_new_tokens=6, eos_ids=[])
        assert found == generated(subject, context + question, 6)
    assert full.load(["one"]).nbytes == len(context) * subject.token_bytes


def test_every_row_of_a_batch_decodes_what_one_request_does(subject, model, small):
    with set_up(subject, small, 60) as scene:
        full = full_keys_values(scene)
        rows = RowsDecoder(scene, full, start=full.span, rows=3, new_tokens=5)
        rows()
        alone = model.answer(
            scene.full_memory.load(scene.names), scene.question_ids, max_new_tokens=5, eos_ids=[]
        )
        assert rows.decoded_NT.tolist() == [alone] * 3
        anchors = stored_anchors(scene)
        assert len(anchors) == 12
        assert torch.equal(anchors.keys, scene.memory.compress(Document(text=scene.texts[0])).keys)
        one, two = (
            RowsDecoder(scene, anchors, start=anchors.span + 1, rows=count, new_tokens=5)
            for count in (1, 2)
        )
        one()
        two()
        assert two.decoded_NT.tolist() == one.decoded_NT.tolist() * 2


def test_full_caches_of_documents_lie_behind_each_other(subject, model):
    """Keys stand where they would have been computed; a layer's first ones see nothing else."""
    full, first, second = FullKV(model), ids(12), ids(20, seed=2)
    full.save("first", first)
    full.save("second", second)
    kept, whole = full.load(["first", "second"]), model.prefill(first + second)
    assert kept.next_position == whole.next_position == 32
    layer, wanted = kept.cache.layers[0], whole.cache.layers[0]
    torch.testing.assert_close(layer.keys, wanted.keys, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(layer.values, wanted.values, atol=1e-5, rtol=1e-5)


def test_rivals_keep_what_they_say(subject, model):
    context, places = ids(50), 10
    kept = {name: keep(context, places) for name, keep in plain_rivals(model, seed=0).items()}
    assert {name: one.length for name, one in kept.items()} == {
        "full": 50,
        "none": 1,
        "truncation": 10,
        "random tokens": 10,
    }
    assert all(one.nbytes == one.length * subject.token_bytes for one in kept.values())
    everything = plain_rivals(model, seed=0)["random tokens"](context, len(context))
    torch.testing.assert_close(everything.cache.layers[1].keys, kept["full"].cache.layers[1].keys)


def test_a_cartridge_learns_what_full_text_says_and_has_the_size_of_the_anchors(subject, model):
    """What it says behind what it studied comes closer to what full text says."""
    context, places, asked = ids(30), 6, ids(9, seed=1)

    def said(kept):
        with subject.backbone.decoding(), torch.no_grad():
            return model.step(kept, asked, kept.next_position).log_softmax(-1)

    full, distance = said(model.prefill(context)), {}
    for steps in (0, 20):
        study = SelfStudy(
            steps=steps, questions={tuple(context): [asked]}, passages=0, answer_tokens=1
        )
        keep = Cartridges(model, tiny_model(tiny_config()), study)
        kept = keep(context, places)
        assert kept.length == kept.next_position == places
        assert kept.nbytes == places * subject.token_bytes
        distance[steps] = kl_div(said(kept), full, log_target=True, reduction="sum")
        assert keep(context, places).length == places  # an answer does not use it up
    assert distance[20] < distance[0] / 2


def test_an_unstudied_cartridge_is_truncation(model):
    context, places = ids(30), 6
    kept = Cartridges(model, tiny_model(tiny_config()), SelfStudy(steps=0))(context, places)
    cut = plain_rivals(model, seed=0)["truncation"](context, places)
    for mine, theirs in zip(kept.cache.layers, cut.cache.layers, strict=True):
        torch.testing.assert_close(mine.keys, theirs.keys)
        torch.testing.assert_close(mine.values, theirs.values)


def test_texts_have_the_length_that_was_asked_for(subject):
    with subject.engine() as engine:
        prompt, tokens = engine.prompt_format, engine.tokens
        texts = subject.texts(150, 60)
        lengths = [len(prompt.seen_ids(text, tokens=tokens)) for text in texts]
        assert lengths == [60, 60, 30]
        assert len(set(texts)) == 3
        assert texts == subject.texts(150, 60)
        assert engine.compress(Document(text=texts[0])).num_tokens == 60
