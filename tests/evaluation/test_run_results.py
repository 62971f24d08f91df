import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    log_loss,
    roc_auc_score,
)

from headstart.core.atomic_files import read_tsv
from headstart.core.errors import UserError
from headstart.evaluation.run_results import (
    calibrate_run,
    calibration_stages,
    evaluate_run,
    load_splits,
    predict_classes,
    protocol_probabilities,
    write_challenge,
    write_confusions,
    write_per_class,
)
from headstart.metrics.calibration import conformal_threshold, fit_temperature
from headstart.report.reliability_figure import draw_reliability
from headstart.store.examples import UNLABELED, ClassLabel, Examples
from headstart.store.predicted_classes import load_correct, write_predicted_classes
from headstart.store.predictions import save_predictions
from headstart.store.reliability_bins import load_reliability_bins, write_reliability_bins
from headstart.store.run_metrics import primary_protocol, summarize_metrics
from tests import cases

SETTINGS: dict[str, Any] = {"confidence": 0.95, "resamples": 200, "seed": 0}


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, dialect="excel-tab"))


def test_one_view_and_ten_crops_against_scikit_learn(tmp_path: Path):
    cases.save_run(tmp_path)
    splits = load_splits(tmp_path)
    found = evaluate_run(splits, **SETTINGS)
    logits, labels = splits["val"].logits, splits["val"].examples.labels
    for protocol, p in (
        ("whole", softmax(logits[:, 0], axis=-1)),
        ("ten_crop", softmax(logits, axis=-1).mean(1)),
    ):
        one = found["val"][protocol]
        assert one["top1"] == pytest.approx(accuracy_score(labels, p.argmax(1)), abs=1e-5)
        assert one["nll"] == pytest.approx(log_loss(labels, p, labels=range(4)), abs=1e-5)
        low, high = one["top1_interval"]
        assert low < one["top1"] < high
    assert found["val"]["n"] == 60
    assert found["tune"]["n"] == 40
    labels = splits["tune"].examples.labels
    for look, p in protocol_probabilities(splits["tune"]).items():
        expected = {
            "top1": accuracy_score(labels, p.argmax(1)),
            "nll": log_loss(labels, p, labels=range(4)),
            "balanced_accuracy": balanced_accuracy_score(labels, p.argmax(1)),
            "auroc": roc_auc_score(labels, p, multi_class="ovr"),
        }
        measured = {name: found["tune"][look][name] for name in expected}
        assert measured == pytest.approx(expected, abs=1e-5)
    assert found["passes"] == splits["val"].passes
    assert found["parameters"] == splits["val"].parameters


def test_without_ten_crops_there_is_one_view(tmp_path: Path):
    cases.save_run(tmp_path, views=1)
    found = evaluate_run(load_splits(tmp_path), **SETTINGS)
    assert set(found["val"]) == {"n", "whole"}
    assert primary_protocol(found["val"]) == "whole"


def test_views_are_found_by_name_in_any_order(tmp_path: Path):
    found = cases.predictions()
    turned = replace(found, logits=found.logits[:, ::-1], views=found.views[::-1])
    straight, backward = protocol_probabilities(found), protocol_probabilities(turned)
    np.testing.assert_array_equal(straight["whole"], backward["whole"])
    np.testing.assert_array_equal(straight["ten_crop"], backward["ten_crop"])


def test_a_labeled_test_split_is_reported_like_val(tmp_path: Path):
    cases.save_run(tmp_path, test=cases.predictions(30, split="test", seed=7))
    found = evaluate_run(load_splits(tmp_path), **SETTINGS)
    assert found["test"]["n"] == 30
    assert set(found["test"]["whole"]) == set(found["val"]["whole"])


def test_an_unlabeled_test_split_is_not(tmp_path: Path):
    cases.save_run(tmp_path, test=cases.predictions(30, split="test", labeled=False))
    assert "test" not in evaluate_run(load_splits(tmp_path), **SETTINGS)


