"""The plan by hand-calculated examples."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sac_rag.bench.measured import read_bench
from sac_rag.bench.plan import Corpus, Speeds, chunk_costs, make_plan, retrievals_until
from sac_rag.bench.run import run_bench
from sac_rag.errors import ConfigError, DataError, InputFileError

CORPUS = Corpus(
    tokens=5_100_000,
    ratio=5,
    anchor_bytes=8192,
    token_bytes=32_768,
    chunk_tokens=510,
    chunks_per_query=8,
    retrievals=10,
)
SPEEDS = Speeds(
    encode_tokens_per_s=1020, prefill_tokens_per_s=510, load_bytes_per_s=1e9, question_s=0.1
)


def test_a_plan_by_hand():
    """10,000 chunks; encoding takes 0.5 s each, reading 1 s, loading 0.8 and 16.7 ms."""
    plan = make_plan(CORPUS, SPEEDS)
    load, load_full = 102 * 8192 / 1e9, 510 * 32_768 / 1e9
    assert plan.anchors == 1_020_000
    assert plan.anchor_store_bytes == 1_020_000 * 8192
    assert plan.full_kv_bytes == 5_100_000 * 32_768
    assert plan.times_smaller == 20
    assert plan.encode_hours == pytest.approx(5000 / 3600)
    assert plan.first_token_s == pytest.approx(8 * load + 0.1)
    assert plan.first_token_text_s == pytest.approx(8.1)
    assert plan.first_token_full_kv_s == pytest.approx(8 * load_full + 0.1)
    # 0.5 + r 0.0008 < r 1 at once, and half the price of one reading
    assert plan.pays_over_text_after == 1
    assert plan.pays_over_full_kv_after == 1
    assert plan.compute_hours == pytest.approx(10_000 * (0.5 + 10 * load) / 3600)
    assert plan.compute_hours_text == pytest.approx(10_000 * 10 / 3600)
    assert plan.compute_hours_full_kv == pytest.approx(10_000 * (1 + 10 * load_full) / 3600)


def test_a_slow_encoder_pays_later():
    """Encoding 10 s, reading 1 s, loading 0.5 s: 10 + r / 2 < r from the 21st on."""
    speeds = replace(SPEEDS, encode_tokens_per_s=51, load_bytes_per_s=102 * 8192 / 0.5)
    costs = chunk_costs(CORPUS, speeds)
    assert (costs.encode_s, costs.load_s, costs.read_s) == pytest.approx((10, 0.5, 1))
    assert make_plan(CORPUS, speeds).pays_over_text_after == 21
    # full keys and values: 1 + 10 r; 10 + r / 2 is below from r = 18 / 19 on
    assert costs.load_full_s == pytest.approx(10)
    assert make_plan(CORPUS, speeds).pays_over_full_kv_after == 1


def test_a_load_that_is_slower_than_reading_never_pays():
    speeds = replace(SPEEDS, load_bytes_per_s=102 * 8192 / 2.0)
    assert make_plan(CORPUS, speeds).pays_over_text_after is None


@pytest.mark.parametrize(
    ("costs", "wanted"),
    [
        ((4, 1, 0, 2), 5),
        ((4, 0, 0, 1), 5),
        ((3.5, 1, 0, 2), 4),
        ((0, 1, 5, 1), 1),
        ((5, 1, 5, 1), None),
        ((0, 3, 10, 2), None),
    ],
)
def test_break_even(costs, wanted):
    found = retrievals_until(*costs)
    assert found == wanted
    once, each, other_once, other_each = costs
    for r in range(1, 50):
        ahead = once + r * each < other_once + r * other_each
        if wanted is not None:
            assert ahead == (r >= wanted)


def test_workers_share_the_encoding_and_nothing_else():
    one, four = (make_plan(replace(CORPUS, workers=n), SPEEDS) for n in (1, 4))
    assert four.encode_hours == pytest.approx(one.encode_hours / 4)
    assert replace(four, encode_hours=one.encode_hours) == one


def test_numbers_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match="load_bytes_per_s"):
        replace(SPEEDS, load_bytes_per_s=0)
    with pytest.raises(ConfigError, match="tokens"):
        replace(CORPUS, tokens=0)


@pytest.fixture(scope="module")
def bench_file(subject, small, tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "bench.json"
    report = run_bench(["encoder", "first-token", "store"], subject, small)
    path.write_text(json.dumps(report.to_json()))
    return path


def test_speeds_come_from_the_bench(bench_file, subject):
    report = json.loads(bench_file.read_text())
    rows = {section["name"]: section["rows"] for section in report["sections"]}
    measured = read_bench(bench_file, context=110)
    assert measured.context == 120
    [read] = [
        row
        for row in rows["encoder"]
        if row["contender"] == "plain prefill" and row["at"]["context"] == 120
    ]
    assert measured.speeds["prefill_tokens_per_s"] == read["figures"]["tokens_per_s"]
    [stored] = [row for row in rows["store"] if row["contender"] == "anchors on disk"]
    assert measured.anchor_bytes == 5 * stored["figures"]["bytes_per_source_token"]
    # headers apart, an anchor on disk is its keys and values
    assert measured.anchor_bytes > subject.token_bytes
    made = make_plan(CORPUS, Speeds(**measured.speeds))
    assert made.encode_hours > 0


def test_files_that_are_no_bench_are_refused(tmp_path):
    with pytest.raises(InputFileError, match="sac-rag bench"):
        read_bench(tmp_path / "none.json", context=1)
    (tmp_path / "other.json").write_text('{"format": 99}')
    with pytest.raises(DataError, match="format"):
        read_bench(tmp_path / "other.json", context=1)
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(DataError, match="JSON"):
        read_bench(tmp_path / "broken.json", context=1)
