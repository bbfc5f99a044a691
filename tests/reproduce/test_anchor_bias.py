"""The trial of a bias per anchor: where all keys are kept there is nothing to mend."""

from __future__ import annotations

import json

import anchor_bias
import pytest
import torch

from sac_rag import SACEngine
from sac_rag.engine.loading import load
from tests.tiny import byte_tokenizer, tiny_model

TEXT = "The ferry runs at noon. Nobody knows why the old tower was never finished."


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / "base"
    tiny_model().save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def test_with_every_key_kept_mass_and_answer_are_those_of_the_full_text(base):
    with SACEngine.from_pretrained(base) as engine:  # without an adapter every token is kept
        document = engine.prompt_format.seen_ids(TEXT, tokens=engine.tokens)
        like = engine.compress(TEXT)
    method = load(
        str(base), adapter=None, ratio=None, device="cpu", dtype="float32", local_files_only=True
    ).adapter.method
    kept = anchor_bias.kept_keys(method, document, like)
    torch.testing.assert_close(kept.keys, like.keys, atol=1e-4, rtol=1e-4)
    references = anchor_bias.read_again(method, document)
    _, without, within = anchor_bias.fit(kept.keys, references)
    assert without < 1e-4
    assert within < 1e-2
    prompt, target = [7, 8, 9], [10, 11]
    full = anchor_bias.Prompt(token_ids=[*document, *prompt, *target][:-1])
    behind = anchor_bias.Prompt(token_ids=[*prompt, *target][:-1], anchors=kept)
    nats, _ = anchor_bias.answer(method, full, target, anchor_bias._nothing)
    found, _ = anchor_bias.answer(method, behind, target, anchor_bias._nothing)
    assert found == pytest.approx(nats, abs=1e-4)


def test_it_measures_every_road(trained, tmp_path):
    base, adapter, data = trained
    args = ["--base", str(base), "--adapter", str(adapter), "--data", str(data)]
    out = tmp_path / "bias.json"
    anchor_bias.main(
        anchor_bias.arguments().parse_args([*args, "--questions", "2", "--json", str(out)])
    )
    report = json.loads(out.read_text("utf-8"))
    assert report["questions"] == 2
    roads = report["roads"]
    assert list(roads) == [
        "full text",
        "kept keys",
        "kept keys, biased",
        "anchors",
        "anchors, biased",
    ]
    for name in ("kept keys", "anchors"):
        assert roads[f"{name}, biased"]["error_of_mass"] < roads[name]["error_of_mass"]


@pytest.fixture
def trained(tiny_folders, tmp_path):
    data = tmp_path / "qa.jsonl"
    rows = [{"context": TEXT * (1 + n), "question": "When?", "answers": ["noon"]} for n in range(2)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return (*tiny_folders, data)
