"""A bias per anchor, fitted in closed form without any training: does it mend what SAC loses?

    python train/reproduce/anchor_bias.py --base BASE --adapter ADAPTER --data exam.jsonl

Attention Matching (arXiv:2602.16284) gives every kept key a bias so that the kept keys draw as much
attention as all of them did. Here the kept keys are SAC's anchors: for each layer and key/value
head, non-negative weights w that minimise, over reference queries q, the squares of
``sum_j w_j exp(q k_j) / sum_full exp(q k) - 1``; the bias is log w. Reference queries are the
decoder's own while it reads the text a second time behind itself, so no question is needed.
Measured is what an answer costs, in nats a token, and how many are right token by token, of the
same questions behind full text, behind anchors with and without biases, and behind the frozen
decoder's own keys at the same places (which is what the paper biases); and the error of the mass,
which is what is fitted. Documents alone, teacher-forced. Needs the extra ``analysis`` (scipy).

Shapes: H heads, G key/value heads, R reference queries, T tokens, A anchors, K head dimension.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from scipy.optimize import nnls
from torch import Tensor
from torch.nn.functional import cross_entropy, scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface

from sac_rag.anchor_cache import AnchorCache
from sac_rag.bench.plain import PlainModel
from sac_rag.data import read_qa
from sac_rag.data.samples import QASettings, qa_samples
from sac_rag.engine.loading import load
from sac_rag.generation import Prompt
from sac_rag.methods import Method
from sac_rag.rope import relocate_keys
from sac_rag.train.objectives import behind_anchors, compress_samples, target_logits
from sac_rag.train.samples import Sample

NAME = "sac_rag_watched"
LEAST = 1e-4
"""Smallest weight of an anchor: a bias of about -9 is as good as none."""

Watch = Callable[[int, Tensor, Tensor], Tensor | None]
"""From layer, queries (H, T, K) and keys (G, S, K) to what is added to the logits, (H, 1, S)."""


@contextmanager
def watched(method: Method, watch: Watch) -> Iterator[None]:
    """Let the decoder attend as ``watch`` says; one row at a time."""

    def attend(
        module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kwargs: Any
    ) -> tuple[Tensor, None]:
        added = watch(module.layer_idx, query[0], key[0])
        count, seen = query.shape[2], key.shape[2]
        causal = torch.ones(count, seen, dtype=torch.bool).tril(seen - count)
        logits = torch.zeros(count, seen).masked_fill(~causal, -torch.inf)
        if added is not None:
            logits = logits + added
        out = scaled_dot_product_attention(
            query, key, value, attn_mask=logits, scale=kwargs["scaling"], enable_gqa=True
        )
        return out.transpose(1, 2).contiguous(), None

    config = method.backbone.config
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
    before, config._attn_implementation = config._attn_implementation, NAME
    try:
        with torch.inference_mode(), method.backbone.decoding():
            yield
    finally:
        config._attn_implementation = before


def read_again(method: Method, context: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    """Read a text twice; give each layer's queries of the second time and their mass in the first.

    Returns:
        Queries (H, R, K), and the logarithm of the sum of exp(q k) over the text's keys, (H, R).
    """
    found: list[tuple[Tensor, Tensor]] = []
    length = len(context)

    def watch(layer: int, query_HTK: Tensor, key_GTK: Tensor) -> None:
        query_HRK = query_HTK[:, length:]
        mass_HR = _logits(query_HRK, key_GTK[:, :length]).logsumexp(-1)
        # a plain text begins at position 0, one that stands behind as anchors at 1
        moved = relocate_keys(query_HRK, shift_A=1, inv_freq=method.backbone.inv_freq)
        found.append((moved, mass_HR))

    with watched(method, watch):
        target_logits(method, [Prompt(token_ids=[*context, *context])], width=1)
    return found


def _logits(query_HRK: Tensor, key_GSK: Tensor) -> Tensor:
    """Give q k / sqrt(K), (H, R, S)."""
    groups = query_HRK.shape[0] // key_GSK.shape[0]
    key_HSK = key_GSK.repeat_interleave(groups, dim=0)
    return query_HRK @ key_HSK.transpose(1, 2) / query_HRK.shape[-1] ** 0.5


def fit(
    keys_LGAK: Tensor, references: Sequence[tuple[Tensor, Tensor]]
) -> tuple[list[Tensor], float, float]:
    """Fit the biases of a text's anchors.

    Returns:
        Each layer's biases, (G, A); the relative error of the mass without and with them, the
        median over layers and heads.
    """
    biases, without, within = [], [], []
    for keys_GAK, (query_HRK, mass_HR) in zip(keys_LGAK, references, strict=True):
        shares_HRA = (_logits(query_HRK, keys_GAK) - mass_HR[..., None]).exp()
        rows = []
        for share_RA in shares_HRA.reshape(keys_GAK.shape[0], -1, keys_GAK.shape[1]):
            weights, _ = nnls(share_RA.double().numpy(), [1.0] * len(share_RA))
            weights_A = torch.tensor(weights, dtype=torch.float32).clamp_min(LEAST)
            rows.append(weights_A.log())
            without.append((share_RA.sum(-1) - 1).abs().mean().item())
            within.append((share_RA @ weights_A - 1).abs().mean().item())
        biases.append(torch.stack(rows))
    return biases, statistics.median(without), statistics.median(within)


def answer(
    method: Method, prompt: Prompt, target: Sequence[int], watch: Watch
) -> tuple[float, bool]:
    """Give the nats a token of the right answer, and whether each of its tokens comes first."""
    with watched(method, watch):
        logits_TV = target_logits(method, [prompt], width=len(target))[0].float()
    wanted_T = torch.tensor(target)
    right = bool((logits_TV.argmax(-1) == wanted_T).all())
    return cross_entropy(logits_TV, wanted_T).item(), right


def _nothing(layer: int, query: Tensor, key: Tensor) -> None:
    return None


def _biased(biases: Sequence[Tensor], layer: int, query_HTK: Tensor, key_GSK: Tensor) -> Tensor:
    bias_GA = biases[layer]
    added_GS = torch.zeros(key_GSK.shape[:2])
    added_GS[:, : bias_GA.shape[1]] = bias_GA
    return added_GS.repeat_interleave(query_HTK.shape[0] // len(added_GS), dim=0)[:, None]


def kept_keys(method: Method, context: Sequence[int], like: AnchorCache) -> AnchorCache:
    """Keep the frozen decoder's own keys and values where the anchors stand: what needs no LoRA."""
    places_A = like.positions - 1
    with torch.inference_mode():
        keys, values = PlainModel(method.backbone).prefill(context).tensors()
    keys, values = keys[:, :, places_A], values[:, :, places_A]
    keys = relocate_keys(keys, shift_A=1, inv_freq=method.backbone.inv_freq)
    return replace(like, keys=keys, values=values)


