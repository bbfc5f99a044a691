"""LLMLingua-2 as a method among others: its compressed text, read by the frozen decoder."""

from __future__ import annotations

from functools import lru_cache

from sac_rag.data.records import QARecord
from sac_rag.engine import SACEngine
from sac_rag.engine.requests import Request
from sac_rag.eval.askers import EngineAsker
from sac_rag.importance import KeepClassifier, compress_text

_KEPT_TEXTS = 4096
"""Compressed documents that are remembered: data sets ask several questions about one."""


def llmlingua2(engine: SACEngine, *, ratio: int, classifier: KeepClassifier) -> EngineAsker:
    """Ask with every document cut down to the words that LLMLingua-2 keeps.

    Hard compression as the SAC paper compares it (arXiv:2510.08907, section 4): one token in
    ``ratio`` is left, as plain text, so that it costs the decoder what as many anchors would.
    Title and text of a document are compressed together, prefix and question are not.

    Args:
        engine: Its frozen decoder reads and answers; its tokenizer counts.
        ratio: Tokens of the document per token that is kept.
        classifier: Scores words, see ``KeepClassifier.from_pretrained``.
    """

    @lru_cache(maxsize=_KEPT_TEXTS)
    def compressed(text: str) -> str:
        return compress_text(text, ratio=ratio, classifier=classifier, tokens=engine.tokens)

    def write(engine: SACEngine, record: QARecord) -> Request:
        prompt = engine.prompt_format
        documents = [
            compressed(prompt.document(one.text, one.title).removeprefix(prompt.context_prefix))
            for one in record.documents
        ]
        return engine.request(record.question, documents, compress=False)

    road = f"llmlingua2-{ratio}x {classifier.identity}"
    return EngineAsker(engine, road, write)
