"""The engine's call for a budget: which ratio each document gets, by ``sac_rag.ladder``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sac_rag.engine.compressor import Compressor
from sac_rag.engine.facts import Parts
from sac_rag.engine.requests import Document, DocumentLike, as_segment
from sac_rag.errors import ConfigError
from sac_rag.ladder import FULL_TEXT, Candidate, Cost, highest, in_anchors, plan_ratios


class PlanCalls:
    """Spends a budget on documents."""

    def _open(self) -> Parts:
        raise NotImplementedError

    def plan(
        self,
        documents: Sequence[DocumentLike],
        scores: Sequence[float] | None = None,
        *,
        anchors: int | None = None,
        nbytes: int | None = None,
        full_text: int = 0,
    ) -> list[Document]:
        """Choose each document's ratio so that all stay within a budget; compresses nothing.

        The better a document's score, the finer its ratio, of those that the adapter serves. With
        a larger budget no document gets a coarser one. Pass the result to ``answer``.

        Args:
            documents: Texts, mappings or ``Document``s; what these ask for (``ratio``,
                ``compressed``) gives way to the plan.
            scores: How much each matters, from 0; None for all alike. Of logits or distances
                take a softmax first.
            anchors: The budget: anchors, and tokens of documents in full. The question is not
                counted, nor is a sink.
            nbytes: The budget, instead: their keys and values in the decoder's cache, in bytes.
            full_text: So many documents of the highest scores may be read in full.

        Returns:
            The documents in their order, each with its ``ratio``, or in full text
            (``compressed=False``).

        Raises:
            ImpossibleBudgetError: If the coarsest ratios of all take more; ``least`` says how much.
            ConfigError: If not one budget is given, scores do not fit the documents, or one is
                already a cache or a handle's ``Stored``.
            EmptyInputError: If a document holds no text.
        """
        compressor = self._open().compressor
        documents = [documents] if isinstance(documents, str | Mapping) else documents  # type: ignore[list-item]
        texts = [_with_text(document, index) for index, document in enumerate(documents)]
        candidates = _candidates(texts, scores, compressor)
        budget, place = _budget(anchors, nbytes, compressor)
        planned = plan_ratios(
            candidates,
            ratios=compressor.adapter.config.compress.served,
            budget=budget,
            cost=_cost(compressor, place),
            full_text=full_text,
        )
        in_full = highest(candidates, full_text)
        return [
            replace(document, compressed=False, ratio=None)
            if ratio == FULL_TEXT and index in in_full
            else replace(document, compressed=True, ratio=ratio)
            for index, (document, ratio) in enumerate(zip(texts, planned.ratios, strict=True))
        ]


def _with_text(document: DocumentLike, index: int) -> Document:
    segment = as_segment(document)
    if not isinstance(segment, Document):
        raise ConfigError(
            f"asked to plan the ratio of document {index}, a {type(segment).__name__}: its anchors "
            "are made already; give the document's text"
        )
    return segment


def _candidates(
    documents: Sequence[Document], scores: Sequence[float] | None, compressor: Compressor
) -> list[Candidate]:
    if scores is None:
        scores = [1.0] * len(documents)
    if len(scores) != len(documents):
        raise ConfigError(
            f"got {len(documents)} documents and {len(scores)} scores; give one score for each"
        )
    return [
        Candidate(num_tokens=compressor.count_tokens(document), score=score)
        for document, score in zip(documents, scores, strict=True)
    ]


def _budget(anchors: int | None, nbytes: int | None, compressor: Compressor) -> tuple[int, int]:
    """Give the budget, and what a place in the decoder's cache takes of it."""
    if anchors is not None and nbytes is None:
        return anchors, 1
    if nbytes is not None and anchors is None:
        return nbytes, compressor.adapter.backbone.token_bytes
    given = "none" if anchors is None else f"anchors={anchors} and nbytes={nbytes}"
    raise ConfigError(f"a plan needs one budget, got {given}; give anchors=... or nbytes=...")


def _cost(compressor: Compressor, place: int) -> Cost:
    """Count what the decoder's cache holds of a document, parted from others if it is in full."""
    config = compressor.adapter.config
    places = in_anchors(chunk_size=config.compress.chunk_size)
    parting = len(compressor.tokens.encode(config.prompt.document_separator))

    def cost(num_tokens: int, ratio: int) -> int:
        return place * (places(num_tokens, ratio) + (parting if ratio == FULL_TEXT else 0))

    return cost