def measure(method: Method, samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """Answer every sample on every road."""
    tallies: dict[str, list[tuple[float, bool]]] = {}
    masses: dict[str, list[float]] = {}
    task = method.task_embedding("LM")
    for sample in samples:
        [document] = sample.documents
        with torch.inference_mode():
            [anchors] = compress_samples(method, [sample])
        references = read_again(method, document)
        full = Prompt(token_ids=[*document, *sample.prompt, *sample.target][:-1])
        roads: dict[str, tuple[Prompt, Watch]] = {"full text": (full, _nothing)}
        for name, cache, first in (
            ("kept keys", kept_keys(method, document, anchors), None),
            ("anchors", anchors, task),
        ):
            biases, without, within = fit(cache.keys, references)
            [behind] = behind_anchors([sample], [cache], task_embedding=first)
            roads[name] = behind, _nothing
            roads[f"{name}, biased"] = behind, partial(_biased, biases)
            masses.setdefault(name, []).append(without)
            masses.setdefault(f"{name}, biased", []).append(within)
        for road, (prompt, watch) in roads.items():
            tallies.setdefault(road, []).append(answer(method, prompt, sample.target, watch))
    found = {
        road: {
            "nats_a_token": round(statistics.fmean(nats for nats, _ in one), 3),
            "right": round(statistics.fmean(right for _, right in one), 3),
        }
        for road, one in tallies.items()
    }
    for road, errors in masses.items():
        found[road]["error_of_mass"] = round(statistics.median(errors), 3)
    return found


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Measure, and write JSON if asked."""
    torch.set_num_threads(args.threads)
    loaded = load(
        args.base,
        adapter=str(args.adapter),
        ratio=None,
        device="cpu",
        dtype="float32",
        local_files_only=True,
    )
    records = list(read_qa(str(args.data)))[: args.questions]
    rows = qa_samples(records, tokens=loaded.tokens, settings=QASettings(), left_out=Counter())
    samples = [
        Sample(documents=row["context_ids"], prompt=row["question_ids"], target=row["answer_ids"])
        for row in rows
    ]
    method = loaded.adapter.method
    report = {
        "questions": len(samples),
        "ratio": method.config.ratio,
        "roads": measure(method, samples),
    }
    print(json.dumps(report, indent=2))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return report


def arguments() -> argparse.ArgumentParser:
    """Give the parser."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--base", required=True, help="folder or hub id of the decoder")
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="a question file")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    return parser


if __name__ == "__main__":
    main(arguments().parse_args())
