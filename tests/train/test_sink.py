"""The trainer reads the sink that the engine lays before all documents."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn.functional import cross_entropy

from sac_rag import GenerationParams, SACEngine
from sac_rag.adapter import SACConfig
from sac_rag.analysis.attention import said_again
from sac_rag.analysis.gradients import gradient_cosines
from sac_rag.analysis.perplexity import continuation_perplexity
from sac_rag.errors import ConfigError
from sac_rag.generation import lay_out
from sac_rag.train.__main__ import main
from sac_rag.train.module import TrainingModule, make_trainable
from sac_rag.train.samples import Sample
from tests.tiny import tiny_adapter, tiny_model, write_tiny

TINY = Path(__file__).parents[2] / "train" / "recipes" / "tiny.yaml"
DOCUMENTS = ["A mill stood by the river. " * 30, "It burned down in the winter of 1850."]
QUESTION, ANSWER = "When did it burn?", "In winter"


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "sink"])
def engine(request, tmp_path_factory):
    base, adapter = write_tiny(tmp_path_factory.mktemp("sink"), sink=request.param)
    with SACEngine.from_pretrained(base, adapter=adapter) as made:
        yield made


def sample_of(engine: SACEngine) -> Sample:
    prompt, tokens = engine.adapter.config.prompt, engine.tokens
    return Sample(
        documents=tuple(prompt.seen_ids(text, tokens=tokens) for text in DOCUMENTS),
        prompt=tokens.encode(prompt.question(QUESTION)),
        target=tokens.encode(ANSWER),
    )


@torch.no_grad()
def test_the_trainers_loss_is_that_of_the_engines_own_prompt(engine):
    """The engine's prompt, the answer behind it, through transformers' own forward."""
    adapter, sample = engine.adapter, sample_of(engine)
    request = engine.request(QUESTION, DOCUMENTS)
    [built] = engine._open().prompts.build([request], params=GenerationParams())
    laid = lay_out([built.prompt], backbone=adapter.backbone, pad_id=0)
    answer = torch.tensor([list(sample.target)])
    last = built.prompt.last_position
    with adapter.backbone.decoding():
        logits = adapter.backbone.causal_lm(
            inputs_embeds=torch.cat([laid.embeds_BPD, adapter.backbone.embed(answer[:, :-1])], 1),
            position_ids=torch.cat(
                [laid.positions_BP, last + 1 + torch.arange(answer.shape[1] - 1)[None]], 1
            ),
            past_key_values=laid.cache,
        ).logits
    wanted = cross_entropy(logits[0, -answer.shape[1] :], answer[0])
    module = TrainingModule(adapter, weights={"qa": 1.0}, bos_id=engine.tokens.bos_id)
    torch.testing.assert_close(module([sample])["qa"], wanted, atol=1e-4, rtol=1e-4)
    [measured] = module.continuation_losses([sample])
    torch.testing.assert_close(measured, wanted, atol=1e-4, rtol=1e-4)
    assert len(built.prompt.anchors) == built.counts["anchors"] + adapter.config.sink


def test_a_sink_moves_the_loss_and_lets_gradients_through():
    losses = []
    for sink in (False, True):
        adapter = tiny_adapter(tiny_model(), sink=sink)
        make_trainable(adapter)
        module = TrainingModule(adapter, weights={"continuation": 1.0}, bos_id=0)
        sample = Sample(documents=([0, *range(5, 45)],), target=[7, 8, 9])
        loss = module([sample, sample])["loss"]
        loss.backward()
        assert adapter.method.anchor_embeddings.grad.abs().sum() > 0
        losses.append(loss.item())
    assert abs(losses[0] - losses[1]) > 1e-3


def test_without_a_bos_there_is_no_sink():
    adapter = tiny_adapter(tiny_model(), sink=True)
    with pytest.raises(ConfigError, match="wants a BOS sink, and no BOS is known"):
        TrainingModule(adapter, weights={"continuation": 1.0})


@torch.no_grad()
def test_analyses_read_it_too(engine):
    adapter, sample, bos = engine.adapter, sample_of(engine), engine.tokens.bos_id
    module = TrainingModule(adapter, weights={"qa": 1.0}, bos_id=bos)
    found = continuation_perplexity(adapter, [sample], bos_id=bos).compressed
    assert found[0] == pytest.approx(module([sample])["qa"].item(), abs=1e-4)


def test_a_map_of_anchors_has_no_place_for_it():
    with pytest.raises(ConfigError, match="which takes attention and is no anchor"):
        said_again(tiny_adapter(tiny_model(), sink=True), [0, *range(5, 45)])


def test_gradients_are_measured_behind_it():
    found = []
    for sink in (False, True):
        adapter = tiny_adapter(tiny_model(), sink=sink)
        make_trainable(adapter)
        sample = Sample(documents=([0, *range(5, 45)],), target=[7, 8, 9])
        found.append(gradient_cosines(adapter, [sample], step=0, bos_id=0).norms[0, 1])
    assert abs(found[0] - found[1]) > 1e-4


def test_a_recipe_trains_with_it_and_does_not_forget_it(
    tiny_folders, tmp_path, capsys, monkeypatch
):
    pytest.importorskip("datasets", reason="the extra 'train' is not installed")
    monkeypatch.setenv("SAC_RAG_CACHE", str(tmp_path / "cache"))
    words = [f"model={tiny_folders[0]}", "steps=2", "save_every=2", "data.limit=8"]

    def run(stage: str, *more: str) -> int:
        out = f"{stage}.out={tmp_path / stage}"
        return main([stage, "--config", str(TINY), out, *words, *more])

    assert run("pretrain", "sink=true") == 0
    start = f"adapter={tmp_path / 'pretrain' / 'adapter'}"
    assert run("finetune", start) == 2
    assert "was trained with sink=true and the recipe is not" in capsys.readouterr().err
    assert run("finetune", start, "sink=true") == 0
    adapter = tmp_path / "finetune" / "adapter"
    assert SACConfig.load(adapter).sink
    with SACEngine.from_pretrained(tiny_folders[0], adapter=adapter) as engine:
        assert engine.answer("Who?", ["a text about someone"], max_new_tokens=3).usage.anchors > 1
