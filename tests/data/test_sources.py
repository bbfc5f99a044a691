"""Generated records come from their seed; a dataset is read as its files are."""

from __future__ import annotations

import json
import os

import pytest

from sac_rag.data import HubSource, read_qa, read_texts
from sac_rag.errors import DataError


def test_the_same_seed_gives_the_same_records():
    address = "synthetic://qa?records=20&facts=3&seed={}"
    first, again = (list(read_qa(address.format(1))) for _ in range(2))
    assert first == again != list(read_qa(address.format(2)))
    assert len(first) == 20


def test_a_generated_answer_stands_in_its_document():
    for record in read_qa("synthetic://qa?records=50&facts=4"):
        name = record.question.removeprefix("What is the colour of ").removesuffix("?")
        assert f"The colour of {name} is {record.answers[0]}." in record.documents[0].text
        assert record.documents[0].text.count(f" {name} ") == 1


def test_the_second_half_of_a_generated_text_says_what_the_first_said():
    for record in read_texts("synthetic://text?records=20&facts=5"):
        facts = record.text.rstrip(".").split(". ")
        assert sorted(facts[:5]) == sorted(facts[5:])


@pytest.mark.parametrize("settings", ["records=0", "records=x", "fact=3", "seed=1&seed=2", "seed"])
def test_a_wrong_setting_is_refused(settings):
    with pytest.raises(DataError):
        list(read_qa(f"synthetic://qa?{settings}"))


def test_a_wrong_name_is_answered_with_the_nearest():
    with pytest.raises(DataError, match="did you mean 'facts'"):
        list(read_qa("synthetic://qa?fact=3"))


def test_a_dataset_gives_what_its_file_gives(tmp_path):
    records = [{"context": f"c{n}", "question": "?", "answers": ["a"]} for n in range(5)]
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records))
    streamed = list(read_qa([HubSource(path=str(tmp_path), split="train")]))
    read = list(read_qa(path))
    assert [one.documents for one in streamed] == [one.documents for one in read]
    assert [one.answers for one in streamed] == [one.answers for one in read]


def test_a_dataset_without_the_split_is_refused(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"text": "a"}\n')
    with pytest.raises(DataError, match="check the name, split"):
        list(read_texts([HubSource(path=str(tmp_path), split="dev")]))


ONLINE = pytest.mark.skipif(
    os.environ.get("SAC_RAG_NETWORK") != "1",
    reason="downloads from the hub; set SAC_RAG_NETWORK=1 HF_HUB_OFFLINE=0 to run it",
)


@ONLINE
@pytest.mark.network
@pytest.mark.parametrize(
    "address",
    [
        "hub://mrqa-workshop/mrqa?split=validation",
        "hub://ccdv/govreport-summarization?split=test",
        "hub://zai-org/LongBench?split=test&data_dir=qmsum&revision=refs/convert/parquet",
    ],
)
def test_questions_come_from_the_hub(address):
    record = next(read_qa(address))
    assert record.answers
    assert record.documents[0].text


@ONLINE
@pytest.mark.network
def test_texts_come_from_the_hub():
    assert next(read_texts("hub://DKYoon/SlimPajama-6B?split=train")).text
