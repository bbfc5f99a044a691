"""One family of errors; each is also the standard class that a caller would catch.

A message says what was asked, what was found and what to do.
"""

from __future__ import annotations


class SACError(Exception):
    """Anything that sac-rag refuses or cannot do."""


class ConfigError(SACError, ValueError):
    """A setting that makes no sense, alone or with another."""


class EmptyInputError(SACError, ValueError):
    """A document or a question without any text."""


class InvalidTextError(SACError, ValueError):
    """Text that is not valid Unicode, or a file that is not valid UTF-8."""


class InputFileError(SACError, ValueError):
    """An input path that is missing, empty or of an unknown kind."""


class DataError(SACError, ValueError):
    """Records for training or evaluation that are broken, ambiguous or of no known form."""


class ModelNotFoundError(SACError, OSError):
    """A model or tokenizer that is at neither the path nor the hub id given."""


class UnsupportedModelError(SACError, ValueError):
    """A base model whose layers or positions anchors cannot stand in."""


class AdapterMismatchError(SACError, ValueError):
    """An adapter that was trained for another base model or ratio."""


class CheckpointFormatError(SACError, ValueError):
    """An adapter folder or checkpoint file that does not hold what it should."""


class IncompatibleCacheError(SACError, ValueError):
    """Anchor caches that do not belong together."""


class ContextOverflowError(SACError, ValueError):
    """A prompt that does not fit the model's window.

    Args:
        message: What was asked, what fits, what to do.
        requested: Positions needed, in tokens.
        available: Positions that the model has, in tokens.
    """

    def __init__(self, message: str, *, requested: int, available: int) -> None:
        super().__init__(message)
        self.requested = requested
        self.available = available

    def __reduce__(self):
        return (_overflow, (str(self), self.requested, self.available))


def _overflow(message: str, requested: int, available: int) -> ContextOverflowError:
    return ContextOverflowError(message, requested=requested, available=available)


class ImpossibleBudgetError(ConfigError):
    """A budget below what the coarsest ratios take.

    Args:
        message: What was asked, what is the least, what to do.
        least: The smallest budget that can be met.
    """

    def __init__(self, message: str, *, least: int) -> None:
        super().__init__(message)
        self.least = least

    def __reduce__(self):
        return (_impossible, (str(self), self.least))


def _impossible(message: str, least: int) -> ImpossibleBudgetError:
    return ImpossibleBudgetError(message, least=least)


class CorruptEntryError(SACError, ValueError):
    """Stored bytes that are not what was written: never served."""


class StoreFormatError(SACError, ValueError):
    """A store or entry of another format version."""


class StoreWriteError(SACError, OSError):
    """A store that cannot be written: full disk, no permission."""


class InvalidHandleError(SACError, ValueError):
    """A handle that is malformed or was cut in two."""


class HandleForgeryError(InvalidHandleError):
    """A handle whose signature is not this store's."""


class AnchorNotFoundError(SACError, KeyError):
    """A genuine handle whose entry, and text, are no longer in the store."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class UnsupportedContentError(SACError, ValueError):
    """A content block that a text model cannot read: image, audio, file."""


class MissingDependencyError(SACError, ImportError):
    """An optional library that is not installed."""


class EngineClosedError(SACError, RuntimeError):
    """A call to an engine that has been closed."""


class GenerationCancelledError(SACError, RuntimeError):
    """A generation that its caller stopped."""
