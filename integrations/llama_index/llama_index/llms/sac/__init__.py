"""An LLM for LlamaIndex that reads compressed documents; importing it loads no torch."""

from llama_index.llms.sac.base import SACLLM

__all__ = ["SACLLM"]
