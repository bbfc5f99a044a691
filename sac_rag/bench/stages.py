"""Where the time to the first token goes: each part of the road from stored anchors by itself."""

from __future__ import annotations

import torch

from sac_rag.anchor_cache import Joined
from sac_rag.bench.clock import Contender
from sac_rag.bench.contexts import Scene
from sac_rag.bench.plain import Kept, PlainModel
from sac_rag.generation import Prompt, lay_out

LOAD, ASSEMBLE, PREFILL = "part: load", "part: move and lay out", "part: prompt prefill"


def stage_contenders(scene: Scene) -> dict[str, Contender]:
    """Give the parts, from a store in memory; what is left of the whole is the request's handling.

    The prefill reads the prompt behind the anchors, LM head for the last token; its cache is cut
    back before each repetition.
    """
    engine = scene.memory
    keys = scene.keys()
    caches = scene.load(keys)
    backbone, tokens = scene.subject.backbone, scene.subject.loaded.tokens
    joined = Joined(tuple(caches), engine.inv_freq)
    prompt = Prompt(token_ids=scene.question_ids, anchors=joined)

    def assemble() -> object:
        with torch.inference_mode():
            return lay_out([prompt], backbone=backbone, pad_id=tokens.pad_id, room_for=1)

    model = PlainModel(backbone)
    with torch.inference_mode():
        laid = lay_out([prompt], backbone=backbone, pad_id=tokens.pad_id, room_for=1)
    kept = Kept(cache=laid.cache, next_position=joined.span)

    def cut_back() -> None:
        extra = kept.length - len(joined)
        if extra > 0:
            kept.cache.crop(-extra)

    def prefill() -> object:
        with backbone.decoding(), torch.inference_mode():
            return model.step(kept, scene.question_ids, joined.span + 1)

    return {
        LOAD: Contender(run=lambda: scene.load(keys)),
        ASSEMBLE: Contender(run=assemble),
        PREFILL: Contender(run=prefill, before=cut_back),
    }
