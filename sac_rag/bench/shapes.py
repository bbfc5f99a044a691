"""What is measured on: a model by name, an adapter, and texts of a wanted length for it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from peft import LoraConfig
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from sac_rag.adapter import Adapter
from sac_rag.adapter.config import CONFIG_FILE
from sac_rag.backbone import Backbone
from sac_rag.config import CompressConfig
from sac_rag.engine import SACEngine
from sac_rag.engine.loading import (
    EMBEDDED,
    EMBEDDED_FOLDER,
    Loaded,
    load,
    load_base,
    pick_device,
    pick_dtype,
)
from sac_rag.errors import ConfigError
from sac_rag.store import AnchorStore, open_store
from sac_rag.tokens import Tokens

ATLAS = EMBEDDED_FOLDER / "atlas"
RELEASED_LORA = {"r": 128, "lora_alpha": 256, "target_modules": ["q_proj", "v_proj"]}
"""The encoder's LoRA of the released checkpoints (arXiv:2510.08907)."""

LLAMA_1B = {
    "vocab_size": 128_256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "max_position_embeddings": 131_072,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
    "bos_token_id": 128_000,
    "eos_token_id": 128_001,
    "rope_parameters": {
        "rope_type": "llama3",
        "rope_theta": 500_000.0,
        "factor": 32.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    },
}
"""The published sizes of Llama-3.2-1B; the weights are drawn at random."""

WriteText = Callable[[int, int], str]
"""From (tokens wanted, seed) to a text of about so many tokens."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A loaded model with its adapter, and what can be measured with it."""

    name: str
    loaded: Loaded
    write: WriteText
    trained: bool
    """Whether answers mean anything: costs can be measured with random weights, quality cannot."""
    note: str
    """What is random, what is cut."""

    def engine(self, store: AnchorStore | Path | None = None) -> SACEngine:
        """Open an engine on the shared model, with a store of its own."""
        return SACEngine(self.loaded, store=open_store(store))

    @property
    def backbone(self) -> Backbone:
        """The model."""
        return self.loaded.adapter.backbone

    @property
    def on_cpu(self) -> bool:
        """Whether the model is on the CPU."""
        return self.backbone.device.type == "cpu"

    @property
    def token_bytes(self) -> int:
        """Bytes of the keys and values of one token."""
        return self.backbone.token_bytes

    def endless(self) -> Subject:
        """Give the same model with an end token that it all but never says."""
        tokens = Tokens(self.loaded.tokens.tokenizer, eos_ids=[self.backbone.config.vocab_size - 1])
        return replace(self, loaded=replace(self.loaded, tokens=tokens))

    def question(self, num_tokens: int, *, seed: int = 0) -> str:
        """Write a question that is about so many tokens with the words around it."""
        around = len(self.loaded.tokens.encode(self.loaded.adapter.config.prompt.question(" ")))
        return self.write(max(1, num_tokens - around), seed + 7919)

    def fits(self, num_tokens: int) -> bool:
        """Say whether so many positions are within the model's window."""
        return num_tokens <= self.backbone.window

    def running(self, run: Callable[[], object], **parts: object) -> None:
        """Run with other parts of the backbone in their places, by name, and put those back."""
        before = {name: getattr(self.backbone, name) for name in parts}
        try:
            vars(self.backbone).update(parts)
            run()
        finally:
            vars(self.backbone).update(before)

    def sync(self) -> None:
        """Wait for the device."""
        if self.backbone.device.type == "cuda":
            torch.cuda.synchronize(self.backbone.device)

    def texts(self, context: int, document_tokens: int, *, seed: int = 0) -> list[str]:
        """Write the documents of a context, each read by the encoder as ``document_tokens``.

        Args:
            context: Tokens of all together; the last document may be shorter.
            document_tokens: Tokens of each, BOS and prefix included.
            seed: Other seeds give other texts.
        """
        around = len(self.loaded.adapter.config.prompt.seen_ids("", tokens=self.loaded.tokens))
        full, tail = divmod(context, document_tokens)
        lengths = [document_tokens] * full + ([tail] if tail > around else [])
        if not lengths or document_tokens <= around:
            raise ConfigError(
                f"a context of {context} tokens in documents of {document_tokens} leaves no text "
                f"beside the {around} tokens that stand before each; ask for more"
            )
        return [self.write(n - around, seed + index) for index, n in enumerate(lengths)]


