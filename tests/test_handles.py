"""A handle is genuine and whole, or an error; all other text is left alone."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sac_rag.errors import ConfigError, HandleForgeryError, InvalidHandleError
from sac_rag.handles import Handle, contains_handle, issue, sanitize, split

SECRET = b"s" * 32
OPEN = {"secret": SECRET, "namespace": "default"}
KEY = "0123456789abcdef" * 2
HANDLE = issue(**OPEN, key=KEY, num_anchors=102)

KEYS = st.text("0123456789abcdef", min_size=32, max_size=32)
HANDLES = st.builds(
    lambda k, n: issue(**OPEN, key=k, num_anchors=n), KEYS, st.integers(1, 10**9 - 1)
)
PLAIN = st.text(st.characters(exclude_characters="⟦⟧"), max_size=20)
BRACKETS = ("⟦", "⟧", "[", "]", "⟦sac:", "sac:1:", HANDLE)
CRUMBS = ("sac", "SAC", "ſac", "s", "a", "c", "x", ":", "1", " ", "\n", "\u200b", "0" * 16, KEY)
NASTY = st.lists(st.sampled_from(BRACKETS + CRUMBS), max_size=10).map("".join)


@given(parts=st.lists(st.one_of(PLAIN, HANDLES), max_size=6))
def test_the_parts_join_to_the_text(parts: list[str]) -> None:
    text = "".join(parts)
    found = split(text, **OPEN)
    assert "".join(part if isinstance(part, str) else part.text for part in found) == text
    handles = [part for part in found if isinstance(part, Handle)]
    assert [handle.text for handle in handles] == [part for part in parts if "⟦" in part]
    for handle in handles:
        assert issue(**OPEN, key=handle.key, num_anchors=handle.num_anchors) == handle.text
    assert contains_handle(text) == bool(handles)
    assert "" not in found


def test_a_handle_survives_templates_and_is_read_back() -> None:
    text = "Context:\n{}\n\nQuestion: why?".format(HANDLE)  # noqa: UP032 - what templates do
    handle = Handle(key=KEY, num_anchors=102, text=HANDLE)
    assert split(text, **OPEN) == ["Context:\n", handle, "\n\nQuestion: why?"]
    assert split(HANDLE + HANDLE, **OPEN) == [handle, handle]
    assert split(f"⟦{HANDLE}⟧", **OPEN) == ["⟦", handle, "⟧"]


ORDINARY = (
    *("", "plain", "⟦", "⟧", "⟧⟦", "⟦e⟧ = ⟦f⟧", "a:b⟧", "0123⟧", "ends in ⟦", f"{KEY}⟧"),
    *("⟦sacré⟧", "⟦sack: 3⟧", "⟦s⟧", "⟦sac⟧", "sac:1:", "[sac:1:0:0]", "sac: a bag ⟧"),
)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_brackets_are_ordinary_text(text: str) -> None:
    assert split(text, **OPEN) == ([text] if text else [])
    assert not contains_handle(text)
    assert sanitize(text) == text


@given(spot=st.integers(0, len(HANDLE) - 1), letter=st.sampled_from("0123456789abcdefG⟧⟦: \n"))
def test_a_handle_with_another_letter_is_never_taken(spot: int, letter: str) -> None:
    text = HANDLE[:spot] + letter + HANDLE[spot + 1 :]
    if text == HANDLE:
        return
    with pytest.raises(InvalidHandleError):
        split(f"before {text} after", **OPEN)
    assert contains_handle(text)


@pytest.mark.parametrize(
    "other",
    [
        {"secret": b"t" * 32, "namespace": "default"},
        {"secret": SECRET, "namespace": "another tenant"},
        {"secret": SECRET, "namespace": ""},
    ],
)
def test_another_store_or_namespace_refuses_it(other: dict) -> None:
    with pytest.raises(HandleForgeryError, match=r"not issued by this store in namespace"):
        split(HANDLE, **other)


def test_key_and_number_are_both_signed() -> None:
    for wrong in (HANDLE.replace(":102:", ":101:"), HANDLE.replace("0123", "3210", 1)):
        with pytest.raises(HandleForgeryError):
            split(wrong, **OPEN)


def test_a_bar_in_a_namespace_moves_nothing() -> None:
    text = issue(SECRET, namespace="a|b", key=KEY, num_anchors=1)
    assert split(text, secret=SECRET, namespace="a|b")
    for namespace in ("a", "b", "a|b|"):
        with pytest.raises(HandleForgeryError):
            split(text, secret=SECRET, namespace=namespace)


@pytest.mark.parametrize("cut", range(1, len(HANDLE)))
def test_wherever_it_is_cut_somebody_hears_of_it(cut: int) -> None:
    def complaint(text: str) -> str:
        try:
            split(text, **OPEN)
        except InvalidHandleError as error:
            return str(error)
        return ""

    left, right = complaint("text " + HANDLE[:cut]), complaint(HANDLE[cut:] + " text")
    assert left or right
    for said in filter(None, (left, right)):
        assert "chunk overlap" in said
        assert "prompt_helper()" in said
    assert bool(left) == (cut > 1)
    assert bool(right) == (cut <= len(HANDLE) - len(":0123456789abcdef⟧"))
    assert complaint(HANDLE[:5] + "\nmore text")


RESEMBLING = (
    *("⟦SAC:1:ab⟧", "⟦ sac : 1 :⟧", "sac:1:00ff⟧", "⟦sac:1:" + KEY.upper(), HANDLE.upper()),
    *("⟦sac:2:" + HANDLE[7:], HANDLE.replace(":102:", ":0:"), HANDLE[:20] + "\n" + HANDLE[20:]),
)


@pytest.mark.parametrize("text", RESEMBLING)
def test_what_only_resembles_a_handle_is_an_error(text: str) -> None:
    with pytest.raises(InvalidHandleError):
        split(text, **OPEN)


@settings(max_examples=300)
@example("⟦sac:1:abc⟧")
@example("⟦sac::" + "0" * 16 + "⟧")
@given(text=st.one_of(NASTY, st.text(), HANDLES))
def test_sanitised_text_is_plain_text(text: str) -> None:
    safe = sanitize(text)
    assert split(safe, **OPEN) == ([safe] if safe else [])
    assert not contains_handle(safe)
    assert sanitize(safe) == safe
    assert len(safe) == len(text)
    changed = {(a, b) for a, b in zip(text, safe, strict=True) if a != b}
    assert changed <= {("⟦", "["), ("⟧", "]")}
    if not contains_handle(text):
        assert safe == text


@pytest.mark.parametrize(
    ("key", "num_anchors"), [("", 1), (KEY.upper(), 1), (KEY, 0), (KEY, -1), (KEY, 10**9)]
)
def test_what_cannot_stand_in_a_handle_is_refused(key: str, num_anchors: int) -> None:
    with pytest.raises(ConfigError, match="a key is 32 hex digits"):
        issue(**OPEN, key=key, num_anchors=num_anchors)


def test_long_hostile_texts_are_no_trap() -> None:
    for piece in ("⟦ ", "sac:", "sac:1:", ":0", "⟦sac", "sac : 1 ", ": ", "⟦sac:0", " "):
        for text in (piece * 50_000, "⟦sac:1:" + piece * 50_000, piece * 50_000 + "⟧"):
            assert not contains_handle(sanitize(text))  # quadratic search would take minutes
