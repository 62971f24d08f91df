from pathlib import Path

import numpy as np
from scipy.special import softmax
from sklearn.metrics import accuracy_score

from headstart.evaluation.crop_accuracy import SUBSETS, crop_accuracies
from headstart.report.crop_accuracy_figure import draw_crop_accuracies
from headstart.store.crop_accuracies import load_crop_accuracies, write_crop_accuracies
from tests import cases


def test_rows_against_a_direct_computation():
    found = cases.predictions(views=4)
    labels = found.examples.labels
    rows = {(row.average, row.crops): row for row in crop_accuracies(found)}
    assert [row.subsets for row in rows.values()] == [4, 6, 4, 1] * 2
    singles = [accuracy_score(labels, found.logits[:, v].argmax(1)) for v in range(4)]
    for average in ("probabilities", "logits"):
        row = rows[average, 1]
        spread = [float(np.mean(singles)), min(singles), max(singles)]
        np.testing.assert_allclose([row.mean, row.lowest, row.highest], spread)
    by_probabilities = softmax(found.logits, axis=-1).mean(1).argmax(1)
    assert rows["probabilities", 4].mean == accuracy_score(labels, by_probabilities)
    assert rows["logits", 4].mean == accuracy_score(labels, found.logits.mean(1).argmax(1))


def test_more_crops_help_where_each_errs_on_its_own():
    rows = [row for row in crop_accuracies(cases.predictions(400)) if row.average == "logits"]
    assert [row.crops for row in rows] == list(range(1, 11))
    assert max(row.subsets for row in rows) == SUBSETS
    assert rows[-1].mean > rows[0].mean + 0.03


def test_table_and_figure_are_the_same_twice(tmp_path: Path):
    found = cases.predictions()
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        rows = crop_accuracies(found)
        write_crop_accuracies(folder / "crops.tsv", rows)
        read = load_crop_accuracies(folder / "crops.tsv")
        draw_crop_accuracies(folder / "crops.svg", read, 0.75, 60)
    for name in ("crops.tsv", "crops.svg"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert [row[:3] for row in read] == [row[:3] for row in rows]
    assert [row.mean for row in read] == [round(row.mean, 5) for row in rows]
    drawn = (tmp_path / "a" / "crops.svg").read_text()
    assert ">logits averaged<" in drawn
    assert ">top-1 in % of 60 val images<" in drawn
