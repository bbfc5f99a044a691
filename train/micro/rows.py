"""The rows of micro's table: what is trained, and in what each differs from the plain recipe.

All rows share steps, data order, seed, learning rate, rank and objective weights of
``train/recipes/micro_pretrain.yaml`` and ``micro_finetune.yaml``; a row is its changes and nothing
else. EPL, 500x and ICAE pretrain with autoencoding beside continuation, as their papers do.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table."""

    name: str
    """Of folder and file."""
    title: str
    """In the table."""
    group: str
    """Lines of a group stand together."""
    both: tuple[str, ...] = ()
    """``key=value`` of both stages."""
    pretrain: tuple[str, ...] = ()
    """Of the first stage alone."""
    finetune: tuple[str, ...] = ()
    """Of the second stage alone."""
    pretrained_as: str = ""
    """Row whose first stage is this one's too; empty for its own."""
    cloze: bool = False
    """Whether the second stage also reads questions cut from the first stage's texts."""
    roads: tuple[str, ...] = ("compressed",)
    """How the development sets are asked."""
    trained: bool = True
    """Whether there is anything to train."""


PAPER, ABLATION, REACH = "paper", "ablation at 5x", "beyond the paper"
APPENDED = ("compress.attention=causal", "compress.anchor_embedding=none")
BOTH_LOSSES = ("objectives.autoencoding=1.0",)
ALL_LINEAR = ("lora.targets=[all-linear]", "lora.rank=29", "lora.alpha=58")
"""As many weights as rank 128 on q and v has on micro: 29 * 7,808 a layer against 128 * 1,792."""


def _sac(ratio: int) -> Row:
    return Row(
        name=f"sac_{ratio}x", title=f"SAC {ratio}x", group=PAPER, both=(f"compress.ratio={ratio}",)
    )


def _appended(method: str, title: str, ratio: int) -> Row:
    return Row(
        name=f"{method}_{ratio}x",
        title=f"{title} {ratio}x",
        group=PAPER,
        both=(f"method={method}", f"compress.ratio={ratio}", *APPENDED),
        pretrain=BOTH_LOSSES,
    )


def _ablation(name: str, title: str, *both: str, pretrain: tuple[str, ...] = ()) -> Row:
    return Row(
        name=f"ablation_{name}",
        title=f"SAC 5x {title}",
        group=ABLATION,
        both=both,
        pretrain=pretrain,
    )


ROWS: tuple[Row, ...] = (
    Row(
        name="base",
        title="full context and none",
        group=PAPER,
        roads=("full", "none"),
        trained=False,
    ),
    _sac(5),
    _appended("epl", "EPL", 5),
    _sac(15),
    _appended("epl", "EPL", 15),
    _sac(51),
    _appended("500x", "500x", 5),
    _appended("icae", "ICAE", 5),
    _appended("500x", "500x", 15),
    _appended("icae", "ICAE", 15),
    _ablation("causal", "without bidirectional mask", "compress.attention=causal"),
    _ablation("no_anchor_embedding", "without anchor embedding", "compress.anchor_embedding=none"),
    _ablation("random_anchors", "with random anchors", "compress.selector=random"),
    _ablation(
        "ae_only",
        "autoencoding alone",
        pretrain=("objectives.continuation=0.0", "objectives.autoencoding=1.0"),
    ),
    _ablation("ae_lm", "autoencoding and continuation", pretrain=BOTH_LOSSES),
    Row(
        name="sac_15x_query_aware",
        title="SAC 15x, query-aware",
        group=REACH,
        both=("compress.ratio=15",),
        finetune=("query_aware=true",),
        pretrained_as="sac_15x",
    ),
    Row(
        name="sac_5x_composed",
        title="SAC 5x, fine-tuned with 3 distractors",
        group=REACH,
        both=("compress.ratio=5",),
        finetune=("data.distractors=3",),
        pretrained_as="sac_5x",
    ),
    Row(
        name="sac_5x_far",
        title="SAC 5x, fine-tuned with 3 distractors and from afar",
        group=REACH,
        both=("compress.ratio=5",),
        finetune=("data.distractors=3", "data.far=0.3"),
        pretrained_as="sac_5x",
    ),
    Row(
        name="sac_5x_all_linear",
        title="SAC 5x, LoRA on every linear layer",
        group=REACH,
        both=("compress.ratio=5", *ALL_LINEAR),
    ),
    Row(
        name="sac_5x_sink",
        title="SAC 5x, behind a BOS sink",
        group=REACH,
        both=("compress.ratio=5", "sink=true"),
    ),
    Row(
        name="sac_5x_distilled",
        title="SAC 5x, taught by the decoder that reads in full",
        group=REACH,
        both=("compress.ratio=5",),
        finetune=("objectives.distillation=1.0",),
        pretrained_as="sac_5x",
    ),
    Row(
        name="sac_5x_cloze",
        title="SAC 5x, fine-tuned with cloze questions too",
        group=REACH,
        both=("compress.ratio=5",),
        pretrained_as="sac_5x",
        cloze=True,
    ),
    Row(
        # both stages: the vectors of anchor slots are learned for the places that anchors stand
        # at, and the trainer refuses to go on from an adapter with another selector
        name="sac_5x_importance",
        title="SAC 5x, anchors that surprise the decoder most",
        group=REACH,
        both=("compress.ratio=5", "compress.selector=importance", "compress.scorer=surprisal"),
    ),
    Row(
        name="sac_any_ratio",
        title="SAC, one adapter for 5x, 15x, 51x (asked at 5x)",
        group=REACH,
        both=("compress.ratio=5", "compress.ratios=[5,15,51]"),
    ),
)
"""In the order in which they are trained: floor, ceiling and the main comparison come first."""


def rows_named(names: list[str]) -> list[Row]:
    """Look rows up; none for all."""
    known = {row.name: row for row in ROWS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"no row is called {', '.join(unknown)}; choose from {', '.join(known)}")
    return [known[name] for name in names] if names else list(ROWS)
