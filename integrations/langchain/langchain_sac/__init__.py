"""LangChain models and document compressors that answer from compressed documents."""

from langchain_sac._version import __version__
from langchain_sac.chat import ChatSAC
from langchain_sac.compressor import SACDocumentCompressor
from langchain_sac.llm import SACCompressedLLM
from langchain_sac.store import SACByteStore
from langchain_sac.transformer import SACDocumentTransformer

__all__ = [
    "ChatSAC",
    "SACByteStore",
    "SACCompressedLLM",
    "SACDocumentCompressor",
    "SACDocumentTransformer",
    "__version__",
]
