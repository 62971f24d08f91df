from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from scipy.special import softmax

from headstart.core.errors import UserError
from headstart.evaluation.ensembles import (
    ORDERS,
    Average,
    Choice,
    align_members,
    average_members,
    choose_members,
    ensemble_curve,
)
from headstart.evaluation.run_results import protocol_probabilities
from headstart.report.ensemble_figure import draw_ensemble_curve
from headstart.store.ensemble_curves import load_ensemble_curve, write_ensemble_curve
from headstart.store.predictions import Predictions
from tests import cases


def members(count: int, split: str = "tune", skill: float = 0.8) -> list[Predictions]:
    """Models that err on their own, one a little better than the next."""
    seeds = range(count) if split == "tune" else range(100, 100 + count)
    return [
        cases.predictions(200, skill=skill + 0.1 * (count - i), seed=seed, split=split)
        for i, seed in enumerate(seeds)
    ]


def top1(found: Sequence[Predictions], how: Average) -> float:
    """What evaluate would say of their average."""
    averaged = average_members(found, how)
    predicted = protocol_probabilities(averaged)["ten_crop"].argmax(1)
    return float(np.mean(predicted == averaged.examples.labels))


def test_averaged_probabilities_are_equation_2():
    a, b = members(2)
    found = average_members([a, b], "probabilities")
    assert found.logits.dtype == np.float32
    expected = (softmax(a.logits, axis=-1) + softmax(b.logits, axis=-1)) / 2
    np.testing.assert_allclose(softmax(found.logits, axis=-1), expected, rtol=1e-5)
    over_views = protocol_probabilities(found)["ten_crop"]
    np.testing.assert_allclose(over_views, expected.mean(1), rtol=1e-5)


def test_averaged_scores_are_the_mean_of_logits():
    a, b = members(2)
    found = average_members([a, b], "logits")
    np.testing.assert_allclose(found.logits, (a.logits + b.logits) / 2, rtol=1e-5, atol=1e-6)
    assert found.passes == a.passes + b.passes


def test_certain_members_stay_finite():
    certain = members(1)[0]
    certain.logits[:] = 0
    certain.logits[..., 0] = 1e4
    found = average_members([certain, certain], "probabilities")
    assert np.isfinite(found.logits).all()


def test_members_are_aligned_by_the_names_of_their_views():
    ten = cases.predictions()
    turned = replace(ten, logits=ten.logits[:, ::-1].copy(), views=ten.views[::-1])
    one = cases.predictions(views=1)
    a, b = align_members([ten, turned])
    np.testing.assert_array_equal(a.logits, b.logits)
    aligned = align_members([ten, one])
    assert [member.views for member in aligned] == [["whole"]] * 2


def test_what_does_not_fit_together_is_refused():
    first = cases.predictions(60)
    with pytest.raises(UserError, match="saw different images"):
        align_members([first, cases.predictions(40)])
    with pytest.raises(UserError, match="know different classes"):
        align_members([first, cases.predictions(60, classes=5)])
    with pytest.raises(UserError, match="no view in common"):
        align_members([replace(first, views=[f"x{i}" for i in range(10)]), first])


@pytest.mark.parametrize("how", get_args(Average))
@pytest.mark.parametrize("order", list(ORDERS))
def test_curves_are_what_evaluate_says_of_each_prefix(how: Average, order: str):
    tune, val = members(4), members(4, "val")
    found = choose_members(tune, val, how, order)
    assert sorted(found.order) == [0, 1, 2, 3]
    for count in range(1, 5):
        prefix = found.order[:count]
        assert found.tune[count - 1] == pytest.approx(top1([tune[i] for i in prefix], how))
        assert found.val[count - 1] == pytest.approx(top1([val[i] for i in prefix], how))
    assert found.tune[found.count - 1] == max(found.tune)
    assert found.members == found.order[: found.count]


def test_ranked_takes_members_by_their_own_accuracy():
    tune = members(5)[::-1]
    found = choose_members(tune, members(5, "val"), "probabilities", "ranked")
    alone = [top1([tune[i]], "probabilities") for i in found.order]
    assert alone == sorted(alone, reverse=True)


def test_greedy_takes_whoever_helps_most():
    tune = members(5)
    found = choose_members(tune, members(5, "val"), "probabilities", "greedy")
    first, second, *_ = found.order
    pairs = {i: top1([tune[first], tune[i]], "probabilities") for i in range(5) if i != first}
    assert pairs[second] == max(pairs.values())


def test_val_chooses_nothing():
    tune, val = members(4), members(4, "val")
    found = choose_members(tune, val, "probabilities", "greedy")
    spoiled = choose_members(tune, val[::-1], "probabilities", "greedy")
    assert found.order == spoiled.order
    assert found.count == spoiled.count
    assert found.val != spoiled.val


def test_a_poor_member_is_left_out():
    tune = [*members(3, skill=2.5), cases.predictions(200, skill=-30.0, seed=9, split="tune")]
    found = choose_members(tune, tune, "logits", "ranked")
    assert found.order[-1] == 3
    assert 3 not in found.members


def test_curve_as_table_and_figure(tmp_path: Path):
    choice = Choice([2, 0, 1], [0.5, 0.7, 0.6], [0.5, 0.6, 0.65], 2)
    curve = ensemble_curve(choice, ["a", "b", "c"])
    assert [size.count for size in curve] == [1, 2, 3]
    assert [(size.joins, size.kept) for size in curve] == [("c", True), ("a", True), ("b", False)]
    assert [(size.tune_score, size.val_score) for size in curve] == [
        (0.5, 0.5),
        (0.7, 0.6),
        (0.6, 0.65),
    ]
    write_ensemble_curve(tmp_path / "curve.tsv", curve)
    assert load_ensemble_curve(tmp_path / "curve.tsv") == curve
    for name in ("one.svg", "two.svg"):
        draw_ensemble_curve(tmp_path / name, curve, "top-1")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
