"""What a store tells of its entries."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from sac_rag.codecs.names import EXACT
from sac_rag.errors import CorruptEntryError


@dataclass(frozen=True, kw_only=True)
class StoredText:
    """The text that an entry was made from, kept so that its anchors can be made again."""

    text: str
    title: str | None = None
    question: str | None = None
    """What the anchors were made for, if they serve one question alone."""

    def to_bytes(self) -> bytes:
        """Write the text as JSON."""
        asked = {} if self.question is None else {"question": self.question}
        return json.dumps({"title": self.title, "text": self.text, **asked}).encode()

    @classmethod
    def from_bytes(cls, blob: bytes) -> StoredText:
        """Read what ``to_bytes`` wrote.

        Raises:
            CorruptEntryError: If it is something else.
        """
        try:
            note = json.loads(blob)
            return cls(text=note["text"], title=note["title"], question=note.get("question"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptEntryError(
                f"a stored text of {len(blob):,} bytes cannot be read ({error!r}); delete the "
                "entry and compress the text again"
            ) from error


@dataclass(frozen=True, kw_only=True)
class StoreEntry:
    """One entry as a listing shows it, known without loading a tensor."""

    key: str
    """32 hex digits."""
    anchor_bytes: int
    """Taken by its anchors, 0 if they were evicted."""
    text_bytes: int
    """Taken by its text, 0 if it was not kept."""
    last_used_s: float
    """In seconds since 1970."""
    num_tokens: int | None
    """Of the text; None if the anchors are not there, or cannot be read."""
    num_anchors: int | None
    """None if they are not there, or cannot be read."""
    fingerprint: str | None
    """Of the compressor; None if the anchors are not there, or cannot be read."""
    codec: str | None = None
    """How the anchors are written; None if they are not there, or cannot be read."""

    @property
    def nbytes(self) -> int:
        """Bytes that anchors and text take."""
        return self.anchor_bytes + self.text_bytes


@dataclass(frozen=True, kw_only=True)
class EntryCheck:
    """The outcome of reading one stored piece in full."""

    key: str
    """32 hex digits."""
    part: str
    """``anchors`` or ``text``."""
    nbytes: int
    """Bytes that the piece takes."""
    error: str | None
    """What is wrong with it; None if nothing is."""


@dataclass(frozen=True, kw_only=True)
class StoreStats:
    """How much a store holds, and how often it was asked since it was opened."""

    entries: int
    """With anchors."""
    texts: int
    """Kept texts, those without anchors included."""
    nbytes: int
    hits: int
    misses: int
    corrupt: int
    """Times that a damaged entry was asked for; none of them was served."""
    lossy: int = 0
    """Of the hits, those whose anchors a lossy codec had written."""
    coarse: int = 0
    """Of the misses, those where an entry was there that a lossier codec had written."""


@dataclass(frozen=True, kw_only=True)
class GCReport:
    """What a clean-up removed."""

    anchors: int
    texts: int
    freed_bytes: int
    leftovers: int
    """Temporary files of killed writers."""


@dataclass(frozen=True, kw_only=True)
class AnchorHead:
    """What the first bytes of anchors tell."""

    num_tokens: int
    num_anchors: int
    fingerprint: str
    codec: str
    bits: float
    """Kept of each number; infinite if nothing was lost."""


def anchor_head(head: bytes) -> AnchorHead | None:
    """Read the first bytes of anchors, unchecked; None if they are not enough.

    Args:
        head: Begins as ``Encoded.to_bytes`` does: the length of a JSON header, and it.
    """
    length = int.from_bytes(head[:8], "little")
    try:
        header = json.loads(head[8 : 8 + length])
        note = json.loads(header["__metadata__"]["sac_rag"])
        codec = note.get("codec", {"name": EXACT, "bits": math.inf})
        exact = "codec" not in note
        return AnchorHead(
            num_tokens=int(note["num_tokens"]),
            num_anchors=header["positions"]["shape"][0] if exact else int(note["num_anchors"]),
            fingerprint=str(note["fingerprint"]),
            codec=str(codec["name"]),
            bits=float(codec["bits"]),
        )
    except (ValueError, KeyError, TypeError, IndexError):
        return None
