"""Laws of counting and packing: what is packed fits, each handle goes once and whole."""

from __future__ import annotations

import pickle

import llama_index.core
import pytest
from llama_index.core import Settings
from llama_index.core.prompts import PromptTemplate
from llama_index.llms.sac import SACLLM
from llama_index.llms.sac.counting import HANDLE, position_tokenizer

from sac_rag import Document, SACEngine
from sac_rag.errors import ContextOverflowError
from sac_rag.handles import issue
from sac_rag.layout import max_tokens_of_anchors, num_anchors_of_text
from sac_rag.store.anchors import ANCHORS, TEXT
from tests.integrations.llama_index.conftest import TEXTS


def test_a_handle_is_recognised_by_its_looks():
    for num_anchors in (1, 64, 999_999_999):
        text = issue(b"0" * 32, namespace="a", key="0f" * 16, num_anchors=num_anchors)
        found = HANDLE.fullmatch(text)
        assert (found["key"], found["anchors"]) == ("0f" * 16, str(num_anchors))


def test_a_handle_counts_as_its_anchors(llm, handles, shared_engine):
    count = llm.tokenizer_fn
    text = f"Before {handles[0]}\n\n{handles[1]} after <|eos|>"
    assert len(count(text)) == shared_engine.count_tokens(text)
    assert len(count(handles[0])) == shared_engine.count_anchors(TEXTS[0])
    assert count("plain") == shared_engine.tokens.encode("plain")


def test_pieces_of_handles_can_be_counted(llm, handles):
    assert len(llm.tokenizer_fn(handles[0][:20])) > 0


def test_the_tokenizer_can_be_pickled(llm, handles):
    again = pickle.loads(pickle.dumps(llm.tokenizer_fn))
    text = f"{handles[0]} and text"
    assert again(text) == llm.tokenizer_fn(text)


@pytest.mark.parametrize("ratio", [1, 2, 5, 15, 51])
@pytest.mark.parametrize("chunk_size", [51, 510])
def test_the_bound_on_tokens_behind_anchors_holds_and_is_reached(ratio, chunk_size):
    largest: dict[int, int] = {}
    for num_tokens in range(1, 3 * chunk_size + 1):
        count = num_anchors_of_text(num_tokens, ratio=ratio, chunk_size=chunk_size)
        largest[count] = num_tokens
    for count, num_tokens in largest.items():
        bound = max_tokens_of_anchors(count, ratio=ratio, chunk_size=chunk_size)
        assert num_tokens <= bound
        assert num_tokens == bound or count == max(largest)


def test_positions_of_a_handle_cover_its_source_tokens(shared_engine):
    count = position_tokenizer(shared_engine)
    for length in (1, 7, 300, 700, 1200):
        text = "x" * length
        [handle] = shared_engine.issue([text])
        source_tokens = shared_engine.compress(text).num_tokens
        assert source_tokens <= len(count(handle.text)) < source_tokens + shared_engine.ratio


@pytest.fixture
def any_ratio(any_ratio_folders):
    """An engine at ratio 5 that serves 15 and 51 too."""
    base, adapter = any_ratio_folders
    with SACEngine.from_pretrained(base, adapter=adapter) as engine:
        yield engine


def test_a_handle_counts_the_positions_of_its_own_ratio(any_ratio):
    texts = ["x" * length for length in (1, 7, 300, 700, 1200)]
    wanted = [any_ratio.count_positions(text) for text in texts]
    counts = []
    for ratio in any_ratio.ratios:
        handles = any_ratio.issue([Document(text=text, ratio=ratio) for text in texts])
        count = position_tokenizer(any_ratio)
        counts.append([len(count(one.text)) for one in handles])
        any_ratio.store.backend.mdelete([ANCHORS + one.key for one in handles])
        count = position_tokenizer(any_ratio)
        counts.append([len(count(one.text)) for one in handles])  # from the kept texts
    assert counts == [wanted] * 6
    any_ratio.store.backend.mdelete([TEXT + one.key for one in handles])
    bounds = [len(position_tokenizer(any_ratio)(one.text)) for one in handles]
    assert all(bound >= exact for bound, exact in zip(bounds, wanted, strict=True))
    assert any_ratio.count_positions(any_ratio.compress(texts[3])) == wanted[3]


def test_handles_of_several_ratios_are_packed_into_what_fits(any_ratio):
    llm = SACLLM.from_engine(any_ratio, max_new_tokens=8)
    texts = [f"Document {i}. " + "x" * 900 for i in range(12)]
    ratios = [any_ratio.ratios[i % 3] for i in range(12)]
    handles = [
        handle.text
        for handle in any_ratio.issue(
            [Document(text=text, ratio=ratio) for text, ratio in zip(texts, ratios, strict=True)]
        )
    ]
    packed = llm.prompt_helper().repack(PromptTemplate("{context_str}\nWhy?"), handles, llm=llm)
    assert [match[0] for text in packed for match in HANDLE.finditer(text)] == handles
    assert len(packed) == 3  # as many as their texts' lengths allow, four in a window
    for text in packed:
        llm.complete(f"{text}\nWhy?")  # fits the window


def test_the_prompt_helper_packs_a_hundred_handles_each_once(llm, shared_engine):
    texts = [f"Document {i} says that town {i} has {i} wells." for i in range(100)]
    handles = [handle.text for handle in shared_engine.issue(texts)]
    packed = llm.prompt_helper().repack(PromptTemplate("{context_str}\nWhy?"), handles, llm=llm)
    found = [match[0] for text in packed for match in HANDLE.finditer(text)]
    assert found == handles
    assert 1 < len(packed) < 5
    for text in packed:
        llm.complete(f"{text}\nWhy?")  # fits the window


def test_nothing_overlaps(llm):
    assert llm.prompt_helper().chunk_overlap_ratio == 0


def test_a_limit_on_context_is_kept(llm, handles):
    helper = llm.prompt_helper(chunk_size_limit=100)
    packed = helper.repack(PromptTemplate("{context_str}\nWhy?"), handles, llm=llm)
    assert packed == handles


def test_a_document_over_the_window_is_refused_whole(llm, shared_engine):
    [handle] = shared_engine.issue(["x" * 5000])
    with pytest.raises(ContextOverflowError, match="split documents smaller") as caught:
        llm.prompt_helper().repack(PromptTemplate("{context_str}\nWhy?"), [handle.text], llm=llm)
    assert caught.value.requested > 5000 > 4096 > caught.value.available


def test_settings_are_set_and_come_back(llm):
    before = (Settings._llm, llama_index.core.global_tokenizer, Settings._prompt_helper)
    with llm.configure_settings():
        assert Settings.llm is llm
        assert Settings.tokenizer("abc") == llm.tokenizer_fn("abc")
        assert Settings.prompt_helper.chunk_overlap_ratio == 0
    after = (Settings._llm, llama_index.core.global_tokenizer, Settings._prompt_helper)
    assert all(one is other for one, other in zip(before, after, strict=True))


def test_settings_can_be_set_for_good_and_restored(llm):
    before = Settings._llm
    guard = llm.configure_settings()
    assert Settings.llm is llm
    guard.restore()
    assert Settings._llm is before


def test_settings_come_back_after_an_error(llm):
    before = Settings._llm
    with pytest.raises(RuntimeError, match="midway"), llm.configure_settings():
        raise RuntimeError("midway")
    assert Settings._llm is before
