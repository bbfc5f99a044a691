"""Prompts with anchors in, answers out; decoding is transformers' own ``generate``."""

from sac_rag.generation.assemble import Layout, Prompt, lay_out
from sac_rag.generation.decode import Completion, complete
from sac_rag.generation.params import GenerationParams
from sac_rag.generation.text import TextStream

__all__ = [
    "Completion",
    "GenerationParams",
    "Layout",
    "Prompt",
    "TextStream",
    "complete",
    "lay_out",
]
