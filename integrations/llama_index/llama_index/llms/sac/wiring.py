"""What goes around the LLM: counting, packing, templates, and the ready query engine."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from llama_index.core import Settings, get_response_synthesizer
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.llms.sac import templates
from llama_index.llms.sac.counting import HandleTokenizer, SACPromptHelper, anchor_tokenizer
from llama_index.llms.sac.engine_source import engine_settings, share_engine
from llama_index.llms.sac.settings import SettingsGuard

if TYPE_CHECKING:
    from llama_index.core.indices.base import BaseIndex
    from llama_index.core.prompts import BasePromptTemplate
    from llama_index.postprocessor.sac import SACNodePostprocessor, SACPrecompress

SYNTHESIZER_ARGUMENTS = tuple(inspect.signature(get_response_synthesizer).parameters)


class Wiring:
    """Makes the parts of a LlamaIndex pipeline that fit one ``SACLLM``."""

    if TYPE_CHECKING:
        engine: Any
        metadata: Any
        callback_manager: Any

    @property
    def tokenizer_fn(self) -> HandleTokenizer:
        """A picklable ``str -> list[int]`` for counting; a handle counts as its anchors."""
        return anchor_tokenizer(self.engine)

    def prompt_helper(self, *, chunk_size_limit: int | None = None) -> SACPromptHelper:
        """Make the prompt helper that packs handles whole, each once, by the window they take.

        Args:
            chunk_size_limit: Most positions of context in one prompt; None for what fits.
        """
        return SACPromptHelper.for_engine(
            self.engine,
            window=self.metadata.context_window,
            num_output=self.metadata.num_output,
            chunk_size_limit=chunk_size_limit,
        )

    def configure_settings(self) -> SettingsGuard:
        """Set LLM, tokenizer and prompt helper in LlamaIndex' ``Settings``, at once.

        Used in a ``with``, what was set before comes back at its end.
        """
        return SettingsGuard(self)  # type: ignore[arg-type]

    def text_qa_template(self) -> BasePromptTemplate:
        """Write context and question in the format that the adapter was trained with."""
        chat = self.metadata.is_chat_model
        return templates.text_qa_template(self.engine.prompt_format, chat=chat)

    def refine_template(self) -> BasePromptTemplate:
        """Write further context, question and answer so far in the adapter's format."""
        chat = self.metadata.is_chat_model
        return templates.refine_template(self.engine.prompt_format, chat=chat)

    def as_postprocessor(self, **settings: Any) -> SACNodePostprocessor:
        """Make the node postprocessor on the same engine; it goes last, after rerankers.

        Args:
            **settings: Its own fields.
        """
        from llama_index.postprocessor.sac import SACNodePostprocessor

        made = SACNodePostprocessor(**engine_settings(self), **settings)  # type: ignore[arg-type]
        share_engine(self, made)  # type: ignore[arg-type]
        return made

    def as_precompress(self) -> SACPrecompress:
        """Make the ingestion step on the same engine; it goes after the splitter."""
        from llama_index.postprocessor.sac import SACPrecompress

        names = {**engine_settings(self), "fingerprint": self.engine.fingerprint}  # type: ignore[arg-type]
        made = SACPrecompress(**names)
        share_engine(self, made)  # type: ignore[arg-type]
        return made

    def as_query_engine(
        self, index: BaseIndex, similarity_top_k: int = 20, **kwargs: Any
    ) -> RetrieverQueryEngine:
        """Make a query engine that answers from compressed nodes.

        Args:
            index: Where nodes are retrieved.
            similarity_top_k: Nodes a query.
            **kwargs: As ``get_response_synthesizer`` and ``index.as_retriever`` take them, and
                ``response_synthesizer``; ``node_postprocessors`` run before the compression.
        """
        asked = {name: kwargs.pop(name) for name in SYNTHESIZER_ARGUMENTS if name in kwargs}
        # LlamaIndex would put the global callback manager in place of the LLM's own
        own_manager = self.callback_manager if self.callback_manager.handlers else None
        manager = asked.get("callback_manager") or own_manager or Settings.callback_manager
        before = kwargs.pop("node_postprocessors", None) or []
        synthesizer = kwargs.pop("response_synthesizer", None)
        if synthesizer is None:
            parts = {**self._synthesizer_parts(), **asked, "callback_manager": manager}
            synthesizer = get_response_synthesizer(**parts)
        return RetrieverQueryEngine(
            index.as_retriever(similarity_top_k=similarity_top_k, **kwargs),
            response_synthesizer=synthesizer,
            node_postprocessors=[*before, self.as_postprocessor(callback_manager=manager)],
            callback_manager=manager,
        )

    def _synthesizer_parts(self) -> dict[str, Any]:
        return {
            "llm": self,
            "prompt_helper": self.prompt_helper(),
            "text_qa_template": self.text_qa_template(),
            "summary_template": self.text_qa_template(),
            "refine_template": self.refine_template(),
        }
