"""The whole audit of a dataset: from features, images and their sizes to findings."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from headstart.audit import image_checks
from headstart.audit.cross_fitting import cross_fit
from headstart.audit.duplicates import Pair, duplicate_groups, find_duplicates
from headstart.audit.labels import alike_classes, divided_classes, wrong_labels
from headstart.audit.neighbors import Neighbors, find_neighbors, upper_limit
from headstart.audit.pool import Pool, PoolImages
from headstart.store import audit_findings
from headstart.store.audit_findings import Finding

NEIGHBORS = 10
"""Nearest neighbors that are looked at for each image."""

OUTLIER_DEVIATIONS = 4.0
"""An image is an outlier if its distance to its neighbors exceeds the median by so many robust
standard deviations."""


class Audit(NamedTuple):
    """findings: by problem, the worst first. duplicate_threshold: the cosine above which pairs of
    images were compared."""

    findings: list[Finding]
    duplicate_threshold: float


def audit_dataset(pool: Pool, images: PoolImages) -> Audit:
    """Returns all that is suspicious about the labeled images of a dataset.

    images: those of the pool, in the same order.
    """
    directions = pool.directions()
    neighbors = find_neighbors(directions, NEIGHBORS)
    duplicates = find_duplicates(neighbors, images.thumbnails, images.digests)
    groups = duplicate_groups(duplicates.pairs, len(pool.splits))
    predictions = cross_fit(pool.rows, pool.examples, groups)
    labels, class_ids = pool.examples.labels, [c.id for c in pool.examples.classes]

    findings = [
        _of_pair(pool, pair) for pair in sorted(duplicates.pairs, key=lambda p: -p.similarity)
    ]
    findings.sort(key=lambda finding: finding.problem)
    findings += [
        _of_image(
            pool,
            issue.position,
            audit_findings.WRONG_LABEL,
            1 - issue.confidence,
            class_ids[issue.suggested],
        )
        for issue in wrong_labels(predictions)
    ]
    findings += [
        _of_image(pool, position, audit_findings.OUTLIER, distance)
        for position, distance in _outliers(neighbors)
    ]
    for problem, found in (
        (audit_findings.DARK, image_checks.dark_images(images.thumbnails)),
        (audit_findings.FLAT, image_checks.flat_images(images.thumbnails)),
        (audit_findings.TINY, image_checks.tiny_images(images.sizes)),
        (audit_findings.ODD_SHAPE, image_checks.odd_shapes(images.sizes)),
    ):
        worst_first = sorted(found, key=lambda image: -image.score)
        findings += [_of_image(pool, i, problem, score) for i, score in worst_first]
    findings += [
        Finding(
            "",
            "",
            class_ids[pair.first],
            audit_findings.CLASSES_ALIKE,
            1 - pair.separation,
            class_ids[pair.second],
        )
        for pair in alike_classes(predictions)
    ]
    findings += [
        Finding("", "", class_ids[found.label], audit_findings.CLASS_DIVIDED, found.silhouette)
        for found in divided_classes(pool.rows, labels)
    ]
    train_labels = labels[pool.splits == "train"]
    findings += [
        Finding("", "", class_ids[label], audit_findings.FEW_IMAGES, 1 / max(count, 1))
        for label, count in image_checks.small_classes(train_labels, len(class_ids))
    ]
    return Audit(findings, duplicates.threshold)


def _outliers(neighbors: Neighbors) -> list[tuple[int, float]]:
    """Returns the images far from their nearest neighbors with their distance, the worst first.

    The distance is 1 - the mean cosine to the neighbors (Ramaswamy et al., 2000, rank by distance
    to neighbors).
    """
    distance = 1 - np.where(neighbors.positions >= 0, neighbors.similarity, 0).mean(axis=1)
    limit = upper_limit(distance, OUTLIER_DEVIATIONS)
    found = [(int(i), float(distance[i])) for i in np.flatnonzero(distance > limit)]
    return sorted(found, key=lambda outlier: -outlier[1])


def _of_pair(pool: Pool, pair: Pair) -> Finding:
    """The finding of a pair: the later image, with the earlier one, of train first, as evidence."""
    problem = audit_findings.IDENTICAL if pair.identical else audit_findings.NEAR_DUPLICATE
    first = _of_image(pool, pair.first, problem, pair.similarity)
    second = _of_image(pool, pair.second, problem, pair.similarity, evidence=first.id)
    return replace(second, evidence_split=first.split, evidence_class=first.class_id)


def _of_image(pool: Pool, position: int, problem: str, score: float, evidence: str = "") -> Finding:
    examples = pool.examples
    class_id = examples.classes[examples.labels[position]].id
    return Finding(
        examples.ids[position], str(pool.splits[position]), class_id, problem, score, evidence
    )
