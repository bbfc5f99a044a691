"""Records for training and evaluation: read, checked, and prepared as token ids."""

from sac_rag.data.order import head_and_rest, shuffled
from sac_rag.data.prepare import Prepared, default_cache, prepare_pretraining, prepare_qa
from sac_rag.data.reading import read_qa, read_texts
from sac_rag.data.records import Passage, QARecord, TextRecord
from sac_rag.data.report import BadRecord, ReadReport
from sac_rag.data.samples import PretrainSettings, QASettings, autoencoding_target
from sac_rag.data.sources import FileSource, HubSource, SyntheticSource, open_sources

__all__ = [
    "BadRecord",
    "FileSource",
    "HubSource",
    "Passage",
    "Prepared",
    "PretrainSettings",
    "QARecord",
    "QASettings",
    "ReadReport",
    "SyntheticSource",
    "TextRecord",
    "autoencoding_target",
    "default_cache",
    "head_and_rest",
    "open_sources",
    "prepare_pretraining",
    "prepare_qa",
    "read_qa",
    "read_texts",
    "shuffled",
]
