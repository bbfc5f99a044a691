"""What is learned from compressed documents (arXiv:2510.08907, sections 3.3 and 4.1).

All three are one thing: a task token behind the anchors, perhaps a prompt, and a target whose
tokens the frozen decoder predicts. The loss is the mean over a sample's target tokens, then over
samples, as in the authors' code, whose batches are of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from sac_rag.adapter import behind_sink
from sac_rag.anchor_cache import AnchorCache, cat, join
from sac_rag.chunking import Chunk, split_chunks
from sac_rag.data import autoencoding_target
from sac_rag.generation import Prompt, lay_out
from sac_rag.methods import Method
from sac_rag.output_head import dense
from sac_rag.train.passes import Passes, in_passes, together
from sac_rag.train.samples import Sample

NO_LABEL = -100


class Objective(Protocol):
    """What is predicted behind anchors."""

    def __call__(
        self,
        method: Method,
        samples: Sequence[Sample],
        anchors: Sequence[AnchorCache],
        *,
        passes: Passes = together,
    ) -> Tensor:
        """Give each sample's loss, (B,).

        Args:
            method: Its backbone decodes.
            samples: What is predicted.
            anchors: The joined anchors of each sample.
            passes: Groups samples for the decoder.
        """
        ...


def compress_samples(
    method: Method,
    samples: Sequence[Sample],
    *,
    ratio: int | None = None,
    query_aware: bool = False,
    passes: Passes = together,
    sink: AnchorCache | None = None,
) -> list[AnchorCache]:
    """Compress all chunks of all documents of a batch; join each sample's documents and its gap.

    Args:
        method: Compresses.
        samples: Their documents.
        ratio: Tokens per anchor; None for the method's own.
        query_aware: Whether the encoder reads a sample's prompt, the question, behind each chunk.
        passes: Groups chunks for the encoder.
        sink: What stands before all documents of a sample; None where the adapter wants none.
    """
    chunks: list[list[list[Chunk]]] = [
        [
            split_chunks(
                list(document),
                chunk_size=method.config.chunk_size,
                ratio=ratio,
                question_ids=sample.prompt if query_aware else (),
            )
            for document in sample.documents
        ]
        for sample in samples
    ]
    flat = [one for row in chunks for part in row for one in part]
    made = iter(
        in_passes(
            lambda picked: method.compress_chunks([flat[one] for one in picked]),
            [one.num_read for one in flat],
            passes,
        )
    )
    inv_freq = method.backbone.inv_freq
    documents = [[cat([next(made) for _ in part]) for part in row] for row in chunks]
    joined = (join(behind_sink(sink, row), inv_freq=inv_freq) for row in documents)
    return [
        replace(cache, span=cache.span + sample.gap)
        for cache, sample in zip(joined, samples, strict=True)
    ]


def predict(
    method: Method,
    samples: Sequence[Sample],
    prompts: Sequence[Prompt],
    *,
    passes: Passes = together,
) -> Tensor:
    """Give each sample's mean loss over its target, (B,), the target being the prompt's end.

    Args:
        method: Its backbone decodes, LoRA off.
        samples: The targets.
        prompts: Rows for the decoder: all of prompt and target but the last token.
        passes: Groups rows for the decoder.
    """
    losses = in_passes(
        lambda rows: list(
            _predict(method, [samples[row] for row in rows], [prompts[row] for row in rows])
        ),
        [len(prompt.token_ids) for prompt in prompts],
        passes,
    )
    return torch.stack(losses)


def _predict(method: Method, samples: Sequence[Sample], prompts: Sequence[Prompt]) -> Tensor:
    """Predict all targets in one padded pass, (B,)."""
    width = max(len(sample.target) for sample in samples)
    logits_BTV = target_logits(method, prompts, width=width)
    mask_BT = target_mask(samples, width=width)
    labels_BT = torch.full(mask_BT.shape, NO_LABEL)
    labels_BT[mask_BT] = torch.tensor([token for one in samples for token in one.target])
    losses_BT = cross_entropy(
        logits_BTV.float().transpose(1, 2),
        labels_BT.to(logits_BTV.device),
        ignore_index=NO_LABEL,
        reduction="none",
    )
    return losses_BT.sum(1) / mask_BT.sum(1).to(losses_BT.device)


def target_logits(method: Method, prompts: Sequence[Prompt], *, width: int) -> Tensor:
    """Run the frozen decoder; give its logits at the rows' last ``width`` tokens, (B, T, V)."""
    backbone = method.backbone
    layout = lay_out(prompts, backbone=backbone, pad_id=0)
    hidden_BPD = backbone.read(
        layout.embeds_BPD,
        positions_BP=layout.positions_BP,
        mask_BM=layout.mask_BM,
        cache=layout.cache,
    )
    # rows are padded on the left, so every target is predicted by the last states of its row
    head = backbone.causal_lm.get_output_embeddings()
    assert head is not None  # every causal LM has one
    return head(dense(hidden_BPD[:, -width:]))


def target_mask(samples: Sequence[Sample], *, width: int) -> Tensor:
    """Say at which of the last ``width`` tokens of a row a target stands, (B, T)."""
    lengths_B = torch.tensor([len(sample.target) for sample in samples])
    return torch.arange(width) >= width - lengths_B[:, None]


def behind_anchors(
    samples: Sequence[Sample], anchors: Sequence[AnchorCache], *, task_embedding: Tensor | None
) -> list[Prompt]:
    """Lay prompt and target behind the anchors, the task token first if there is one."""
    return [
        Prompt(
            token_ids=[*sample.prompt, *sample.target][:-1],
            anchors=cache,
            task_embedding=task_embedding,
        )
        for sample, cache in zip(samples, anchors, strict=True)
    ]


def continuation(
    method: Method,
    samples: Sequence[Sample],
    anchors: Sequence[AnchorCache],
    *,
    passes: Passes = together,
) -> Tensor:
    """Predict what follows the compressed text, [LM] first; with a prompt, the answer to it."""
    task = method.task_embedding("LM")
    prompts = behind_anchors(samples, anchors, task_embedding=task)
    return predict(method, samples, prompts, passes=passes)


def autoencoding(
    method: Method,
    samples: Sequence[Sample],
    anchors: Sequence[AnchorCache],
    *,
    passes: Passes = together,
) -> Tensor:
    """Say the compressed text again, [AE] first, at position 0, the text at 1, 2, ...

    Its target is the first document and the end token that closes the sample's target.
    """
    again = [
        Sample(
            documents=sample.documents,
            target=autoencoding_target(sample.documents[0], end=sample.target[-1]),
        )
        for sample in samples
    ]
    prompts = [
        Prompt(
            token_ids=list(sample.target)[:-1],
            anchors=cache,
            task_embedding=method.task_embedding("AE"),
            task_at=0,
        )
        for sample, cache in zip(again, anchors, strict=True)
    ]
    return predict(method, again, prompts, passes=passes)


OBJECTIVES: dict[str, Objective] = {
    "continuation": continuation,
    "autoencoding": autoencoding,
    "qa": continuation,
}
"""Question answering is continuation behind a prompt: one function, told apart by the samples."""
