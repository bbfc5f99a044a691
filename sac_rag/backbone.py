"""One copy of the base model, read two ways: encoder with the LoRA on, decoder with it off.

Shapes: B batch, T tokens, A anchors, L layers, G key/value heads, K head dim, D model dim.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from sac_rag.attention import Attention
from sac_rag.encoder import EncoderPass, Plan, plan_pass, run_encoder, run_to_end
from sac_rag.errors import UnsupportedModelError
from sac_rag.layer_calls import LayerCall, call
from sac_rag.layer_steps import causal_mask, forward, read_anchors
from sac_rag.layout import SINK_POSITION
from sac_rag.lora import LoraSwitch, MergedLora
from sac_rag.output_head import reading_dense
from sac_rag.rope import STATIC_ROPE_TYPES

MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3")
"""transformers' model types whose layers the encoder knows how to read."""


WhileDecoding = Callable[[], AbstractContextManager[None]]
"""Called, it gives what the frozen decoder runs inside."""


class Backbone:
    """A transformers decoder with, if it was given one, a peft LoRA on it.

    Args:
        model: A ``*ForCausalLM``, or a ``PeftModel`` around one.

    Raises:
        UnsupportedModelError: If anchors cannot stand in this model; says which layer and why.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.causal_lm: PreTrainedModel = model.get_base_model() if _is_peft(model) else model
        check_supported(self.causal_lm)
        self.decoder: Any = self.causal_lm.get_decoder()
        if self.inv_freq.dtype not in (torch.float32, torch.float64):
            raise UnsupportedModelError(
                f"the model's RoPE frequencies are {self.inv_freq.dtype}: `model.to(dtype)` "
                "rounded them, and keys cannot be moved by rounded angles; load it with dtype= "
                "instead"
            )
        self.lock = threading.RLock()
        """Held while the LoRA is switched: one encode or one decode at a time."""
        self._lora = LoraSwitch(model) if _is_peft(model) else None
        self._merged: MergedLora | None = None
        self.call_layer: LayerCall = call
        """How ``encode``, ``last_hidden`` and ``read`` run a layer; see ``layer_calls``."""
        self.run_encoder: EncoderPass = run_encoder
        """How ``encode`` runs all layers; see ``encoder``, and ``compiled`` for another."""
        self.while_decoding: WhileDecoding = nullcontext
        """What else is done inside ``decoding``; see ``generation.packed`` for something."""

    @property
    def config(self) -> Any:
        """The base model's transformers config."""
        return self.causal_lm.config

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.causal_lm.device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the weights, and of keys and values."""
        return self.causal_lm.dtype

    @property
    def inv_freq(self) -> Tensor:
        """RoPE frequencies, (K / 2,), in radians per token."""
        return self.decoder.rotary_emb.inv_freq

    @property
    def num_layers(self) -> int:
        """Number of layers L."""
        return len(self.decoder.layers)

    @property
    def model_dim(self) -> int:
        """Width D of the embeddings."""
        return int(self.config.hidden_size)

    @property
    def head_dim(self) -> int:
        """Width K of a head's keys and values; a config need not say it."""
        config = self.config
        return getattr(config, "head_dim", None) or self.model_dim // config.num_attention_heads

    @property
    def token_bytes(self) -> int:
        """Keys and values of one token, or anchor, in the decoder's cache, in bytes."""
        per_layer = 2 * self.config.num_key_value_heads * self.head_dim
        return self.num_layers * per_layer * self.dtype.itemsize

    @property
    def window(self) -> int:
        """Positions the model was made for, in tokens."""
        return int(self.config.max_position_embeddings)

    def embed(self, token_ids: Tensor) -> Tensor:
        """Look embeddings up, (..., T) to (..., T, D)."""
        return self.decoder.embed_tokens(token_ids.to(self.device))

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """Switch the LoRA off: inside, the model is the frozen base model."""
        with self.lock:
            if self._merged is not None:
                frozen = self._merged.outside()
            else:
                frozen = self._lora.off() if self._lora is not None else nullcontext()
            head = self.causal_lm.get_output_embeddings()
            with frozen, reading_dense(head), self.while_decoding():
                yield

    @contextmanager
    def merged(self) -> Iterator[None]:
        """Encode with the LoRA added into the weights; behind, they are as they were, bit for bit.

        For bulk encoding: it saves the LoRA's own products, and costs a second copy of the weights
        it is on. Its anchors differ from others by rounding (``lora`` says how much), and so it
        is never done unasked: what the store holds must not depend on how much was encoded along.

        Raises:
            UnsupportedModelError: If there is no plain LoRA to merge.
        """
        with self.lock:
            if self._lora is None:
                raise UnsupportedModelError(
                    "asked to merge a LoRA, and this model carries none; encode without merging"
                )
            merged = MergedLora(self.model)
            with merged.inside():
                self._merged = merged
                try:
                    yield
                finally:
                    self._merged = None

    def first_key_value(self, token_id: int) -> tuple[Tensor, Tensor]:
        """Read one token at position 0 with the LoRA off: a sink, (L, G, 1, K) each."""
        with self.decoding(), torch.no_grad():  # what is trained may stand behind it
            cache = DynamicCache(config=self.config)
            self.decoder(
                input_ids=torch.tensor([[token_id]], device=self.device),
                position_ids=torch.tensor([[SINK_POSITION]], device=self.device),
                past_key_values=cache,
                use_cache=True,
            )
        keys = torch.cat([layer.keys for layer in cache.layers])  # type: ignore[misc]
        values = torch.cat([layer.values for layer in cache.layers])  # type: ignore[misc]
        return keys, values

    def encode(
        self,
        embeds_BTD: Tensor,
        *,
        positions_BT: Tensor,
        anchors_BA: Tensor,
        attention: Attention,
        mask_BT: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run the encoder and keep the anchors' keys and values of every layer.

        No LM head runs, and of the last two layers only what the anchors need; see ``encoder``.

        Args:
            embeds_BTD: Token embeddings, anchor marks added.
            positions_BT: Position ids.
            anchors_BA: Local indices of the anchors.
            attention: Who sees whom, see ``sac_rag.attention``.
            mask_BT: True at tokens, False at padding (on the right); None if there is none.

        Returns:
            Keys and values, (B, L, G, A, K) each.
        """
        with self.lock:
            plan = self._plan(embeds_BTD, positions_BT, anchors_BA, attention, mask_BT)
            return self.run_encoder(self.decoder.layers, embeds_BTD, plan, self.call_layer)

    def last_hidden(
        self,
        embeds_BTD: Tensor,
        *,
        positions_BT: Tensor,
        wanted_BA: Tensor,
        attention: Attention,
        mask_BT: Tensor | None = None,
    ) -> Tensor:
        """Run the encoder to its end; give the normed hidden states at some tokens, (B, A, D)."""
        with self.lock:
            plan = self._plan(embeds_BTD, positions_BT, wanted_BA, attention, mask_BT)
            hidden_BAD = run_to_end(self.decoder.layers, embeds_BTD, plan, self.call_layer)
            return self.decoder.norm(hidden_BAD)

    def read(
        self, embeds_BPD: Tensor, *, positions_BP: Tensor, mask_BM: Tensor, cache: DynamicCache
    ) -> Tensor:
        """Run the frozen decoder behind anchors, which stay as they are; normed states (B, P, D).

        The model's own forward gives the same numbers, but writes to the cache: it cannot be
        replayed layer by layer.

        Args:
            embeds_BPD: Embeddings of the prompt.
            positions_BP: Position ids of the prompt.
            mask_BM: 1 at anchors and tokens, 0 at padding; covers cache and prompt.
            cache: Anchors of every layer; may be empty.
        """
        with self.decoding():
            arguments = {
                "attention_mask": causal_mask(
                    self.config, embeds_BPD, mask_BM, positions_BP, cache
                ),
                "position_ids": positions_BP,
                "position_embeddings": self.decoder.rotary_emb(
                    embeds_BPD, position_ids=positions_BP
                ),
            }
            hidden_BPD = embeds_BPD
            anchors: Any = cache.layers
            for layer, kept in zip(self.decoder.layers, anchors, strict=True):
                if kept.keys is None:  # no row has anchors
                    hidden_BPD = self.call_layer(forward, layer, hidden_BPD, arguments)
                    continue
                hidden_BPD = self.call_layer(
                    read_anchors, layer, hidden_BPD, kept.keys, kept.values, arguments
                )
            return self.decoder.norm(hidden_BPD)

    def _plan(
        self,
        embeds_BTD: Tensor,
        positions_BT: Tensor,
        anchors_BA: Tensor,
        attention: Attention,
        mask_BT: Tensor | None,
    ) -> Plan:
        return plan_pass(
            self.config,
            embeds_BTD,
            rotary=self.decoder.rotary_emb(embeds_BTD, position_ids=positions_BT),
            anchors_BA=anchors_BA,
            attention=attention,
            mask_BT=mask_BT,
        )


def check_supported(model: PreTrainedModel) -> None:
    """Refuse a model whose keys cannot be moved exactly, or whose layers we cannot read.

    Raises:
        UnsupportedModelError: Naming the layer or setting and the reason.
    """
    config = model.config
    if config.model_type not in MODEL_TYPES:
        raise UnsupportedModelError(
            f"model type {config.model_type!r} is not supported: its layers "
            f"({type(model).__name__}) are not known to be plain RoPE attention; "
            f"use one of {', '.join(MODEL_TYPES)}"
        )
    for index, kind in enumerate(getattr(config, "layer_types", None) or []):
        if kind != "full_attention":
            raise UnsupportedModelError(
                f"layer {index} is {kind!r}: an anchor that stands for its neighbours must be "
                "seen from any distance; use a model with full attention in every layer"
            )
    window = getattr(config, "sliding_window", None)
    if window is not None and not getattr(config, "layer_types", None):
        raise UnsupportedModelError(
            f"layer 0 and all others have a sliding window of {window} tokens: anchors beyond it "
            "would never be seen; use a model without one (config.sliding_window = None)"
        )
    rope_type = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    if rope_type not in STATIC_ROPE_TYPES:
        raise UnsupportedModelError(
            f"RoPE type {rope_type!r} changes its frequencies with the length of the text, so "
            f"stored keys cannot be moved; use one of {', '.join(STATIC_ROPE_TYPES)}"
        )


def _is_peft(model: Any) -> bool:
    return hasattr(model, "peft_config") and hasattr(model, "get_base_model")
