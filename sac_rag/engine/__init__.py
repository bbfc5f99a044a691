"""The facade that users load, and what goes in and out of it."""

from sac_rag.engine.compressor import Compressed
from sac_rag.engine.engine import SACEngine
from sac_rag.engine.requests import ChatText, Document, Request, Stored
from sac_rag.engine.streaming import AnswerStream
from sac_rag.engine.usage import Answer, Usage

__all__ = [
    "Answer",
    "AnswerStream",
    "ChatText",
    "Compressed",
    "Document",
    "Request",
    "SACEngine",
    "Stored",
    "Usage",
]
