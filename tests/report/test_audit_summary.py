import numpy as np

from headstart.metrics.classification_metrics import wilson_interval
from headstart.report.audit_summary import audit_sentences, duplicated_in_training
from headstart.store.audit_findings import (
    FEW_IMAGES,
    IDENTICAL,
    NEAR_DUPLICATE,
    WRONG_LABEL,
    Finding,
)

FINDINGS = [
    Finding("v1", "val", "a", IDENTICAL, 1.0, "t1", "train", "a"),
    Finding("v2", "val", "a", NEAR_DUPLICATE, 0.9, "u1", "tune", "b"),
    Finding("v4", "val", "a", NEAR_DUPLICATE, 0.9, "v3", "val", "a"),
    Finding("u2", "tune", "a", NEAR_DUPLICATE, 0.9, "t2", "train", "a"),
    Finding("v0", "val", "b", WRONG_LABEL, 0.99, "a"),
    Finding("", "", "b", FEW_IMAGES, 0.1),
]
IDS = [f"v{i}" for i in range(10)]


def test_only_val_images_with_a_duplicate_in_train_or_tune_count():
    assert duplicated_in_training(FINDINGS) == {"v1", "v2"}
    swapped = Finding("t9", "train", "a", IDENTICAL, 1.0, "v9", "val", "a")
    assert duplicated_in_training([swapped]) == {"v9"}


def test_accuracy_is_told_with_and_without_the_duplicated_images():
    correct = {"run": np.array([False, True, True, *[True] * 4, *[False] * 3])}
    first, second, third = audit_sentences({"resnet": FINDINGS}, IDS, correct, 0.95)
    assert first == (
        "The audit with the features of resnet found 1 pairs of identical images, 3 pairs of "
        "near-duplicates, 1 labels that are probably wrong, 1 classes with few images."
    )
    assert second.startswith("2 of 10 val images have a duplicate in train or tune")
    low, high = wilson_interval(4, 8, 0.95)
    assert third == f"run: 50.0% [{100 * low:.1f}, {100 * high:.1f}] instead of 60.0% (n = 8)."


def test_nothing_found_is_said():
    assert audit_sentences({"resnet": []}, IDS, {"run": np.ones(10, bool)}, 0.95) == [
        "The audit with the features of resnet found nothing."
    ]
