"""Where anchors are kept between questions, in memory or in a folder, by the hash of their text."""

from sac_rag.store.anchors import AnchorStore
from sac_rag.store.base import ByteStore, EntryStat
from sac_rag.store.directory import DirectoryByteStore
from sac_rag.store.memory import MemoryByteStore
from sac_rag.store.opening import open_store
from sac_rag.store.records import EntryCheck, GCReport, StoredText, StoreEntry, StoreStats

__all__ = [
    "AnchorStore",
    "ByteStore",
    "DirectoryByteStore",
    "EntryCheck",
    "EntryStat",
    "GCReport",
    "MemoryByteStore",
    "StoreEntry",
    "StoreStats",
    "StoredText",
    "open_store",
]