def test_a_split_that_is_labeled_in_part_is_refused(tmp_path: Path):
    test = cases.predictions(30, split="test")
    labels = np.where(np.arange(30) < 3, UNLABELED, test.examples.labels)
    partly = Examples(test.examples.ids, labels, test.examples.classes)
    cases.save_run(tmp_path, test=replace(test, examples=partly))
    with pytest.raises(UserError, match=r"3 of 30 images in test have no label; label all"):
        load_splits(tmp_path)


def test_an_unlabeled_val_is_refused(tmp_path: Path):
    cases.save_run(tmp_path)
    save_predictions(tmp_path / "val.h5", cases.predictions(labeled=False))
    with pytest.raises(UserError, match=r"60 of 60 images in val have no label"):
        load_splits(tmp_path)


def test_scores_that_are_no_numbers_are_refused(tmp_path: Path):
    cases.save_run(tmp_path)
    broken = cases.predictions()
    broken.logits[3, 2, 1] = np.nan
    save_predictions(tmp_path / "val.h5", broken)
    with pytest.raises(UserError, match=r"scores in val are not finite.*lower its learning_rate"):
        load_splits(tmp_path)


def test_calibration_is_fitted_on_tune_and_stated_on_val(tmp_path: Path):
    cases.save_run(tmp_path)
    splits = load_splits(tmp_path)
    found = calibrate_run(splits, coverage=0.8, **SETTINGS)
    assert set(found) == {"whole", "ten_crop"}
    p = protocol_probabilities(splits["tune"])["whole"]
    temperature = fit_temperature(p, splits["tune"].examples.labels)
    assert found["whole"]["temperature"] == pytest.approx(temperature, abs=1e-4)
    measured = evaluate_run(splits, **SETTINGS)["val"]["whole"]
    assert found["whole"]["before"] == {name: measured[name] for name in ("nll", "brier", "ece")}
    scaled = softmax(splits["val"].logits[:, 0] / temperature, axis=-1)
    expected = log_loss(splits["val"].examples.labels, scaled, labels=range(4))
    assert found["whole"]["after"]["nll"] == pytest.approx(expected, abs=1e-4)
    labels = {split: splits[split].examples.labels for split in ("tune", "val")}
    for protocol, stated in found.items():
        on_tune, on_val = (protocol_probabilities(splits[split])[protocol] for split in labels)
        threshold = conformal_threshold(on_tune, labels["tune"], 0.8)
        held = on_val >= threshold
        sets = stated["sets"]
        assert sets["stated_coverage"] == 0.8
        right = held[np.arange(len(held)), labels["val"]]
        assert sets["coverage"] == pytest.approx(right.mean(), abs=1e-5)
        assert sets["size"] == pytest.approx(held.sum(1).mean(), abs=1e-5)
        for name in ("coverage", "size"):
            low, high = sets[f"{name}_interval"]
            assert low < sets[name] < high


def test_per_class_table(tmp_path: Path):
    val = cases.predictions(60, views=1)
    val.logits[:] = np.eye(4, dtype=np.float32)[val.examples.labels][:, None]
    plungers = np.flatnonzero(val.examples.labels == 2)
    val.logits[plungers[:9]] = np.eye(4, dtype=np.float32)[3]
    val.logits[plungers[9:11]] = np.eye(4, dtype=np.float32)[0]
    write_per_class(tmp_path / "per_class.tsv", val, 0.95)
    worst, *others = read(tmp_path / "per_class.tsv")
    assert worst["id"] == "n00000002"
    assert worst["name"] == "plunger, plumber's helper"
    assert (worst["n"], worst["top1"]) == ("15", f"{4 / 15:.4f}")
    assert float(worst["low"]) < 4 / 15 < float(worst["high"])
    assert (worst["confused_name"], worst["times"]) == ("Egyptian cat", "9")
    assert worst["distinct_wrong_classes"] == "2"
    assert {row["distinct_wrong_classes"] for row in others} == {"0"}
    assert [(row["top1"], row["confused_with"], row["times"]) for row in others] == [
        ("1.0000", "", "0")
    ] * 3


