"""What goes around the LLM: counting, packing, templates, and the ready query engine."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from llama_index.core import get_response_synthesizer
from llama_index.llms.sac import templates
from llama_index.llms.sac.counting import HandleTokenizer, SACPromptHelper, anchor_tokenizer
from llama_index.llms.sac.engine_source import engine_settings, share_engine
from llama_index.llms.sac.settings import SettingsGuard

if TYPE_CHECKING:
    from llama_index.core.base.base_query_engine import BaseQueryEngine
    from llama_index.core.indices.base import BaseIndex
    from llama_index.core.prompts import BasePromptTemplate
    from llama_index.postprocessor.sac import SACNodePostprocessor, SACPrecompress

SYNTHESIZER_ARGUMENTS = tuple(inspect.signature(get_response_synthesizer).parameters)


class Wiring:
    """Makes the parts of a LlamaIndex pipeline that fit one ``SACLLM``."""

    if TYPE_CHECKING:
        engine: Any
        metadata: Any

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
    ) -> BaseQueryEngine:
        """Make a query engine that answers from compressed nodes.

        Args:
            index: Where nodes are retrieved.
            similarity_top_k: Nodes a query.
            **kwargs: As ``index.as_query_engine`` and ``get_response_synthesizer`` take them;
                ``node_postprocessors`` run before the compression.
        """
        asked = {name: kwargs.pop(name) for name in SYNTHESIZER_ARGUMENTS if name in kwargs}
        postprocessors = [*(kwargs.pop("node_postprocessors", None) or []), self.as_postprocessor()]
        if "response_synthesizer" not in kwargs:
            own = {
                "llm": self,
                "prompt_helper": self.prompt_helper(),
                "text_qa_template": self.text_qa_template(),
                "summary_template": self.text_qa_template(),
                "refine_template": self.refine_template(),
            }
            kwargs["response_synthesizer"] = get_response_synthesizer(**{**own, **asked})
        return index.as_query_engine(
            llm=self,  # type: ignore[arg-type]
            similarity_top_k=similarity_top_k,
            node_postprocessors=postprocessors,
            **kwargs,
        )