def open_subject(
    name: str,
    *,
    adapter: str | None = None,
    ratio: int | None = None,
    layers: int | None = None,
    device: str = "auto",
    dtype: str = "auto",
    seed: int = 0,
) -> Subject:
    """Open what is to be measured.

    Args:
        name: ``embedded``, a name in ``RANDOM_SHAPES``, or a folder or hub id.
        adapter: A SAC adapter; without one, a fresh one of the released form is measured.
        ratio: Tokens per anchor; None for the adapter's, or 5.
        layers: Of a random shape, keep so many; None for what is small enough for the device.
        device: ``auto``, ``cpu``, ``cuda``, ...
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        seed: Of all that is random.

    Raises:
        ConfigError: If layers are to be cut from a real model, or there are not so many.
    """
    torch.manual_seed(seed)
    if name in RANDOM_SHAPES:
        if adapter is not None:
            raise ConfigError(
                f"{name} has random weights, which no adapter fits; leave --adapter out, or name "
                "the model that it was trained for"
            )
        return _random(name, ratio=ratio or 5, layers=layers, device=device, dtype=dtype)
    if layers is not None:
        raise ConfigError(
            f"layers are cut from random shapes only ({', '.join(RANDOM_SHAPES)}), and {name!r} is "
            "a real model; leave layers out"
        )
    if name == EMBEDDED or adapter or (Path(name) / CONFIG_FILE).is_file():
        loaded = load(
            name, adapter=adapter, ratio=ratio, device=device, dtype=dtype, local_files_only=None
        )
        note = f"trained adapter {adapter or 'of its own'}"
        return _subject(name, loaded, trained=True, note=note)
    model, tokens = load_base(name, device=device, dtype=dtype)
    fresh = _fresh_adapter(model, ratio or 5, name)
    return _subject(
        name,
        Loaded(name=name, adapter=fresh, tokens=tokens),
        trained=False,
        note="a fresh, untrained adapter: its costs are real, its answers are noise",
    )


def _subject(name: str, loaded: Loaded, *, trained: bool, note: str) -> Subject:
    write = _atlas_writer(loaded.tokens)
    return Subject(name=name, loaded=loaded, write=write, trained=trained, note=note)


def _random(name: str, *, ratio: int, layers: int | None, device: str, dtype: str) -> Subject:
    config = RANDOM_SHAPES[name]()
    where = pick_device(device)
    whole = config.num_hidden_layers
    kept = layers or (whole if where.type == "cuda" else min(whole, CPU_LAYERS))
    if not 2 <= kept <= whole:
        raise ConfigError(f"{name} has {whole} layers, asked to keep {kept}; give 2 to {whole}")
    config.num_hidden_layers = kept
    with where:
        model = AutoModelForCausalLM.from_config(config, dtype=pick_dtype(dtype, where))
    adapter = _fresh_adapter(model.eval().requires_grad_(False), ratio, name)
    tokens = number_tokens(config.vocab_size)
    return Subject(
        name=name,
        loaded=Loaded(name=name, adapter=adapter, tokens=tokens),
        write=number_writer(config.vocab_size),
        trained=False,
        note=f"{kept} of {whole} layers, weights, adapter and texts drawn at random: costs alone",
    )


def _fresh_adapter(model: object, ratio: int, name: str) -> Adapter:
    return Adapter.create(
        model,  # type: ignore[arg-type]
        compress=CompressConfig(ratio=ratio),
        lora=LoraConfig(**RELEASED_LORA, task_type="CAUSAL_LM"),
        base_model=name,
    )


def number_tokens(vocab_size: int) -> Tokens:
    """Make a tokenizer for a model that has none: the text ``t17 t5`` is the ids 17 and 5."""
    words = {f"t{index}": index for index in range(vocab_size)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="t0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="t1", eos_token="t2")
    # an end that a random model all but never says: answers have the length that was asked for
    return Tokens(made, eos_ids=[vocab_size - 1])


def number_writer(vocab_size: int) -> WriteText:
    """Write random words of ``number_tokens``, exactly as many as wanted."""

    def write(num_tokens: int, seed: int) -> str:
        draw = random.Random(seed)
        return " ".join(f"t{draw.randrange(3, vocab_size - 1)}" for _ in range(num_tokens))

    return write


def _atlas_writer(tokens: Tokens) -> WriteText:
    """Cut texts from the fictional atlas that ships with the package, each from another place."""
    files = sorted(path for path in ATLAS.iterdir() if path.suffix in (".md", ".txt"))
    whole = tokens.encode("\n\n".join(path.read_text(encoding="utf-8") for path in files))

    def write(num_tokens: int, seed: int) -> str:
        first = random.Random(seed).randrange(len(whole))
        ids = [whole[(first + index) % len(whole)] for index in range(num_tokens)]
        return tokens.decode(ids)

    return write


CPU_LAYERS = 4
"""Layers of a random shape that a CPU is asked to run unless told otherwise."""

RANDOM_SHAPES: dict[str, Callable[[], LlamaConfig]] = {
    "llama-1b-shape": lambda: LlamaConfig(**LLAMA_1B),
}
"""Models by their sizes alone, nothing downloaded."""
