"""What the audit says of the data, in sentences for the comparison."""

from collections import Counter

import numpy as np

from headstart.metrics.classification_metrics import wilson_interval
from headstart.store.audit_findings import (
    CLASS_DIVIDED,
    CLASSES_ALIKE,
    DARK,
    FEW_IMAGES,
    FLAT,
    IDENTICAL,
    NEAR_DUPLICATE,
    ODD_SHAPE,
    OUTLIER,
    TINY,
    WRONG_LABEL,
    Finding,
)

NOUNS = {
    IDENTICAL: "pairs of identical images",
    NEAR_DUPLICATE: "pairs of near-duplicates",
    WRONG_LABEL: "labels that are probably wrong",
    OUTLIER: "outliers",
    DARK: "dark images",
    FLAT: "flat images",
    TINY: "tiny images",
    ODD_SHAPE: "images of an odd shape",
    CLASSES_ALIKE: "pairs of classes that are hardly told apart",
    CLASS_DIVIDED: "classes in two parts",
    FEW_IMAGES: "classes with few images",
}


def audit_sentences(
    findings: dict[str, list[Finding]],
    ids: list[str],
    correct: dict[str, np.ndarray],
    confidence: float,
) -> list[str]:
    """How much of each problem there is, and what val's duplicates in train mean for accuracy.

    findings: by the backbone whose features the audit used. ids: of val's N images. correct: for
    each run whether it is right about them, [N] bool. confidence: of the intervals.
    """
    sentences = []
    for backbone, found in findings.items():
        counts = Counter(finding.problem for finding in found)
        shown = ", ".join(f"{counts[p]:,} {noun}" for p, noun in NOUNS.items() if counts[p])
        sentences.append(f"The audit with the features of {backbone} found {shown or 'nothing'}.")
    seen = set().union(*map(duplicated_in_training, findings.values()))
    unseen = np.array([id_ not in seen for id_ in ids])
    if not (~unseen).any() or not unseen.any():
        return sentences
    sentences.append(
        f"{(~unseen).sum():,} of {len(ids):,} val images have a duplicate in train or tune; top-1 "
        f"without them, with {confidence:.0%} intervals:"
    )
    for run, right in correct.items():
        n, hits = unseen.sum(), right[unseen].sum()
        low, high = wilson_interval(hits, n, confidence)
        sentences.append(
            f"{run}: {hits / n:.1%} [{100 * low:.1f}, {100 * high:.1f}] instead of "
            f"{right.mean():.1%} (n = {n:,})."
        )
    return sentences


def duplicated_in_training(findings: list[Finding]) -> set[str]:
    """The ids of the val images with an identical or nearly identical image in train or tune."""
    seen = set()
    for finding in findings:
        if finding.problem in (IDENTICAL, NEAR_DUPLICATE):
            sides = {finding.split: finding.id, finding.evidence_split: finding.evidence}
            if "val" in sides and sides.keys() & {"train", "tune"}:
                seen.add(sides["val"])
    return seen
