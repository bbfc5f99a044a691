"""What ``python -m sac_rag.analysis`` does: load, measure, write, draw.

Of several processes all train, where there is training; the rest is the first one's.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sac_rag.analysis import draw
from sac_rag.analysis.attention import said_again
from sac_rag.analysis.gradients import GradientCallback, read_lines
from sac_rag.analysis.kv_map import kv_map
from sac_rag.analysis.perplexity import continuation_perplexity
from sac_rag.analysis.saving import Result, save
from sac_rag.analysis.texts import read_samples
from sac_rag.chunking import Chunk, split_chunks
from sac_rag.data import PretrainSettings
from sac_rag.engine.loading import Loaded, load
from sac_rag.errors import ConfigError
from sac_rag.train.group import is_first, leave_group
from sac_rag.train.samples import Sample


def gradients(asked: argparse.Namespace) -> None:
    """Train by a recipe and measure on the way, or draw what was measured before."""
    if bool(asked.config) == bool(asked.run):
        raise ConfigError(
            "give --config RECIPE.yaml to train and measure, or --run DIR to draw what such a "
            "training measured"
        )
    folder = asked.run
    if asked.config:
        from sac_rag.train.recipe_file import read_recipe
        from sac_rag.train.run import run_stage

        recipe = read_recipe(asked.config, asked.changes, stage=asked.stage)
        if recipe.fsdp:
            raise ConfigError(
                "gradients are measured by the first process alone, which with fsdp=true holds but "
                "a share of the weights; give fsdp=false"
            )
        # nothing here may hold the trainer when the processes part
        run_stage(
            recipe, callbacks=[GradientCallback(every=asked.every, num_samples=asked.samples)]
        )
        leave_group()
        folder = recipe.out
    _finish(asked, lambda: {Path(folder).name: read_lines(folder)}, draw.draw_gradients)


def tsne(asked: argparse.Namespace) -> None:
    """Map keys and values of every adapter given."""
    _finish(
        asked,
        lambda: {
            name: kv_map(
                loaded.adapter.method,
                [chunk for sample in samples for chunk in _chunks(sample, loaded)],
                layers=asked.layers,
                seed=asked.seed,
            )
            for name, loaded, samples in _adapters(asked)
        },
        draw.draw_kv_maps,
    )


def attention(asked: argparse.Namespace) -> None:
    """Show where the decoder looks while it reads the first text again."""
    _finish(
        asked,
        lambda: {
            name: said_again(loaded.adapter, samples[0].documents[0], task=asked.task)
            for name, loaded, samples in _adapters(asked)
        },
        draw.draw_attention,
    )


def perplexity(asked: argparse.Namespace) -> None:
    """Measure continuations behind every adapter's anchors."""
    _finish(
        asked,
        lambda: {
            name: continuation_perplexity(loaded.adapter, samples, bos_id=loaded.tokens.bos_id)
            for name, loaded, samples in _adapters(asked)
        },
        draw.draw_perplexities,
    )


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "gradients": gradients,
    "tsne": tsne,
    "attention": attention,
    "perplexity": perplexity,
}


def _adapters(asked: argparse.Namespace) -> Iterator[tuple[str, Loaded, list[Sample]]]:
    """Load one adapter after the other, and the texts as its tokenizer cuts them."""
    settings = PretrainSettings(
        min_tokens=asked.min_tokens, max_tokens=asked.max_tokens, limit=asked.limit
    )
    known: set[str] = set()
    for given in asked.adapter or [""]:
        name, equals, path = given.partition("=")
        name, path = (name, path) if equals else ("", given)
        loaded = load(
            asked.model,
            adapter=path or None,
            ratio=None,
            device=asked.device,
            dtype=asked.dtype,
            local_files_only=None,
        )
        config = loaded.adapter.config
        name = name or f"{config.method}-{config.compress.ratio}x"
        if name in known:
            raise ConfigError(f"two adapters are called {name!r}; name them: --adapter NAME=PATH")
        known.add(name)
        yield name, loaded, read_samples(asked.data, tokens=loaded.tokens, settings=settings)


def _chunks(sample: Sample, loaded: Loaded) -> list[Chunk]:
    size = loaded.adapter.config.compress.chunk_size
    return [one for text in sample.documents for one in split_chunks(list(text), chunk_size=size)]


def _finish(
    asked: argparse.Namespace,
    measure: Callable[[], Mapping[str, Result]],
    drawn: Callable[[Any], Any],
) -> None:
    """Measure, write and draw, the first of several processes alone."""
    if not is_first():
        return
    found = measure()
    path = Path(asked.out) / asked.analysis
    save(found, path)
    draw.write_figure(drawn(found), path.with_suffix(".png"))
    for name, result in found.items():
        print(name, result.summary())
    print(f"{path}.npz, .json and .png")
