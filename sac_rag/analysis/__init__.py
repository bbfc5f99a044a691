"""What happens inside: gradients, keys and values, attention, perplexity (method's section 4).

Each function returns arrays in a frozen value; ``draw`` makes the figures, and nothing else does.

    python -m sac_rag.analysis perplexity --data texts.jsonl --out figures
"""

from sac_rag.analysis.attention import AttentionMaps, attention_maps, said_again
from sac_rag.analysis.gradients import (
    GradientCallback,
    GradientCosines,
    gradient_cosines,
    measure_checkpoints,
)
from sac_rag.analysis.kv_map import KVMap, kv_map
from sac_rag.analysis.perplexity import Perplexities, continuation_perplexity

__all__ = [
    "AttentionMaps",
    "GradientCallback",
    "GradientCosines",
    "KVMap",
    "Perplexities",
    "attention_maps",
    "continuation_perplexity",
    "gradient_cosines",
    "kv_map",
    "measure_checkpoints",
    "said_again",
]
