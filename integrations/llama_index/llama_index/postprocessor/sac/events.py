"""Events of a compression: counts, no texts."""

from llama_index.core.instrumentation.events import BaseEvent


class SACCompressStartEvent(BaseEvent):
    """Nodes are about to be compressed."""

    num_nodes: int
    """Nodes that came in."""

    @classmethod
    def class_name(cls) -> str:
        return "SACCompressStartEvent"


class SACCompressEndEvent(BaseEvent):
    """Nodes were compressed."""

    num_nodes: int
    """Nodes that went out, as many as came in."""
    num_compressed: int
    """Of them, nodes that the LLM reads as anchors."""
    num_anchors: int
    """Anchors that stand for those."""

    @classmethod
    def class_name(cls) -> str:
        return "SACCompressEndEvent"