def test_a_class_without_images_has_no_accuracy(tmp_path: Path):
    val = cases.predictions(8)
    absent = Examples(val.examples.ids, np.zeros(8, np.int64), val.examples.classes)
    write_per_class(tmp_path / "per_class.tsv", replace(val, examples=absent), 0.95)
    rows = read(tmp_path / "per_class.tsv")
    assert len(rows) == 4
    assert [row["n"] for row in rows] == ["8", "0", "0", "0"]
    nothing = {"low": "", "high": "", "confused_with": "", "confused_name": "", "times": "0"}
    nothing["distinct_wrong_classes"] = "0"
    for row in rows[1:]:
        assert {key: row[key] for key in row if key not in ("id", "name", "n")} == {
            "top1": "",
            **nothing,
        }


def test_classes_of_equal_accuracy_stay_in_their_order(tmp_path: Path):
    val = cases.predictions(120, classes=40, skill=100.0)
    odd = val.examples.labels % 2 == 1
    val.logits[odd] = np.roll(val.logits[odd], 1, axis=2)
    write_per_class(tmp_path / "per_class.tsv", val, 0.95)
    ids = [row["id"] for row in read(tmp_path / "per_class.tsv")]
    in_order = [label.id for label in val.examples.classes]
    assert ids == in_order[1::2] + in_order[::2]


def test_confusions_are_the_errors_of_scikit_learn_s_matrix_most_frequent_first(tmp_path: Path):
    val = cases.predictions(63, skill=1.0)
    write_confusions(tmp_path / "confusions.tsv", val)
    rows = read(tmp_path / "confusions.tsv")
    ids = [label.id for label in val.examples.classes]
    predicted = softmax(val.logits, axis=-1).mean(1).argmax(1)
    expected = confusion_matrix(val.examples.labels, predicted, labels=range(4))
    n = expected.sum(1)
    np.fill_diagonal(expected, 0)
    found = np.zeros_like(expected)
    for row in rows:
        true, taken_for = ids.index(row["true_id"]), ids.index(row["predicted_id"])
        found[true, taken_for] = int(row["count"])
        assert row["true_name"] == val.examples.classes[true].name
        assert row["predicted_name"] == val.examples.classes[taken_for].name
        assert row["share"] == f"{int(row['count']) / n[true]:.4f}"
    np.testing.assert_array_equal(found, expected)
    order = [(-int(row["count"]), -float(row["share"])) for row in rows]
    assert order == sorted(order)
    assert len(rows) == np.count_nonzero(expected) > 4


def test_without_an_error_the_confusions_are_a_header(tmp_path: Path):
    write_confusions(tmp_path / "confusions.tsv", cases.predictions(12, skill=100.0))
    assert len((tmp_path / "confusions.tsv").read_text().splitlines()) == 1


def test_the_drawn_bins_are_those_of_the_stated_calibration_error(tmp_path: Path):
    cases.save_run(tmp_path)
    splits = load_splits(tmp_path)
    calibrated = calibrate_run(splits, coverage=0.8, **SETTINGS)
    write_reliability_bins(
        tmp_path / "reliability.tsv", calibration_stages(splits["val"], calibrated)
    )
    bins = load_reliability_bins(tmp_path / "reliability.tsv")
    draw_reliability(tmp_path / "reliability.svg", bins, "ten crops", 0.95)
    stated = calibrated["ten_crop"]
    before, after = "temperature 1", f"{stated['temperature']:g}, fitted on tune"
    rows = read(tmp_path / "reliability.tsv")
    assert list(bins) == [before, after]
    for stage, ece in ((before, stated["before"]["ece"]), (after, stated["after"]["ece"])):
        drawn = [row for row in rows if row["stage"] == stage]
        assert sum(int(row["n"]) for row in drawn) == 60
        gaps = [
            int(row["n"]) * abs(float(row["confidence"]) - float(row["accuracy"])) for row in drawn
        ]
        assert sum(gaps) / 60 == pytest.approx(ece, abs=2e-5)
        assert f">{stage}: ECE {ece:.3f}<" in (tmp_path / "reliability.svg").read_text()


