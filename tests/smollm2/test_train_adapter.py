"""The training of a pretrained decoder's adapter, on a tiny one: its loss is the library's."""

from __future__ import annotations

import argparse
import itertools
import json
from collections import Counter

import kept_bytes
import pytest
import reads
import torch
import train_adapter
import train_reader
import train_sac
from joined import loss_among
from qa_batches import BUCKETS, IGNORE, QUESTIONS, Mix, batches, read_texts
from reader import Reader
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from sac_rag import SACEngine
from sac_rag.data import read_qa
from sac_rag.data.samples import QASettings, qa_samples
from sac_rag.tokens import Tokens
from sac_rag.train.objectives import behind_anchors, compress_samples, target_logits
from sac_rag.train.samples import Sample
from tests.tiny import byte_tokenizer, tiny_config, tiny_model


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    # as SmolLM2 and the fast layers have it: this epsilon, one matrix for both ends
    tiny_model(tiny_config(rms_norm_eps=1e-5, tie_word_embeddings=True)).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Ten short texts, of which one has more questions than a batch shows and one is too long."""
    rows = [
        {"context": f"Text {n} says {n * 7}.", "question": f"Q{q}?", "answers": [f"{n}{q}"]}
        for n in range(10)
        for q in range(1 + 5 * (n == 3))
    ]
    rows.append({"context": "long " * 600, "question": "Why?", "answers": ["so"]})
    rows.append({"context": "Text 0 says 0.", "question": "long " * 60, "answers": ["so"]})
    path = tmp_path_factory.mktemp("data") / "qa.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def told(base, data, folder, *, out, steps):
    """What a training is told on its command line."""
    return argparse.Namespace(
        base=base,
        data=[str(data)],
        work=folder / "work",
        out=folder / out,
        start=None,
        ratio=5,
        minutes=60.0,
        steps=steps,
        lr=1e-3,
        full_every=3,
        joined=0.5,
        far=0.5,
        seed=1,
        tiny=True,
    )


def test_questions_about_one_text_stand_together(base, data):
    texts = read_texts([str(data)], Tokens.from_pretrained(base))
    assert sorted(len(text.asked) for text in texts) == [1] * 9 + [6]
    [batch] = itertools.islice(batches(texts, seed=0), 1)
    assert batch.questions.shape[:2] == (BUCKETS[128], QUESTIONS)
    shown = (batch.labels != IGNORE).any(-1).sum(-1)
    assert set(shown.tolist()) == {1, QUESTIONS}


def test_all_texts_come_before_one_comes_again(base, data):
    texts = read_texts([str(data)], Tokens.from_pretrained(base))
    drawn = itertools.islice(batches(texts, seed=0), 5)
    seen = Counter(tuple(ids) for batch in drawn for [ids] in batch.documents)
    assert set(seen.values()) == {5 * BUCKETS[128] // len(texts)}


@pytest.mark.parametrize("mix", [Mix(), Mix(joined=0.8, far=0.5)])
def test_its_loss_is_the_librarys(base, data, mix):
    adapter = train_sac.new_adapter(base)
    for name, weight in adapter.backbone.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2)
    tokens = Tokens.from_pretrained(base)
    texts = read_texts([str(data)], tokens)
    [batch] = itertools.islice(batches(texts, seed=0, mix=mix), 1)
    # alone, or one to all of the others beside it, some far from their questions
    assert {len(one) > 1 for one in batch.joined} == ({False} if mix == Mix() else {False, True})
    assert set((batch.gap > 0).tolist()) == ({False} if mix == Mix() else {False, True})
    reader = Reader(adapter.backbone.config, compiled=False)
    weights = train_sac.Weights(adapter, dtype=torch.float32)
    loss, _ = loss_among(reader, weights, batch, adapter.config.compress)
    by_key = {
        (tuple(row["context_ids"][0]), tuple(row["question_ids"])): row["answer_ids"]
        for row in qa_samples(
            read_qa(str(data)), tokens=tokens, settings=QASettings(), left_out=Counter()
        )
    }
    logits, wanted = [], []
    with torch.no_grad():
        for row, [context] in enumerate(batch.documents):
            for place in range(QUESTIONS):
                answered = (batch.labels[row, place] != IGNORE).nonzero().flatten().tolist()
                if not answered:
                    continue
                question = batch.questions[row, place, : answered[0] + 1].tolist()
                answer = by_key[tuple(context), tuple(question)]
                documents = [batch.documents[text][0] for text in batch.joined[row]]
                gap = int(batch.gap[row])
                sample = Sample(documents=documents, prompt=question, target=answer, gap=gap)
                anchors = compress_samples(adapter.method, [sample])
                task = adapter.method.task_embedding("LM")
                prompts = behind_anchors([sample], anchors, task_embedding=task)
                logits.append(target_logits(adapter.method, prompts, width=len(answer))[0])
                wanted.append(torch.tensor(answer))
        expected = cross_entropy(torch.cat(logits).float(), torch.cat(wanted))
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-3, atol=1e-4)


def test_it_trains_goes_on_and_writes_an_adapter_that_the_library_opens(base, data, tmp_path):
    args = told(base, data, tmp_path, out="sac-5x", steps=2)
    train_adapter.main(args)
    first = (args.out / "adapter_model.safetensors").read_bytes()
    args.steps = 3
    train_adapter.main(args)
    assert (args.out / "adapter_model.safetensors").read_bytes() != first
    state = torch.load(args.work / "state.pt", weights_only=True)
    assert state["counts"][0] == 3  # the first two were not done again
    with SACEngine.from_pretrained(str(base), adapter=str(args.out)) as engine:
        answer = engine.answer("Q0?", ["Text 1 says 7."], max_new_tokens=4)
        assert answer.usage.anchors == engine.count_anchors("Text 1 says 7.")


def test_a_decoder_taught_to_read_is_the_one_that_was_trained(base, data, tmp_path):
    args = told(base, data, tmp_path, out="made", steps=4)
    train_reader.main(args)
    run = train_reader.ReadingRun(args)
    run.load()
    assert run.step == 4
    before = train_sac.Weights(run.adapter, dtype=torch.float32).decoder
    trained = train_sac.merged(before, run.pairs)
    made = AutoModelForCausalLM.from_pretrained(args.out / "base", dtype=torch.float32)
    for name, weight in made.named_parameters():
        # halves and sums are kept in bfloat16
        torch.testing.assert_close(weight, trained[name], rtol=2**-7, atol=1e-4)
        assert torch.equal(weight, before[name].bfloat16().float()) == (name not in run.pairs)
    with SACEngine.from_pretrained(
        str(args.out / "base"), adapter=str(args.out / "sac-5x")
    ) as engine:
        answer = engine.answer("Q0?", ["Text 1 says 7."], max_new_tokens=4)
        assert answer.usage.anchors == engine.count_anchors("Text 1 says 7.")


def test_a_decoder_that_learns_in_full_leaves_the_adapter_as_it_was(base, data, tmp_path):
    args = told(base, data, tmp_path, out="made", steps=2)
    args.full_every = 1
    run = train_reader.ReadingRun(args)
    before = [weight.detach().clone() for weight in run.weights.matrices]
    halves = [half.detach().clone() for pair in run.pairs.values() for half in pair]
    run.train_step(0.5, stopping=False)
    assert all(map(torch.equal, before, run.weights.matrices))
    assert not all(map(torch.equal, halves, [half for pair in run.pairs.values() for half in pair]))


def test_whether_anchors_are_read_is_told_at_every_ratio_of_the_ladder(base, data, tmp_path):
    adapter = train_sac.new_adapter(base, rank=train_adapter.RANK)
    adapter.save_pretrained(tmp_path)
    words = ["--base", str(base), "--adapter", str(tmp_path), "--data", str(data), "--batches", "2"]
    found = reads.measure(reads.arguments().parse_args(words))
    assert list(found) == [
        f"{ratio}x, {name}" for ratio in (1, 2, 3, 5) for name in ("its text", "another text")
    ]
    for one in found.values():
        assert one["batches"] == 2
        assert one["nats_a_token"] > 0
    # another text's anchors are other anchors
    assert found["1x, its text"]["nats_a_token"] != found["1x, another text"]["nats_a_token"]


def test_codecs_are_compared_on_question_files(base, data, tmp_path, capsys):
    adapter = train_sac.new_adapter(base, rank=train_adapter.RANK)
    adapter.save_pretrained(tmp_path / "sac-5x")
    words = ["--base", str(base), "--adapter", str(tmp_path / "sac-5x"), "--data", str(data)]
    out = tmp_path / "bytes.json"
    words += ["--questions", "6", "--bits", "2", "--out", str(out)]
    kept_bytes.main(kept_bytes.arguments().parse_args(words))
    points = json.loads(out.read_text())
    assert [one["codec"] for one in points] == ["exact", "int8", "int4", "pca 2"]
    assert {one["asked"] for one in points} == {6}
    sizes = [one["payload_bytes"] for one in points]
    assert sizes == sorted(sizes, reverse=True)
    assert "| int4 |" in capsys.readouterr().out
