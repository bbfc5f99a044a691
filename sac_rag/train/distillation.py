"""Learn from the frozen decoder that reads the whole text (beyond the paper).

Its next-token distributions at the target's positions are the teacher's; the same decoder behind
the anchors is the student. Teacher and student are one set of weights, so what the loss measures is
what compression has taken away.

Shapes: B batch, T target tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from sac_rag.adapter import Adapter
from sac_rag.anchor_cache import AnchorCache
from sac_rag.generation import Prompt
from sac_rag.methods import Method
from sac_rag.tokens import Tokens
from sac_rag.train.objectives import behind_anchors, target_logits, target_mask
from sac_rag.train.passes import Passes, in_passes, together
from sac_rag.train.samples import Sample


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """An ``Objective``: KL(teacher || student) in nats, mean over a sample's target tokens."""

    temperature: float = 1.0
    """See ``sac_rag.train.recipe.DistillSettings``."""
    bos_id: int | None = None
    """Stands once before what the teacher reads; documents carry one each."""
    separator: tuple[int, ...] = ()
    """Stands between documents that the teacher reads."""
    task_token: bool = True
    """Whether [LM] stands between the student's anchors and its prompt."""

    @classmethod
    def of(cls, adapter: Adapter, tokens: Tokens, *, temperature: float = 1.0) -> Distillation:
        """Let the teacher read as the engine lays documents in full."""
        return cls(
            temperature=temperature,
            bos_id=tokens.bos_id,
            separator=tuple(tokens.encode(adapter.config.prompt.document_separator)),
            task_token=adapter.config.task_token,
        )

    def __call__(
        self,
        method: Method,
        samples: Sequence[Sample],
        anchors: Sequence[AnchorCache],
        *,
        passes: Passes = together,
    ) -> Tensor:
        """Give each sample's loss, (B,); rows of a pass are alike in what the teacher reads."""
        whole = [Prompt(token_ids=self.read_in_full(sample)) for sample in samples]

        def losses(rows: list[int]) -> list[Tensor]:
            return list(
                self._losses(
                    method,
                    [samples[row] for row in rows],
                    [anchors[row] for row in rows],
                    [whole[row] for row in rows],
                )
            )

        return torch.stack(in_passes(losses, [len(one.token_ids) for one in whole], passes))

    def _losses(
        self,
        method: Method,
        samples: Sequence[Sample],
        anchors: Sequence[AnchorCache],
        whole: Sequence[Prompt],
    ) -> Tensor:
        width = max(len(sample.target) for sample in samples)
        with torch.no_grad():
            teacher_BTV = target_logits(method, whole, width=width)
        task = method.task_embedding("LM") if self.task_token else None
        prompts = behind_anchors(samples, anchors, task_embedding=task)
        student_BTV = target_logits(method, prompts, width=width)
        losses_BTV = kl_div(
            log_softmax(student_BTV.float() / self.temperature, -1),
            log_softmax(teacher_BTV.float() / self.temperature, -1),
            reduction="none",
            log_target=True,
        )
        mask_BT = target_mask(samples, width=width).to(losses_BTV.device)
        losses_BT = losses_BTV.sum(-1) * mask_BT * self.temperature**2
        return losses_BT.sum(1) / mask_BT.sum(1)

    def read_in_full(self, sample: Sample) -> list[int]:
        """Write what the teacher reads: all documents, the prompt, all of the target but its end.

        Nothing is cut: a text longer than the model's window makes a teacher that reads badly.
        """
        read: list[int] = []
        for index, document in enumerate(sample.documents):
            has_bos = self.bos_id is not None and list(document[:1]) == [self.bos_id]
            read += document if not index else [*self.separator, *document[has_bos:]]
        return [*read, *sample.prompt, *sample.target][:-1]
