"""peft's CARTRIDGE (arXiv:2506.06266): a small KV prefix, trained for each context by itself.

Self-study: the frozen model reads the context in full and teaches what it would say next, in
passages of the context's own text and in its answers to questions about it; the prefix learns to
make the same model say the same (context distillation). Reference answers are never seen. In the
paper a model makes the questions up; where the model at hand cannot, some are given.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import log_softmax
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache

from sac_rag.bench.plain import Kept, PlainModel

TAUGHT = 20
"""Likeliest next tokens whose shares are taught at each place."""
LEAST = 1e-6
"""Share below which no difference is made."""


@dataclass(frozen=True, kw_only=True)
class SelfStudy:
    """How a cartridge is trained; every number is for one context."""

    steps: int
    """Of AdamW, whose rate falls linearly to nothing."""
    questions: Mapping[tuple[int, ...], Sequence[Sequence[int]]] = field(default_factory=dict)
    """By context ids: questions about it, as they stand behind it; not those of the exam."""
    eos_ids: Sequence[int] = ()
    """They end the teacher's answers."""
    learning_rate: float = 3e-2
    """Chosen on other documents."""
    batch: int = 8
    """Lessons of a step."""
    passages: int = 16
    """Of the context's own text."""
    passage_tokens: int = 48
    answer_tokens: int = 16
    """Most tokens that the teacher answers."""
    seed: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class _Lesson:
    """What is read, and what the model that has read the context would say next."""

    ids: Tensor
    """(T,)."""
    likely: Tensor
    """Likeliest next tokens behind each, (T, ``TAUGHT``)."""
    shares: Tensor
    """Their probabilities, of the same shape; 0 where nothing is taught."""


class Cartridges:
    """Keeps a context as a trained prefix; several questions about it share one training.

    Args:
        model: Teaches, and answers later.
        base: A second copy of the base model without any adapter, which peft wraps.
        study: How it is trained.
    """

    def __init__(self, model: PlainModel, base: Any, study: SelfStudy) -> None:
        self._model, self._base, self._study = model, base, study
        self._trained: dict[tuple[tuple[int, ...], int], list[tuple[Tensor, Tensor]]] = {}

    def __call__(self, context: Sequence[int], places: int) -> Kept:
        """Keep a context in as many places as its anchors take."""
        wanted = (tuple(context), places)
        if wanted not in self._trained:
            self._trained[wanted] = self._train(*wanted)
        # a press that masks (AdaKV) leaves its mask on the model until the next prefill
        self._model.prefill(context[:1])
        made = DynamicCache(config=self._model.backbone.config)
        for index, (keys, values) in enumerate(self._trained[wanted]):
            made.update(keys, values, index)
        return Kept(cache=made, next_position=places)

    def _train(self, context: tuple[int, ...], places: int) -> list[tuple[Tensor, Tensor]]:
        """Begin as keys and values of the first tokens, and study; give (1, G, A, K) a layer."""
        from peft import CartridgeConfig, get_peft_model
        from peft.tuners.cartridge.utils import initialize_kv_prefix_from_past_key_values

        study, draw = self._study, random.Random(self._study.seed)
        config = CartridgeConfig(task_type="CAUSAL_LM", num_virtual_tokens=places)
        tuned = get_peft_model(self._base, config)
        first = self._model.prefill(context[:places]).cache
        initialize_kv_prefix_from_past_key_values(tuned, past_key_values=first)
        learned = [weight for weight in tuned.parameters() if weight.requires_grad]
        optimizer = torch.optim.AdamW(learned, lr=study.learning_rate, weight_decay=0.0)
        lessons = self._lessons(context, draw) if study.steps else []
        for step in range(study.steps):
            optimizer.param_groups[0]["lr"] = study.learning_rate * (1 - step / study.steps)
            optimizer.zero_grad()
            _loss(tuned, draw.sample(lessons, min(study.batch, len(lessons)))).backward()
            optimizer.step()
        with torch.no_grad():
            layers = tuned.get_prompt(batch_size=1).layers  # type: ignore[union-attr]
        return [(layer.keys.detach(), layer.values.detach()) for layer in layers]

    def _lessons(self, context: tuple[int, ...], draw: random.Random) -> list[_Lesson]:
        """Let the model read the context in full, and say what comes behind each piece."""
        study, whole = self._study, self._model.prefill(context)
        lessons = []
        for _ in range(study.passages):
            start = draw.randrange(max(1, len(context) - study.passage_tokens))
            passage = context[start : start + study.passage_tokens]
            lessons.append(self._taught(whole, passage, first=0))
        for question in study.questions.get(context, ()):
            answer = self._model.answer(
                whole, question, max_new_tokens=study.answer_tokens, eos_ids=study.eos_ids
            )
            _forget(whole, len(context))
            # behind the answer's last token nothing is asked
            spoken = [*question, *answer[:-1]]
            lessons.append(self._taught(whole, spoken, first=len(question) - 1))
        return lessons

    def _taught(self, whole: Kept, ids: Sequence[int], *, first: int) -> _Lesson:
        """Read tokens behind the whole context; teach from the place ``first`` on."""
        model, length = self._model, whole.length
        read = torch.tensor(ids, device=model.backbone.device)
        with model.backbone.decoding(), torch.inference_mode():
            logits_TV = model.model(input_ids=read[None], past_key_values=whole.cache).logits[0]
            shares, likely = logits_TV.float().softmax(-1).topk(min(TAUGHT, logits_TV.shape[-1]))
        _forget(whole, length)
        shares = shares.clone()  # out of inference mode, so that a loss can be made of it
        shares[:first] = 0
        return _Lesson(ids=read, likely=likely.clone(), shares=shares)


def _forget(kept: Kept, length: int) -> None:
    """Drop what was read behind so many places; a negative number means the same everywhere."""
    kept.cache.crop(length - kept.length)


def _loss(tuned: Any, lessons: Sequence[_Lesson]) -> Tensor:
    """Cross-entropy with what is taught, all other tokens as one; mean over the places taught."""
    ids_BT, likely_BTN, shares_BTN = (
        pad_sequence([getattr(one, name) for one in lessons], batch_first=True)
        for name in ("ids", "likely", "shares")
    )
    read_BT = pad_sequence([torch.ones_like(one.ids) for one in lessons], batch_first=True)
    logits_BTV = tuned(input_ids=ids_BT, attention_mask=read_BT).logits
    said_BTN = log_softmax(logits_BTV.float(), dim=-1).gather(-1, likely_BTN)
    # without the others, the likeliest alone would take all that these have
    taught_BT = shares_BTN.sum(-1)
    others_BT = (1 - said_BTN.exp().sum(-1)).clamp(min=LEAST).log() * (1 - taught_BT)
    losses_BT = -(shares_BTN * said_BTN).sum(-1) - others_BT
    return losses_BT[taught_BT > 0].mean()
