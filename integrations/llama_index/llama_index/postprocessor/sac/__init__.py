"""Compression of retrieved or ingested nodes for LlamaIndex; importing it loads no torch."""

from llama_index.postprocessor.sac.base import SACNodePostprocessor
from llama_index.postprocessor.sac.nodes import SACTextNode
from llama_index.postprocessor.sac.precompress import SACPrecompress

__all__ = ["SACNodePostprocessor", "SACPrecompress", "SACTextNode"]
