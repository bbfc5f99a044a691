"""A checkpoint in the released layout gives the anchors of its own formulas."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM

from sac_rag.adapter import Adapter, import_checkpoint
from sac_rag.chunking import split_chunks
from sac_rag.errors import AdapterMismatchError, CheckpointFormatError
from tests.test_reference import anchors_by_the_paper

RANK = 6


@pytest.fixture
def released(tiny_folders, tmp_path):
    """Write a random ``adapter.pt`` for the tiny base at ratio 15, as the authors write theirs."""
    torch.manual_seed(3)
    tensors = {"role_tokens": torch.randn(34, 32), "special_tokens": torch.randn(2, 32)}
    for layer in range(3):
        for kind, width in (("q", 32), ("v", 16)):
            name = f"model.model.layers.{layer}.self_attn.{kind}_proj"
            tensors[f"{name}.lora_A"] = 0.3 * torch.randn(32, RANK)
            tensors[f"{name}.lora_B"] = 0.3 * torch.randn(RANK, width)
    path = tmp_path / "adapter.pt"
    torch.save(tensors, path)
    return tiny_folders[0], path, tensors


@torch.no_grad()
def test_an_imported_checkpoint_compresses_by_its_own_formula(released, tmp_path):
    base, path, tensors = released
    config = import_checkpoint(path, base=str(base), ratio=15, out=tmp_path / "out")
    assert config.compress.ratio == 15
    adapter = Adapter.from_pretrained(
        tmp_path / "out", model=AutoModelForCausalLM.from_pretrained(base)
    )
    model = AutoModelForCausalLM.from_pretrained(base)
    for name, weight in model.named_parameters():
        key = f"model.{name.removesuffix('.weight')}"
        if f"{key}.lora_A" in tensors:
            weight += 2 * (tensors[f"{key}.lora_A"] @ tensors[f"{key}.lora_B"]).T
    ids = torch.randint(3, 264, (700,))
    keys, values, _ = anchors_by_the_paper(
        model, ids, ratio=15, anchor_vectors=tensors["role_tokens"]
    )
    ours = adapter.method.compress_chunks(split_chunks(ids, chunk_size=510))
    torch.testing.assert_close(torch.cat([one.keys for one in ours], 2), keys, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(
        torch.cat([one.values for one in ours], 2), values, atol=1e-5, rtol=1e-4
    )
    assert torch.equal(adapter.method.task_embedding(), tensors["special_tokens"][1])


def test_slots_must_fit_the_ratio(released, tmp_path):
    base, path, _ = released
    with pytest.raises(AdapterMismatchError, match=r"34 anchor slots.*needs 102.*probably 15"):
        import_checkpoint(path, base=str(base), ratio=5, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_layers_must_fit_the_base(released, tmp_path):
    base, path, tensors = released
    fewer = {key: value for key, value in tensors.items() if ".layers.2." not in key}
    torch.save(fewer, path)
    with pytest.raises(AdapterMismatchError, match="2 layers, the base has"):
        import_checkpoint(path, base=str(base), ratio=15, out=tmp_path / "out")


def test_a_file_that_would_run_code_is_never_opened(released, tmp_path):
    base, path, _ = released

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"role_tokens": Evil()}, path)
    with pytest.raises(CheckpointFormatError, match="no code in them can run"):
        import_checkpoint(path, base=str(base), ratio=15, out=tmp_path / "out")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_a_broken_file_is_refused(released, tmp_path, content):
    base, path, _ = released
    path.write_bytes(content)
    with pytest.raises(CheckpointFormatError, match="cannot be read"):
        import_checkpoint(path, base=str(base), ratio=15, out=tmp_path / "out")


def test_a_missing_or_foreign_file_is_refused(released, tmp_path):
    base, path, _ = released
    with pytest.raises(CheckpointFormatError, match="no checkpoint at"):
        import_checkpoint(tmp_path / "none.pt", base=str(base), ratio=15, out=tmp_path / "out")
    torch.save({"weights": torch.zeros(1)}, path)
    with pytest.raises(CheckpointFormatError, match="holds no role_tokens and no special_tokens"):
        import_checkpoint(path, base=str(base), ratio=15, out=tmp_path / "out")
