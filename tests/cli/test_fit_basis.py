"""``sac-rag store fit-basis``, and the road that a basis opens: compress, ask, verify."""

from __future__ import annotations

import pytest
import torch

from sac_rag import SACEngine, open_store
from sac_rag.codecs import PCABasis, PCACodec, fit_pca
from sac_rag.codecs.basis import samples_of
from sac_rag.codecs.names import PCA_FILE


@pytest.fixture
def library(tmp_path):
    """A folder of eight documents, some 800 anchors in all."""
    folder = tmp_path / "library"
    folder.mkdir()
    for number in range(8):
        lines = [f"Town {number} has {n * n} wells and {n} mills.\n" for n in range(16)]
        (folder / f"{number}.txt").write_text("".join(lines), encoding="utf-8")
    return folder


def test_the_basis_is_the_one_fitted_on_the_documents(
    sac_rag_json, tiny, tiny_folders, library, tmp_path
):
    file = tmp_path / "made" / "basis.safetensors"
    code, told = sac_rag_json("store", "fit-basis", library, *tiny, "--bits", "3", "--out", file)
    assert code == 0
    base, adapter = tiny_folders
    with SACEngine.from_pretrained(base, adapter=adapter) as engine:
        texts = [path.read_text() for path in sorted(library.iterdir())]
        caches = engine.compress(texts)
        wanted = fit_pca(caches, inv_freq=engine.inv_freq, bits=3.0)
    made = PCABasis.load(file)
    assert made.id == wanted.id == told["id"]
    anchors = sum(map(len, caches))
    layers, components = made.means.shape[1:]
    assert (told["documents"], told["anchors"], told["components"]) == (8, anchors, components)
    assert told["vectors"] == 2 * layers * anchors
    # the variance, by the road that a store goes: written, read back, compared
    codec = PCACodec(made)
    lost, spread = torch.zeros(2), torch.zeros(2)
    for cache in caches:
        here = samples_of(cache, inv_freq=made.inv_freq)
        back = samples_of(codec.decode(codec.encode(cache)), inv_freq=made.inv_freq)
        lost += (here - back).square().sum(dim=(1, 2, 3))
        spread += (here - made.means[:, :, None]).square().sum(dim=(1, 2, 3))
    kept = told["kept_variance"]
    assert [kept["keys"], kept["values"]] == pytest.approx((1 - lost / spread).tolist(), abs=1e-4)
    assert 0.9 < min(kept.values()) < 1


def test_more_bits_keep_more(sac_rag_json, tiny, library, tmp_path):
    kept = []
    for bits in ("1", "2", "4"):
        words = ("--bits", bits, "--out", tmp_path / f"{bits}.safetensors")
        kept.append(sac_rag_json("store", "fit-basis", library, *tiny, *words)[1]["kept_variance"])
    assert kept[0]["keys"] < kept[1]["keys"] < kept[2]["keys"]
    assert kept[0]["values"] < kept[1]["values"] < kept[2]["values"]


def test_fit_compress_ask_verify(sac_rag, sac_rag_json, tiny, library, tmp_path):
    basis, where = tmp_path / PCA_FILE, tmp_path / "store"
    shown = sac_rag("store", "fit-basis", library, *tiny, "--bits", "6", "--out", tmp_path)
    assert shown.exit_code == 0
    assert "vectors of" in shown.stdout
    assert f"use it with --codec pca:{basis}" in shown.stdout.replace("\n", "")
    coded = (*tiny, "--store", where, "--codec", f"pca:{basis}")
    code, told = sac_rag_json("compress", library, *coded)
    assert (code, {row["codec"] for row in told["documents"]}) == (0, {"pca"})
    assert told["total"]["stored_bytes"] < told["total"]["bytes"] / 2
    words = ("How many wells?", "--docs", library / "3.txt", "--max-new-tokens", "5")
    code, asked = sac_rag_json("ask", *words, *coded)
    assert (code, asked["usage"]["anchors_encoded"]) == (0, 0)
    with open_store(where, codec=f"pca:{basis}") as store:
        base, adapter = tiny[1], tiny[3]
        with SACEngine.from_pretrained(base, adapter=adapter, store=store) as engine:
            text = (library / "3.txt").read_text()
            assert engine.answer(words[0], [text], 5).text == asked["answer"]
    basis.unlink()  # the store keeps what its entries need
    code, again = sac_rag_json("ask", *words, *tiny, "--store", where)
    assert (code, again["answer"]) == (0, asked["answer"])
    code, verified = sac_rag_json("store", "verify", where)
    assert (code, verified["checked"], verified["damaged"]) == (0, 16, [])


def test_what_cannot_be_fitted_is_told(
    sac_rag, sac_rag_json, tiny, notes, query_aware_folders, tmp_path
):
    file = tmp_path / "basis.safetensors"
    code, told = sac_rag_json("store", "fit-basis", notes, *tiny, "--bits", "0", "--out", file)
    assert (code, told["error"]) == (2, "ConfigError")
    base, adapter = query_aware_folders
    aware = ("--model", base, "--adapter", adapter)
    code, told = sac_rag_json("store", "fit-basis", notes, *aware, "--out", file)
    assert (code, told["error"]) == (2, "ConfigError")
    assert "int8 or int4" in told["message"]
    assert not file.exists()
    (tmp_path / "a file").write_text("")
    code, told = sac_rag_json(
        "store", "fit-basis", notes, *tiny, "--out", tmp_path / "a file" / "b"
    )
    assert (code, told["error"]) == (2, "InputFileError")
    few = sac_rag("store", "fit-basis", notes, *tiny, "--out", file)
    assert few.exit_code == 0
    assert "anchors for vectors of 16 numbers" in " ".join(few.stderr.split())
    missing = sac_rag("compress", notes, *tiny, "--store", tmp_path / "s", "--codec", "pca")
    assert "sac-rag store fit-basis" in " ".join(missing.stderr.split())
