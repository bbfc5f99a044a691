"""Build the embedded model's tokenizer: a token per word of the atlas, letters for all else.

    python train/embedded/build_tokenizer.py [--out sac_rag/embedded/nano]

Takes a second on any machine. The vocabulary is explicit, not learned: words, name syllables,
digits, all of ASCII and 256 byte pieces, so any text comes back unchanged. A word carries the
space before it (``▁``), and a line's first word carries one too, so pieces that end in a newline
can be tokenised apart and laid behind each other: the ids are those of the whole text.
"""

# ruff: noqa: SIM905 - lists of hundreds of words read better as text
from __future__ import annotations

import argparse
import re
from pathlib import Path

import phrases
from places import FILLERS, KINDS
from tokenizer_files import SPECIALS, special_tokens, write
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

HEADERS = tuple(f"▁###▁{word}:\n" for word in ("Context", "Question", "Answer"))
"""The prompt's own lines, one token each: they stand before every question and every document."""
EXTRA_WORDS = """
    Context Question Answer Query Given Use Using Based following pieces context question answer
    query information below prior knowledge provided only concise possible Reply with Documents
    Document Source Helpful documents sources source retrieved passages passage Keep short
    system user assistant You helpful assistant tasks answering cite know don't If say just that
    you don't know using three sentences maximum keep Human AI Which Who What When Where Why How
    many much long high deep wide large Tell Name Please me old is are was were the a an of in
    on to it It The A In At On From And But Of By For To This That There Most Once Over Through
""".split()
SUFFIXES = (
    "s ed ing er est ly es 's n't tion ment al y en le re th ch sh ee oo ou ea ai st nd nt ng "
    "in an on er or ar"
).split()


def _words() -> list[str]:
    lines = [
        text
        for kind in KINDS.values()
        for text in (
            kind.opening,
            kind.noun,
            f"The {kind.noun}",
            kind.name,
            *(t for f in kind.facts.values() for t in f.says + f.asks),
        )
    ]
    lines += FILLERS + tuple(EXTRA_WORDS)
    for group in (
        phrases.GOODS,
        phrases.SHADES,
        phrases.ANIMALS,
        phrases.FISH,
        phrases.TREES,
        phrases.STUFF,
        phrases.ORES,
        phrases.MONTHS,
        phrases.DAYS,
        phrases.GIVEN,
    ):
        lines += group
    lines += ["miles feet acres"]
    lines += (Path(__file__).parent / "words.txt").read_text(encoding="utf-8").split()
    found: dict[str, None] = {}
    for line in lines:
        for word in re.findall(r"[A-Za-z]+(?:'[a-z]+)?", re.sub(r"\{.\}", " ", line)):
            found[word] = None
    return [w for w in found if len(w) > 1]


def vocabulary() -> list[tuple[str, float]]:
    """List every piece with its score; fewer pieces always beat more, and a letter costs most."""
    pieces: dict[str, float] = dict.fromkeys(SPECIALS, 0.0)
    pieces["<unk>"] = 0.0
    pieces |= {f"<0x{byte:02X}>": 0.0 for byte in range(256)}
    singles = [
        "\n",
        "▁",
        *(chr(c) for c in range(33, 127)),
        *"éèüöäßñçáíóúàâêîôû–—‘’“”…€£°·•éÉÜÖÄ⟦⟧",
    ]
    singles += [
        f"▁{c}" for c in "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ#(\"'-&$"
    ]
    for piece in singles:
        pieces.setdefault(piece, -12.0)
    longer = [*HEADERS, "###", "▁###", "\n\n", "---------------------", "```", "...", "▁▁", "▁▁▁▁"]
    longer += [f"▁{w}" for w in _words()]
    longer += [f"▁{s}" for s in phrases.STARTS]
    longer += [*phrases.ENDS, *phrases.SURNAME_ENDS, *SUFFIXES]
    for piece in longer:
        pieces.setdefault(piece, -10.0)
    return list(pieces.items())


def build() -> Tokenizer:
    """Build the tokenizer; it needs nothing but this folder."""
    scores = vocabulary()
    unknown = [piece for piece, _ in scores].index("<unk>")
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=unknown, byte_fallback=True))
    # a newline is put in front and taken away again: a text's first word is a line's first word
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(" ", "▁"),
            normalizers.Prepend("\n"),
            normalizers.Replace(Regex(r"\n(?=[^\n])"), "\n▁"),
            normalizers.Replace(Regex(r"\A\n"), ""),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(
        Regex("|".join(HEADERS) + r"|\n+|▁+(?=▁)|▁?[^▁\n]+|▁"), behavior="isolated"
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Replace("\n▁", "\n"),
            decoders.Replace("▁", " "),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens(special_tokens())
    return tokenizer


def save(out: Path) -> None:
    """Write ``tokenizer.json`` and ``tokenizer_config.json``."""
    write(build(), out, longest=8192)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("sac_rag/embedded/nano"))
    save(parser.parse_args().out)