def test_the_stated_numbers_are_those_of_the_primary_protocol(tmp_path: Path):
    cases.save_run(tmp_path)
    metrics = evaluate_run(load_splits(tmp_path), **SETTINGS)
    stated = {name: metrics["val"]["ten_crop"][name] for name in ("top1", "nll", "ece")}
    assert summarize_metrics(metrics, "top1") == stated
    stated["macro_f1"] = metrics["val"]["ten_crop"]["macro_f1"]
    assert summarize_metrics(metrics, "macro_f1") == stated


def test_predicted_classes_are_those_of_every_image_and_protocol(tmp_path: Path):
    val = cases.predictions(12)
    write_predicted_classes(tmp_path / "run.tsv", val.examples, predict_classes(val))
    rows = read(tmp_path / "run.tsv")
    assert [row["id"] for row in rows] == val.examples.ids
    assert [row["class"] for row in rows] == [f"n{c:08d}" for c in val.examples.labels]
    assert [row["whole"] for row in rows] == [f"n{c:08d}" for c in val.logits[:, 0].argmax(1)]
    averaged = softmax(val.logits, axis=-1).mean(1).argmax(1)
    assert [row["ten_crop"] for row in rows] == [f"n{c:08d}" for c in averaged]
    assert [row["predicted"] for row in rows] == [f"n{c:08d}" for c in averaged]

    one = cases.predictions(12, views=1)
    write_predicted_classes(tmp_path / "run.tsv", one.examples, predict_classes(one))
    rows = read(tmp_path / "run.tsv")
    assert list(rows[0]) == ["id", "class", "predicted", "whole"]
    assert all(row["predicted"] == row["whole"] for row in rows)


def test_challenge_file_has_the_challenges_format(tmp_path: Path):
    test = cases.predictions(3, split="test", labeled=False)
    test.logits[:] = np.eye(4, dtype=np.float32)[[1, 3, 0]][:, None]
    write_challenge(tmp_path / "test_predictions.txt", test)
    assert (tmp_path / "test_predictions.txt").read_text() == (
        "test_0.JPEG n00000001\ntest_1.JPEG n00000003\ntest_2.JPEG n00000000\n"
    )


def test_challenge_file_keeps_equal_file_names_apart(tmp_path: Path):
    test = cases.predictions(3, split="test", labeled=False)
    ids = ["test/a/1.png", "test/b/1.png", "test/b/2.png"]
    test = replace(test, examples=replace(test.examples, ids=ids))
    write_challenge(tmp_path / "test_predictions.txt", test)
    lines = (tmp_path / "test_predictions.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ids


def test_names_like_formulas_and_with_line_ends_are_compared_as_they_are(tmp_path: Path):
    found = cases.predictions(8)
    ids = ["=cmd|' /C calc'!A0", "a\rb", "a\nb", "a\tb", '"', "'=1", "-1", "@x"]
    labels = [ClassLabel(id_, id_) for id_ in ("=1+1", "-b", "+c", "'d")]
    found = replace(found, examples=Examples(ids, found.examples.labels, labels))
    write_predicted_classes(tmp_path / "run.tsv", found.examples, predict_classes(found))
    right = load_correct(tmp_path, ["run"])["run"]
    probability = protocol_probabilities(found)["ten_crop"]
    np.testing.assert_array_equal(right, probability.argmax(1) == found.examples.labels)
    assert [row["id"] for row in read_tsv(tmp_path / "run.tsv")] == ids
