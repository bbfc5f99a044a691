"""Where the decoder is told to look stands what it is told to find there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from atlas import World
from build_tokenizer import save as save_tokenizer
from curriculum import IGNORE, LEVELS, Coder, make_batch
from gaze import FINDING, NAMING, NOWHERE, gaze_loss
from reader import Reader
from train_base import new_model
from transformers import AutoTokenizer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory):
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    save_tokenizer(folder)
    return AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("level", [level for level in LEVELS if level.guided])
def test_answers_look_at_the_value_and_at_the_name(tokenizer, level):
    batch = make_batch(World("gaze"), Coder(tokenizer), level, 0.0)
    gaze = batch.gaze
    assert gaze is not None
    b, n, j = (gaze.found != NOWHERE).nonzero(as_tuple=True)
    wanted = batch.labels[b, n, gaze.answer[b, n, j]]
    assert torch.equal(batch.context[b, gaze.found[b, n, j]], wanted)
    # every token of every answer but the end token is guided
    assert len(b) == int(
        ((batch.labels != IGNORE) & (batch.labels != tokenizer.eos_token_id)).sum()
    )
    names = batch.questions[b, n, gaze.asked[b, n, j]]
    owner_of = {
        (row, value): owner
        for row in range(len(gaze.value))
        for value, owner in zip(gaze.value[row].tolist(), gaze.owner[row].tolist(), strict=True)
    }
    owners = [owner_of[key] for key in zip(b.tolist(), gaze.found[b, n, j].tolist(), strict=True)]
    assert torch.equal(batch.context[b, torch.tensor(owners)], names)


def test_the_heads_learn_to_look_there(tokenizer):
    """A few steps on the guided heads alone, on one batch, halve what they miss."""
    coder = Coder(tokenizer)
    torch.manual_seed(0)
    model = new_model(tokenizer, tiny=True)
    batch = make_batch(World("cost"), coder, LEVELS[0], 0.0)
    gaze = batch.gaze
    reader = Reader(model.config, compiled=False)
    weights = {
        name: torch.nn.Parameter(weight.detach().clone())
        for name, weight in model.state_dict().items()
        if name != "lm_head.weight"
    }
    trained = [
        weights[f"model.layers.{layer}.self_attn.{kind}_proj.weight"]
        for layer in (NAMING, FINDING)
        for kind in ("q", "k")
    ]
    trained.append(weights["model.embed_tokens.weight"])
    optimizer = torch.optim.Adam(trained, lr=0.02)
    seen = torch.arange(batch.context.shape[1])[None] < batch.lengths[:, None]
    losses = []
    for _ in range(30):
        reading, asking = [], []
        cache = reader.read(weights, batch.context, reading)
        reader.ask(weights, cache, seen, batch.questions, batch.lengths, entering=asking)
        loss = gaze_loss(weights, gaze, (reading, asking), cache, seen, batch.lengths)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0] / 2
