"""A cache with room gives what one that copies gives; what stands in it stays as it is."""

from __future__ import annotations

import threading

import pytest
import torch
from transformers import DynamicCache

from sac_rag.anchor_cache import Joined, join
from sac_rag.chunking import Chunk
from sac_rag.errors import GenerationCancelledError
from sac_rag.generation import GenerationParams, complete
from sac_rag.generation.cache import RoomyLayer, StandingCache, stack_anchors
from tests.generation.test_complete import TOKENS, method, prompts, run  # noqa: F401


@pytest.mark.parametrize("room", [0, 1, 5, 40])
@torch.no_grad()
def test_a_roomy_layer_grows_like_a_copying_one(room):
    torch.manual_seed(0)
    first = [torch.randn(2, 3, 4, 8) for _ in range(2)]
    blocks = [torch.full((2, 3, 4 + room, 8), torch.nan) for _ in range(2)]
    for block, part in zip(blocks, first, strict=True):
        block[:, :, :4] = part
    roomy, plain = RoomyLayer(*blocks, filled=4), DynamicCache()
    plain.update(*first, 0)
    for step, length in enumerate([3, 1, 1, 9, 1]):
        new = [torch.randn(2 * (1 + (step > 2)), 3, length, 8) for _ in range(2)]
        for one, other in zip(roomy.update(*new), plain.update(*new, 0), strict=True):
            assert torch.equal(one, other)
        if step == 1:
            roomy.crop(-2)
            plain.crop(-2)
        if step == 2:
            roomy.batch_repeat_interleave(2)
            plain.batch_repeat_interleave(2)
        assert roomy.get_seq_length() == plain.get_seq_length()


@torch.no_grad()
def test_room_stacks_the_same_anchors(method, prompts):  # noqa: F811
    rows = [prompt.anchors for prompt in prompts]
    roomy, plain = (stack_anchors(rows, backbone=method.backbone, room=n) for n in (9, 0))
    for one, other in zip(roomy.layers, plain.layers, strict=True):
        assert torch.equal(one.keys, other.keys)
        assert torch.equal(one.values, other.values)


@torch.no_grad()
def test_documents_moved_into_the_cache_equal_documents_joined_before(method):  # noqa: F811
    torch.manual_seed(0)
    caches = [method.compress_chunk(Chunk(token_ids=torch.arange(3, 3 + n))) for n in (70, 9, 40)]
    inv_freq = method.backbone.inv_freq
    moved, joined = Joined(tuple(caches), inv_freq), join(caches, inv_freq=inv_freq)
    assert (len(moved), moved.span) == (len(joined), joined.span)
    rows = [moved, None, caches[0], moved]
    before = [joined, None, caches[0], joined]
    for room in (0, 7):
        one, other = (stack_anchors(r, backbone=method.backbone, room=room) for r in (rows, before))
        for mine, wanted in zip(one.layers, other.layers, strict=True):
            assert torch.equal(mine.keys, wanted.keys)
            assert torch.equal(mine.values, wanted.values)


def asked(method, prompt, standing, **settings):  # noqa: F811
    return complete(
        [prompt],
        backbone=method.backbone,
        tokens=TOKENS,
        params=GenerationParams(**{"max_new_tokens": 16, **settings}),
        standing=standing,
    )[0]


@pytest.mark.parametrize("room", [0, 20, 200], ids=lambda room: f"room{room}")
def test_questions_in_turn_equal_questions_apart(method, prompts, room):  # noqa: F811
    from dataclasses import replace

    prompt = prompts[2]
    questions = [prompt, replace(prompt, token_ids=prompts[3].token_ids), prompt]
    with torch.inference_mode():
        standing = StandingCache(prompt.anchors, backbone=method.backbone, room=max(room, 1))
    place = standing.cache.layers[0].keys.data_ptr()
    for question in questions:
        [apart] = run(method, [question])
        assert asked(method, question, standing).token_ids == apart.token_ids
        for layer, keys in zip(standing.cache.layers, prompt.anchors.keys, strict=True):
            assert torch.equal(layer.keys[0], keys)
    if room == 200:
        assert standing.cache.layers[0].keys.data_ptr() == place  # nothing was ever copied


def test_a_cancelled_answer_leaves_what_stands(method, prompts):  # noqa: F811
    prompt = prompts[2]
    [apart] = run(method, [prompt])
    with torch.inference_mode():
        standing = StandingCache(prompt.anchors, backbone=method.backbone)
    cancel = threading.Event()
    with pytest.raises(GenerationCancelledError):
        complete(
            [prompt],
            backbone=method.backbone,
            tokens=TOKENS,
            params=GenerationParams(max_new_tokens=16),
            on_text=lambda row, piece: cancel.set(),
            cancel=cancel,
            standing=standing,
        )
    assert asked(method, prompt, standing).token_ids == apart.token_ids
