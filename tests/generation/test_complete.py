"""A batch gives what its rows give one by one; settings do what they say."""

from __future__ import annotations

import threading

import pytest
import torch

from sac_rag.anchor_cache import join
from sac_rag.chunking import split_chunks
from sac_rag.errors import ConfigError, GenerationCancelledError
from sac_rag.generation import GenerationParams, Prompt, complete
from sac_rag.tokens import Tokens
from tests.tiny import byte_tokenizer, tiny_adapter, tiny_model

TOKENS = Tokens(byte_tokenizer())


@pytest.fixture(scope="module")
def method():
    return tiny_adapter(tiny_model()).method


@pytest.fixture(scope="module")
def prompts(method):
    """Rows with 0, 1, 2 and 5 texts, of many lengths."""
    rows = []
    with torch.inference_mode():
        for row, lengths in enumerate([[], [7], [30, 700], [11, 5, 90, 1, 260]]):
            texts = [torch.randint(6, 264, (length,)) for length in lengths]
            caches = [cache for ids in texts for cache in [_compress(method, ids)]]
            anchors = join(caches, inv_freq=method.backbone.inv_freq) if caches else None
            rows.append(
                Prompt(
                    token_ids=torch.randint(6, 264, (1 + 9 * row,)).tolist(),
                    anchors=anchors,
                    task_embedding=method.task_embedding() if caches else None,
                )
            )
    return rows


def _compress(method, ids):
    from sac_rag.anchor_cache import cat

    return cat(method.compress_chunks(split_chunks(ids, chunk_size=510)))


def run(method, prompts, **settings):
    return complete(
        prompts,
        backbone=method.backbone,
        tokens=TOKENS,
        params=GenerationParams(**{"max_new_tokens": 16, **settings}),
    )


def test_a_batch_equals_its_rows_one_by_one(method, prompts):
    together = run(method, prompts)
    alone = [run(method, [prompt])[0] for prompt in prompts]
    assert [one.token_ids for one in together] == [one.token_ids for one in alone]
    assert [one.text for one in together] == [one.text for one in alone]
    assert len({tuple(one.token_ids) for one in together}) == len(prompts)


def test_chunks_together_equal_chunks_one_by_one(method):
    lengths = [510, 1, 2, 7, 8, 509, 300]
    chunks = [
        chunk
        for length in lengths
        for chunk in split_chunks(torch.randint(6, 264, (length,)), chunk_size=510)
    ]
    with torch.inference_mode():
        together = method.compress_chunks(chunks)
        alone = [method.compress_chunk(chunk) for chunk in chunks]
    for one, other in zip(together, alone, strict=True):
        assert torch.equal(one.positions, other.positions)
        torch.testing.assert_close(one.keys, other.keys, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(one.values, other.values, atol=1e-4, rtol=1e-4)


def test_a_seed_repeats_and_leaves_the_callers_randomness_alone(method, prompts):
    torch.manual_seed(5)
    first = run(method, prompts[2:3], temperature=1.5, seed=3)[0]
    after = torch.rand(1)
    again = run(method, prompts[2:3], temperature=1.5, seed=3)[0]
    other = run(method, prompts[2:3], temperature=1.5, seed=4)[0]
    torch.manual_seed(5)
    assert first.token_ids == again.token_ids != other.token_ids
    assert torch.equal(after, torch.rand(1))


def test_a_tiny_top_k_samples_the_greedy_answer(method, prompts):
    greedy = run(method, prompts[1:2])[0]
    sampled = run(method, prompts[1:2], temperature=0.7, top_k=1)[0]
    assert greedy.token_ids == sampled.token_ids


def test_the_answer_stops_at_its_length(method, prompts):
    made = run(method, prompts[2:3], max_new_tokens=3)[0]
    assert len(made.token_ids) == 3
    assert made.finish_reason == "length"


def test_a_stop_text_ends_one_row_and_not_the_others(method, prompts):
    free = run(method, prompts)
    stop = next(one.text[2:4] for one in free if len(one.text) > 5)
    bound = run(method, prompts, stop=(stop,))
    for one, other in zip(free, bound, strict=True):
        expected = one.text.partition(stop)[0]
        assert other.text == expected
        assert (other.stop_reason == stop) == (stop in one.text)


def test_cancelling_stops_the_work(method, prompts):
    cancel = threading.Event()
    seen = []

    def on_text(row, piece):
        seen.append(piece)
        cancel.set()

    with pytest.raises(GenerationCancelledError):
        complete(
            prompts[2:3],
            backbone=method.backbone,
            tokens=TOKENS,
            params=GenerationParams(max_new_tokens=500),
            on_text=on_text,
            cancel=cancel,
        )
    assert 1 <= len(seen) <= 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_new_tokens": 0},
        {"temperature": -1},
        {"top_p": 0},
        {"top_p": 1.5},
        {"top_k": 0},
        {"stop": ("",)},
    ],
)
def test_senseless_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        GenerationParams(**wrong)


def test_unknown_settings_are_named_with_the_known():
    with pytest.raises(TypeError, match=r"temprature.*known are .*temperature"):
        GenerationParams().with_changes({"temprature": 1})
    assert GenerationParams().with_changes({"max_tokens": 5}).max_new_tokens == 5
