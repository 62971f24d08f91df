"""The page's section on the audit: what is wrong with the data, with the images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from headstart.page.embedding import pack_integers
from headstart.page.image_table import ImageTable
from headstart.report.audit_summary import NOUNS, audit_sentences
from headstart.store.audit_findings import IDENTICAL, NEAR_DUPLICATE, Finding, load_findings

MOST_SHOWN = 200
"""Findings of one problem on the page; the worst ones."""


def audit(
    results: Path,
    backbones: list[str],
    ids: list[str],
    correct: dict[str, np.ndarray],
    confidence: float,
    position: Mapping[str, int],
    table: ImageTable,
) -> dict[str, Any]:
    """The sentences of the comparison, and the findings with the features of each backbone.

    ids: of val's N images. correct: for each run whether it is right about them, [N] bool.
    confidence: of the intervals. position: of each class by its id.
    """
    findings = {b: load_findings(results / "audit" / f"{b}-findings.tsv") for b in backbones}
    return {
        "sentences": audit_sentences(findings, ids, correct, confidence),
        "backbones": [
            {"backbone": backbone, "problems": list(_problems(found, position, table))}
            for backbone, found in findings.items()
        ],
    }


def _problems(findings: list[Finding], position: Mapping[str, int], table: ImageTable) -> Any:
    """Yields each problem with its worst findings.

    `images` holds place + 1 of the image and of the image beside it, `labels` position + 1 of the
    class and of the class that is the evidence; 0 stands for none, or for none on the page.
    """
    for problem, noun in NOUNS.items():
        found = [finding for finding in findings if finding.problem == problem]
        if not found:
            continue
        shown = found[:MOST_SHOWN]
        pairs = problem in (IDENTICAL, NEAR_DUPLICATE)
        beside = [finding.evidence if pairs else "" for finding in shown]
        suggested = [finding.evidence_class if pairs else finding.evidence for finding in shown]
        own = [finding.class_id for finding in shown]
        places = [1 + table.add(column) for column in ([f.id for f in shown], beside)]
        labels = [[1 + position.get(c, -1) for c in column] for column in (own, suggested)]
        yield {
            "problem": problem,
            "noun": noun,
            "count": len(found),
            "ofClasses": not found[0].id,
            "images": pack_integers(np.stack(places, axis=1)),
            "labels": pack_integers(np.array(labels).T),
            "scores": [finding.score for finding in shown],
        }
