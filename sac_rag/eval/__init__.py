"""Evaluation: methods asked the same questions, the paper's scores and others, intervals."""

from sac_rag.eval.askers import ROADS, Asker, EngineAsker, Reply, compressed, full, none
from sac_rag.eval.bootstrap import Bootstrap, Interval
from sac_rag.eval.evaluate import evaluate
from sac_rag.eval.lingua import llmlingua2
from sac_rag.eval.metrics import QA_METRICS, SUMMARY_METRICS, Metric
from sac_rag.eval.report import Example, MethodReport, Report

__all__ = [
    "QA_METRICS",
    "ROADS",
    "SUMMARY_METRICS",
    "Asker",
    "Bootstrap",
    "EngineAsker",
    "Example",
    "Interval",
    "MethodReport",
    "Metric",
    "Reply",
    "Report",
    "compressed",
    "evaluate",
    "full",
    "llmlingua2",
    "none",
]
