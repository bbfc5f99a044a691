"""Nodes whose text the model reads as a handle, and everybody else as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from llama_index.core.base.llms.types import TextBlock
from llama_index.core.bridge.pydantic import Field
from llama_index.core.schema import BaseNode, Document, ImageNode, IndexNode, MetadataMode, TextNode

from sac_rag.handles import contains_handle, sanitize

if TYPE_CHECKING:
    from sac_rag import Document as SACDocument


class SACTextNode(TextNode):
    """A text node for one query: the LLM gets ``llm_text``, all others the original text.

    Made at query time only; a docstore would bring it back as a plain ``TextNode``.
    """

    llm_text: str = Field(description="What the LLM reads: a handle, or text made inert.")

    @classmethod
    def class_name(cls) -> str:
        return "SACTextNode"

    @classmethod
    def of(cls, node: BaseNode, *, llm_text: str) -> Self:
        """Copy a node; the original stays as it is.

        Args:
            node: With text.
            llm_text: What the LLM is to read.
        """
        fields = {
            name: getattr(node, name) for name in TextNode.model_fields if hasattr(node, name)
        }
        copied = {name: _copy(value) for name, value in fields.items()}
        return cls(**copied, llm_text=llm_text)

    def get_content(self, metadata_mode: MetadataMode = MetadataMode.NONE) -> str:
        """Give the handle in the text template to the LLM, the original text to all others."""
        if metadata_mode != MetadataMode.LLM:
            return super().get_content(metadata_mode)
        # metadata is as foreign as the text, and stands in the prompt as text
        metadata = sanitize(self.get_metadata_str(mode=metadata_mode).strip())
        if not metadata:
            return self.llm_text
        return self.text_template.format(content=self.llm_text, metadata_str=metadata).strip()

    def get_content_blocks(self, metadata_mode: MetadataMode = MetadataMode.NONE) -> list[Any]:
        """Give the content as one text block."""
        return [TextBlock(text=self.get_content(metadata_mode))]

    def set_content(self, value: str) -> None:
        """Replace the text, for the LLM too: it is no longer what was compressed."""
        self.text = value
        self.llm_text = sanitize(value)


def is_text(node: BaseNode) -> bool:
    """Tell whether a node is text: not an image, not media of several kinds."""
    return isinstance(node, TextNode | Document) and not isinstance(node, ImageNode)


def has_text(node: BaseNode) -> bool:
    """Tell whether a node can be compressed: text, not a link to another node, not blank."""
    if not is_text(node) or isinstance(node, IndexNode):
        return False
    return bool(node.get_content(MetadataMode.NONE).strip())


def document_of(node: BaseNode) -> SACDocument:
    """Give what is compressed of a node: its text, without metadata."""
    from sac_rag import Document as SACDocument  # here, because it loads torch

    return SACDocument(text=node.get_content(MetadataMode.NONE))


def in_full(node: BaseNode) -> BaseNode:
    """Give a node that goes to the LLM as text, with anything like a handle in it made inert."""
    if not contains_handle(node.get_content(MetadataMode.LLM)) or not is_text(node):
        return node
    return SACTextNode.of(node, llm_text=sanitize(node.get_content(MetadataMode.NONE)))


def _copy(value: Any) -> Any:
    return value.copy() if isinstance(value, dict | list) else value
