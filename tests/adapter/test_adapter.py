"""An adapter saved and loaded is the same adapter; one for another base or ratio is refused."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM

from sac_rag import SACEngine
from sac_rag.adapter import Adapter, SACConfig
from sac_rag.chunking import Chunk
from sac_rag.config import CompressConfig
from sac_rag.engine.loading import EMBEDDED_FOLDER
from sac_rag.errors import AdapterMismatchError, CheckpointFormatError, ConfigError
from tests.tiny import byte_tokenizer, tiny_adapter, tiny_config, tiny_model

NANO = EMBEDDED_FOLDER / "nano"
SHIPPED_FINGERPRINT = "9e34b3c348fa6876632c765df33da727d61697c5877eeace6f61826cfe943964"
"""Of nano's adapter in float32, as it ships."""
CHUNK = Chunk(token_ids=torch.arange(3, 120))


@pytest.fixture
def folders(tiny_folders, tmp_path):
    """Copies that a test may spoil."""
    base, adapter = tiny_folders
    shutil.copytree(base, tmp_path / "base")
    shutil.copytree(adapter, tmp_path / "adapter")
    return tmp_path / "base", tmp_path / "adapter"


@torch.no_grad()
def test_saved_and_loaded_it_compresses_the_same_bits(tmp_path):
    adapter = tiny_adapter(tiny_model())
    adapter.save_pretrained(tmp_path)
    loaded = Adapter.from_pretrained(tmp_path, model=tiny_model())
    ours, theirs = adapter.method.compress_chunk(CHUNK), loaded.method.compress_chunk(CHUNK)
    assert torch.equal(ours.keys, theirs.keys)
    assert torch.equal(ours.values, theirs.values)
    assert adapter.fingerprint() == loaded.fingerprint()
    assert {path.name for path in tmp_path.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "sac_config.json",
        "sac_embeddings.safetensors",
    }


def test_the_fingerprint_knows_everything_that_changes_keys(tiny_folders):
    base, folder = tiny_folders
    model = AutoModelForCausalLM.from_pretrained
    usual = Adapter.from_pretrained(folder, model=model(base)).fingerprint()
    half = Adapter.from_pretrained(folder, model=model(base, dtype=torch.bfloat16)).fingerprint()
    prints = {
        usual,
        half,
        tiny_adapter(model(base), seed=2).fingerprint(),
        tiny_adapter(model(base), ratio=15).fingerprint(),
        tiny_adapter(model(base), attention="causal").fingerprint(),
        tiny_adapter(tiny_model(seed=9)).fingerprint(),
    }
    assert len(prints) == 6
    assert usual == Adapter.from_pretrained(folder, model=model(base)).fingerprint()


def test_the_shipped_adapter_keeps_fingerprint_and_file(tmp_path):
    """Settings that came later change neither: caches that users stored stay theirs."""
    with SACEngine.from_pretrained(NANO, adapter=NANO / "sac-5x", dtype="float32") as engine:
        assert engine.fingerprint == SHIPPED_FINGERPRINT
        assert (engine.ratios, engine.query_aware) == ((5,), False)
        engine.adapter.config.save(tmp_path)
    shipped = NANO / "sac-5x" / "sac_config.json"
    assert (tmp_path / "sac_config.json").read_text() == shipped.read_text()


def test_another_ratio_is_refused(tiny_folders):
    base, adapter = tiny_folders
    with pytest.raises(AdapterMismatchError, match=r"asked for ratio 15.*trained for ratio 5"):
        SACEngine.from_pretrained(base, adapter=adapter, ratio=15)


def test_another_base_is_refused_naming_what_differs(tiny_folders, tmp_path):
    _, adapter = tiny_folders
    wide = tmp_path / "wide"
    tiny_model(tiny_config(hidden_size=64)).save_pretrained(wide)
    byte_tokenizer().save_pretrained(wide)
    with pytest.raises(AdapterMismatchError, match=r"hidden_size 32 \(adapter\) against 64"):
        SACEngine.from_pretrained(wide, adapter=adapter)
    twin = tmp_path / "twin"
    tiny_model(seed=7).save_pretrained(twin)
    byte_tokenizer().save_pretrained(twin)
    with pytest.raises(AdapterMismatchError, match="weights"):
        SACEngine.from_pretrained(twin, adapter=adapter)


def test_a_ratio_without_an_adapter_is_refused(tiny_folders):
    with pytest.raises(AdapterMismatchError, match=r"cannot compress by itself.*ratio=1"):
        SACEngine.from_pretrained(tiny_folders[0], ratio=5)


def test_without_an_adapter_every_token_is_kept(tiny_folders):
    with SACEngine.from_pretrained(tiny_folders[0]) as engine:
        assert engine.ratio == 1
        text = "every token is kept"
        kept = engine.answer("What?", [text], max_new_tokens=12)
        assert kept.text == engine.answer("What?", [text], 12, compress=False).text
        assert kept.usage.ratio == 1.0


def test_an_adapter_folder_names_its_base(tiny_folders):
    _, adapter = tiny_folders
    with SACEngine.from_pretrained(adapter) as engine:
        assert engine.ratio == 5


@pytest.mark.parametrize(
    "name", ["adapter_model.safetensors", "sac_embeddings.safetensors", "adapter_config.json"]
)
def test_a_missing_file_is_named(folders, name):
    base, adapter = folders
    (adapter / name).unlink()
    with pytest.raises(CheckpointFormatError, match=f"lacks {name}"):
        SACEngine.from_pretrained(base, adapter=adapter)


def test_a_missing_folder_is_named(tiny_folders, tmp_path):
    with pytest.raises(CheckpointFormatError, match="no adapter folder at"):
        SACEngine.from_pretrained(tiny_folders[0], adapter=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"format_version": 99}, "format version 99"),
        ({"raito": 5}, "unknown setting raito"),
        ({"compress": {"ratoi": 5}}, "did you mean compress.ratio"),
        ({"compress": {"ratio": 15}}, "embeddings do not fit|should have shape"),
    ],
)
def test_a_spoilt_config_is_refused(folders, change, match):
    base, adapter = folders
    path = adapter / "sac_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CheckpointFormatError, match=match):
        SACEngine.from_pretrained(base, adapter=adapter)


def test_a_config_round_trips(tiny_folders, tmp_path):
    config = SACConfig.load(tiny_folders[1])
    config.save(tmp_path)
    assert SACConfig.load(tmp_path) == config


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"ratio": 0}, "give 1 or more"),
        ({"ratio": 7}, "try chunk_size=504"),
        ({"ratio": 600}, "leaves no anchor"),
    ],
)
def test_senseless_compression_settings_are_refused(settings, match):
    with pytest.raises(ConfigError, match=match):
        CompressConfig(**settings)


@torch.no_grad()
def test_every_choice_of_the_ablations_compresses():
    for choice in (
        {"attention": "causal"},
        {"anchor_embedding": "shared"},
        {"anchor_embedding": "none"},
        {"selector": "random"},
        {"selector": "chunk-last"},
    ):
        method = tiny_adapter(tiny_model(), **choice).method
        cache = method.compress_chunk(CHUNK)
        assert len(cache) == 23
        assert (cache.positions.diff() > 0).all()
