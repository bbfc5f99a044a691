"""Train micro's tokenizer: 8,192 byte-level pieces from the texts and questions it will read.

    python train/micro/bpe.py --data ../shared/data --out runs/micro/tokenizer

Two minutes on one core, always the same file. Any text comes back unchanged: the 256 bytes are
pieces. Each digit is a token, so that numbers are read and copied figure by figure. As in nano, a
line's first word carries a space too: a name has the same tokens in the middle of a document and at
the head of an answer, and pieces that end in a newline can be tokenised apart.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from corpus import TEXTS, TRAIN_SETS, text_path, training_questions, training_texts
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.trainers import BpeTrainer

from sac_rag.prompts import PromptFormat

sys.path.append(str(Path(__file__).resolve().parents[1] / "embedded"))  # the files are as nano's

from tokenizer_files import special_tokens, write

VOCABULARY = 8192
SHARE = 4
"""One document in so many is counted: the pieces of a fourth of the text are those of all."""
PIECES = (
    r" ?[\p{L}\p{M}]+"  # a word, with the space before it
    r"| ?\p{N}"  # one digit
    r"| ?[^\s\p{L}\p{M}\p{N}]+"  # signs
    r"|\n+"
    r"|[^\S\n]+(?!\S)"  # spaces at a line's end
    r"|[^\S\n](?=[^\S\n])|[^\S\n]"  # other spaces, one by one: the last one goes with the word
)


def untrained() -> Tokenizer:
    """Give the tokenizer without pieces: how text is cut and put together again."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=False))
    # a newline is put in front and taken away again: a text's first word is a line's first word
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.Prepend("\n"),
            normalizers.Replace(Regex(r"\n(?=[^\n])"), "\n "),
            normalizers.Replace(Regex(r"\A\n"), ""),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.ByteLevel(),
            decoders.Replace("\n ", "\n"),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return tokenizer


def train(texts: Iterable[str], *, vocabulary: int = VOCABULARY) -> Tokenizer:
    """Train on texts, in the order in which they come."""
    tokenizer = untrained()
    trainer = BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=special_tokens(),  # type: ignore[arg-type]
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer=trainer)
    return tokenizer


def training_material(data: Path) -> Iterator[str]:
    """Give a fourth of each text that the folder has, and the questions as they will be asked."""
    for name in TEXTS:
        if text_path(data, name).is_file():
            yield from islice(training_texts(data, name), 0, None, SHARE)
    prompt = PromptFormat()
    for record in training_questions(data, TRAIN_SETS):
        yield prompt.context_prefix + prompt.question(record.question) + record.answers[0]


def save(tokenizer: Tokenizer, out: Path) -> None:
    """Write ``tokenizer.json`` and ``tokenizer_config.json``."""
    write(tokenizer, out, longest=2048)


def main(args: argparse.Namespace) -> None:
    """Train and write."""
    save(train(training_material(args.data), vocabulary=args.vocabulary), args.out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--vocabulary", type=int, default=VOCABULARY)
    main(parser.parse_args())
