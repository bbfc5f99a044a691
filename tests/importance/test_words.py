"""Words lie in their text, in order, whatever its length, and are those of LLMLingua-2."""

from __future__ import annotations

import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sac_rag.errors import ConfigError, MissingDependencyError, ModelNotFoundError
from sac_rag.importance import KeepClassifier
from sac_rag.importance.words import Piece, cut_windows
from tests.tiny_classifier import write_classifier

TEXT = "The mill has a wheel, and the river (is) long.\nDon't the milling stop? 3.5 of them."


def spelled(words, text):
    return [text[word.start : word.end] for word in words]


def test_words_are_those_of_a_reader(classifier):
    assert spelled(classifier.words(TEXT), TEXT) == [
        *["The", "mill", "has", "a", "wheel", ",", "and", "the", "river", "(is", ")", "long"],
        *[".", "Don", "'t", "the", "milling", "stop", "?", "3", ".5", "of", "them", "."],
    ]


@settings(max_examples=25, deadline=None)
@given(st.text(alphabet="ab é猫.?(\n\t\U0001f600", max_size=40))
def test_words_lie_in_their_text_in_order(classifier, text):
    words = classifier.words(text)
    ends = [0, *(word.end for word in words)]
    assert all(word.start >= end for word, end in zip(words, ends, strict=False))
    assert all(0 < word.keep < 1 for word in words)
    assert "".join(spelled(words, text)) == "".join(text.split())


def test_a_long_text_is_cut_at_sentences_and_loses_nothing(classifier):
    text = "the mill has a wheel. the river is long " * 150
    words = classifier.words(text)
    assert "".join(spelled(words, text)) == "".join(text.split())
    lasts = [a for a, b in pairwise(words) if a.window != b.window]
    assert len(lasts) > 1
    assert {text[word.start : word.end] for word in lasts} == {"."}
    # the first window alone says the same of its words
    first = [word for word in words if word.window == 0]
    alone = classifier.words(text[: first[-1].end])
    assert [word.keep for word in alone] == pytest.approx([word.keep for word in first], abs=1e-6)


def test_a_word_longer_than_a_window_is_cut(classifier):
    text = "x" * 1200
    assert "".join(spelled(classifier.words(text), text)) == text


def test_windows_hold_no_more_than_their_room():
    text = "ab cd ef gh ij"
    pieces = [Piece(id=n, part=n, start=3 * n, end=3 * n + 2) for n in range(5)]
    assert list(cut_windows(text, pieces, room=2)) == [(0, 2), (2, 4), (4, 5)]
    assert list(cut_windows(text, [], room=2)) == []


def test_the_package_keeps_the_same_words(classifier, classifier_folder, monkeypatch):
    """Where ``llmlingua`` is installed: what it keeps scores higher than what it drops."""
    llmlingua = pytest.importorskip("llmlingua", reason="llmlingua is not installed")
    letters = type("Letters", (), {"encode": staticmethod(list)})
    # it fetches GPT-3.5's encoding, to count with, and opens XLM-R's texts with BERT's [CLS]
    monkeypatch.setattr("tiktoken.encoding_for_model", lambda name: letters)
    dataset = llmlingua.prompt_compressor.TokenClfDataset
    monkeypatch.setattr(dataset.__init__, "__defaults__", (512, None, "xlm-roberta-large"))
    theirs = llmlingua.PromptCompressor(
        str(classifier_folder), use_llmlingua2=True, device_map="cpu"
    )
    text = TEXT.replace("\n", " ") * 3
    told = theirs.compress_prompt(text, rate=0.4, return_word_label=True)
    labels = [one.split(" ") for one in told["fn_labeled_original_prompt"].split("\t\t|\t\t")]
    labels = [(word, int(kept)) for word, kept in labels if word]  # it has words of no letters
    words = classifier.words(text)
    assert [word for word, _ in labels] == spelled(words, text)
    scores = {True: [], False: []}
    for word, (_, kept) in zip(words, labels, strict=True):
        scores[bool(kept)].append(word.keep)
    assert min(scores[True]) >= max(scores[False])


def test_what_is_no_classifier_is_refused(tmp_path, tiny_folders):
    with pytest.raises(ModelNotFoundError, match="no token classifier"):
        KeepClassifier.from_pretrained(tmp_path / "none")
    with pytest.raises(ConfigError, match="has 3 labels"):
        KeepClassifier.from_pretrained(write_classifier(tmp_path / "three", num_labels=3))


def test_a_missing_extra_is_named_with_its_command(tmp_path, monkeypatch):
    folder = write_classifier(tmp_path / "bare")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    (folder / "sentencepiece.bpe.model").write_bytes(b"as XLM-R's was published at first")
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'sac-rag\[llmlingua\]'"):
        KeepClassifier.from_pretrained(folder)


def test_a_missing_tokenizer_is_told_as_such(tmp_path):
    folder = write_classifier(tmp_path / "bare")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ConfigError, match="its files are missing"):
        KeepClassifier.from_pretrained(folder)
