"""Make all files that travel: token files of the texts, of what is held out, and texts for SAC.

    python train/micro/prepare.py --data ../shared/data --tokenizer runs/micro/tokenizer \\
        --out runs/micro

Some ten minutes on one core. ``OUT/tokens/NAME.npy`` and ``.npy.xz`` of each text that the folder
has; ``OUT/sac_texts.txt.xz``: whole articles of 510 to 2,040 tokens, to pretrain adapters on.
"""

from __future__ import annotations

import argparse
import lzma
import os
from collections.abc import Iterator
from pathlib import Path

from corpus import TEXTS, held_out_texts, text_path, training_texts, valid_texts
from token_file import squeeze, write_tokens
from transformers import AutoTokenizer

from sac_rag.tokens import Tokens

CARRIED = TEXTS[:4]
"""The novels stay: they are a third of all words, and nothing that is asked about."""
SAC_FROM, SAC_TOKENS, SAC_TEXTS = "enwiki2018_new", (510, 2040), 4000


def sac_texts(data: Path, tokens: Tokens, *, most: int) -> Iterator[str]:
    """Give whole texts that pretraining of an adapter would take."""
    given = 0
    for text in training_texts(data, SAC_FROM):
        if SAC_TOKENS[0] <= tokens.count(text) <= SAC_TOKENS[1]:
            yield text
            given += 1
            if given == most:
                return


def main(args: argparse.Namespace) -> None:
    """Write every file that is not there yet."""
    tokenizer = AutoTokenizer.from_pretrained(args.tokenizer)
    made = {name: training_texts(args.data, name) for name in args.texts}
    made = {name: texts for name, texts in made.items() if text_path(args.data, name).is_file()}
    made |= {"held_out": held_out_texts(args.data), "wikitext2_valid": valid_texts(args.data)}
    for name, texts in made.items():
        plain = args.out / "tokens" / f"{name}.npy"
        if not plain.is_file():
            write_tokens(plain, texts, tokenizer)
        packed = plain.with_name(f"{name}.npy.xz")
        size = packed.stat().st_size if packed.is_file() else squeeze(plain, packed)
        print(f"{name}: {size:,} bytes", flush=True)
    path = args.out / "sac_texts.txt.xz"
    if not path.is_file():
        chosen = sac_texts(args.data, Tokens(tokenizer), most=SAC_TEXTS)
        whole = "\n<|endoftext|>\n".join(chosen)
        if not whole:
            raise SystemExit(f"{SAC_FROM} has no text of {SAC_TOKENS} tokens; give another")
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_bytes(lzma.compress(whole.encode()))
        temporary.replace(path)
    print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--texts", nargs="+", default=list(CARRIED))
    main(parser.parse_args())
