"""A row of many questions is worth as many prompts: same positions, same sight, same loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from decoder import Reader, new_model
from groups import IGNORE, Groups, lay, packed
from readings import Store, merged
from token_file import Windows
from train_reading import stacked
from who_sees import MASKS, dense, rule

BOS, PAD, SEPARATOR = 1, 0, [9]


class _Pieces:
    """As much of a tokenizer as an untrained model asks for."""

    bos_token_id, eos_token_id, pad_token_id = BOS, 2, PAD

    def __len__(self) -> int:
        return 300


@pytest.fixture(scope="module")
def model():
    return new_model("toy", _Pieces(), seed=0)


def _ids(draw: np.random.Generator, length: int) -> np.ndarray:
    return draw.integers(10, 300, length)


def _group(draw: np.random.Generator, number: int, *, gap: int = 0):
    documents = [_ids(draw, 12), _ids(draw, 9)]
    asked = [(_ids(draw, 5), _ids(draw, 3)), (_ids(draw, 4), _ids(draw, 2))]
    laid = lay(documents, asked, bos=BOS, separator=SEPARATOR, number=number, gap=gap)
    return documents, asked, laid


def test_a_question_among_others_is_answered_as_alone(model):
    draw = np.random.default_rng(0)
    made = [_group(draw, 1), _group(draw, 2)]
    row = packed([laid for _, _, laid in made], width=128, pad=PAD)
    reader = Reader(model, attention="sdpa", compiled=False)
    loss = reader.answer_loss(stacked([row]), most=128)
    alone = []
    for documents, asked, _ in made:
        context = [BOS, *documents[0], *SEPARATOR, *documents[1]]
        for question, answer in asked:
            ids = torch.tensor([[*context, *question, *answer]])
            logits = model(ids).logits[0, -len(answer) - 1 : -1]
            alone.append(
                torch.nn.functional.cross_entropy(logits, ids[0, -len(answer) :], reduction="none")
            )
    torch.testing.assert_close(loss, torch.cat(alone).mean())


def test_a_gap_moves_the_questions_alone():
    near, far = (_group(np.random.default_rng(1), 1, gap=gap)[2] for gap in (0, 40))
    assert (near.ids == far.ids).all()
    assert (far.positions - near.positions == 40 * (near.questions > 0)).all()


def test_both_forms_of_the_mask_say_the_same():
    draw = np.random.default_rng(2)
    rows = [packed([_group(draw, 1)[2], _group(draw, 2)[2]], width=128, pad=PAD) for _ in range(2)]
    batch = stacked(rows)
    seen = dense(batch["groups"], batch["questions"])
    sees = rule(batch["groups"], batch["questions"])
    for row, query, key in draw.integers(0, [2, 128, 128], (500, 3)).tolist():
        assert bool(sees(row, 0, query, key)) == bool(seen[row, 0, query, key])
    blocks = MASKS["flex_attention"](batch["groups"], batch["questions"])
    assert blocks.shape == (2, 1, 128, 128)


def test_flex_attention_gives_the_hidden_states_of_sdpa(model):
    draw = np.random.default_rng(3)
    batch = stacked([packed([_group(draw, 1)[2]], width=128, pad=PAD)])
    with torch.no_grad(), torch.compiler.set_stance("force_eager"):
        states = [
            Reader(model, attention=name, compiled=False).hidden(
                batch["ids"], batch["positions"], make(batch["groups"], batch["questions"])
            )
            for name, make in MASKS.items()
        ]
    real = batch["groups"][0] > 0
    torch.testing.assert_close(states[0][0, real], states[1][0, real], rtol=1e-4, atol=1e-5)


def test_answers_alone_are_taught():
    _, asked, laid = _group(np.random.default_rng(4), 1)
    taught = laid.targets[laid.targets != IGNORE]
    assert taught.tolist() == [token for _, answer in asked for token in answer]


@pytest.fixture
def store() -> Store:
    draw = np.random.default_rng(5)
    ids, contexts, questions, first, place = [], [], [], [0], 0
    for _ in range(30):
        length = int(draw.integers(20, 90))
        contexts.append((place, place + length))
        place += length
        for _ in range(int(draw.integers(1, 5))):
            questions.append((place, place + 6, place + 9))
            place += 9
        first.append(len(questions))
    ids = draw.integers(10, 300, place).astype(np.uint16)
    return Store(
        ids=ids,
        contexts=np.array(contexts),
        questions=np.array(questions),
        first=np.array(first),
    )


def test_rows_are_full_and_their_own(store, tmp_path):
    store.save(tmp_path / "store")
    again = Store.open(tmp_path / "store")
    settings = {"width": 512, "bos": BOS, "pad": PAD, "separator": SEPARATOR, "seed": 7}
    groups = Groups([(store, 1.0)], **settings)
    filled, joined = [], []
    for number in range(20):
        row = groups.row(number)
        same = Groups([(again, 1.0)], **settings).row(number)
        assert len(row) == 512
        assert all((getattr(row, n) == getattr(same, n)).all() for n in ("ids", "targets"))
        assert row.positions.max() < 512
        filled.append((row.groups > 0).mean())
        for group in range(1, row.groups.max() + 1):
            joined.append((row.ids[row.groups == group] == SEPARATOR[0]).any())
    assert np.mean(filled) > 0.8
    assert 0.1 < np.mean(joined) < 0.9  # one document, and several
    assert not (groups.row(0).ids == groups.row(1).ids).all()


def test_a_store_that_was_cut_off_is_not_there(store, tmp_path, monkeypatch):
    """A step asks whether the folder is there: half of one would be read for whole."""
    store.save(tmp_path / "store")
    before = Store.open(tmp_path / "store")
    write, left = np.save, ["ids", "contexts"]

    def full_disk(path, array):
        if not left:
            raise OSError("no space left")
        write(path, array[: len(array) // 2])
        left.pop()

    monkeypatch.setattr(np, "save", full_disk)
    for folder in ("store", "new"):
        left[:] = ["ids", "contexts"]
        with pytest.raises(OSError, match="no space"):
            store.save(tmp_path / folder)
    assert not (tmp_path / "new").exists()
    assert (Store.open(tmp_path / "store").ids == before.ids).all()
    monkeypatch.undo()
    store.save(tmp_path / "new")
    assert (Store.open(tmp_path / "new").questions == before.questions).all()


def test_stores_of_nothing_are_refused():
    with pytest.raises(ValueError, match="check the data folder"):
        merged([None, None])


def test_merged_stores_hold_what_each_held(store):
    both = merged([store, None, store])
    assert len(both) == 2 * len(store)
    for index in range(len(both)):
        assert (both.context(index) == store.context(index % len(store))).all()
        asked, alone = both.asked(index), store.asked(index % len(store))
        assert len(asked) == len(alone)
        assert all(
            (a[0] == b[0]).all() and (a[1] == b[1]).all() for a, b in zip(asked, alone, strict=True)
        )


def test_each_window_comes_once_a_pass_whoever_asks():
    files = [np.arange(1000, dtype=np.uint16), np.arange(1000, 1700, dtype=np.uint16)]
    windows = Windows(files, width=51, seed=3)
    one_pass = [tuple(windows.row(number)) for number in range(len(windows))]
    assert len(set(one_pass)) == len(windows) == 18 + 12
    for row in one_pass:
        assert list(row) == list(range(row[0], row[0] + 51))
    later = Windows(files, width=51, seed=3)
    assert (later.row(17) == one_pass[17]).all()
    second = [tuple(windows.row(len(windows) + number)) for number in range(len(windows))]
    assert second != one_pass
    assert (later.row(len(windows)) == second[0]).all()
