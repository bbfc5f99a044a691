"""One context and its question on every road: anchors in memory and on disk, text, full KV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from sac_rag.anchor_cache import AnchorCache
from sac_rag.bench.full_kv import FullKV
from sac_rag.bench.plain import PlainModel
from sac_rag.bench.settings import Settings
from sac_rag.bench.shapes import Subject
from sac_rag.engine import SACEngine
from sac_rag.engine.requests import Document, Request


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """Documents that are stored already, and a question about them."""

    subject: Subject
    texts: list[str]
    question: str
    num_tokens: int
    """Of all documents, as the encoder reads them."""
    memory: SACEngine
    """With the anchors in a store in memory."""
    disk: SACEngine
    """With the anchors in a folder."""
    folder: Path
    """That folder."""
    full_memory: FullKV
    full_disk: FullKV
    names: list[str]
    """Of the documents' full caches."""

    def request(self, engine: SACEngine, *, compress: bool = True) -> Request:
        """Ask the question about all documents."""
        documents = [Document(text=text) for text in self.texts]
        return engine.request(self.question, documents, compress=compress)

    def keys(self) -> list[str]:
        """Give the documents' keys in the stores."""
        return [self.memory.key_of(Document(text=text)) for text in self.texts]

    def load(self, keys: Sequence[str]) -> list[AnchorCache]:
        """Get anchors from the store in memory, to the model's device."""
        found = [self.memory.store.get(key) for key in keys]
        return [cache.to(self.subject.backbone.device) for cache in found if cache is not None]

    @property
    def question_ids(self) -> list[int]:
        """The question as the decoder reads it."""
        prompt = self.subject.loaded.adapter.config.prompt
        return self.subject.loaded.tokens.encode(prompt.question(self.question))

    @property
    def entry_files(self) -> list[Path]:
        """Everything in the store's folder."""
        return [path for path in sorted(self.folder.rglob("*")) if path.is_file()]

    @property
    def full_files(self) -> list[Path]:
        """The files of the full caches."""
        return [self.full_disk.path(name) for name in self.names]


@contextmanager
def set_up(subject: Subject, settings: Settings, context: int) -> Iterator[Scene]:
    """Write documents of a context, compress them into both stores, and keep their full caches."""
    texts = subject.texts(context, settings.document_tokens, seed=settings.seed)
    prompt, tokens = subject.loaded.adapter.config.prompt, subject.loaded.tokens
    seen = [prompt.seen_ids(text, tokens=tokens) for text in texts]
    model = PlainModel(subject.backbone)
    with ExitStack() as closing:
        place = Path(closing.enter_context(TemporaryDirectory(prefix="sac-rag-bench-")))
        folder, full_folder = place / "anchors", place / "full"
        full_folder.mkdir()
        scene = Scene(
            subject=subject,
            texts=texts,
            question=subject.question(settings.question_tokens, seed=settings.seed),
            num_tokens=sum(map(len, seen)),
            memory=closing.enter_context(subject.engine()),
            disk=closing.enter_context(subject.engine(folder)),
            folder=folder,
            full_memory=FullKV(model),
            full_disk=FullKV(model, full_folder),
            names=[str(index) for index in range(len(texts))],
        )
        for engine in (scene.memory, scene.disk):
            engine.compress_each([Document(text=text) for text in texts])
        for name, ids in zip(scene.names, seen, strict=True):
            scene.full_memory.save(name, ids)
            scene.full_disk.save(name, ids)
        yield scene
