"""Sentences with known numbers."""

from typing import Any

import pytest

from headstart import config
from headstart.metrics.paired_tests import AccuracyDifference
from headstart.report.conclusions import finetuning_conclusions, transfer_conclusions
from tests import cases


def run(tune: float, passes: int) -> dict[str, Any]:
    return {"tune": {"n": 80, "whole": {"top1": tune, "nll": 1.0}}, "passes": passes}


RESULTS = {
    "net-linear": run(0.60, 16_000),
    "net-finetune": run(0.66, 464_000),
    "small": run(0.50, 900_000),
    "large": run(0.40, 9_000_000),
}


def difference(better: str, worse: str, *bounds: float) -> AccuracyDifference:
    return AccuracyDifference(better, worse, *bounds, p_value=0.01)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (
            difference("net-finetune", "net-linear", 0.059, 0.043, 0.075),
            "Fine-tuning net gains 5.9 points [4.3, 7.5] over net-linear, for 29 times the passes "
            "through the network: worth it, if this cost is bearable.",
        ),
        (
            difference("net-finetune", "net-linear", 0.004, -0.009, 0.017),
            "Fine-tuning net gains 0.4 points [-0.9, 1.7] over net-linear, for 29 times the passes "
            "through the network: not shown to be worth it.",
        ),
        (
            difference("net-linear", "net-finetune", 0.02, -0.01, 0.05),
            "Fine-tuning net gains -2.0 points [-5.0, 1.0] over net-linear, for 29 times the "
            "passes through the network: not shown to be worth it.",
        ),
        (
            difference("net-linear", "net-finetune", 0.04, 0.01, 0.07),
            "Fine-tuning net gains -4.0 points [-7.0, -1.0] over net-linear, for 29 times the "
            "passes through the network: not worth it.",
        ),
    ],
)
def test_finetunings_gain_cost_and_verdict(found: AccuracyDifference, sentence: str):
    pairs = {"net": ("net-finetune", "net-linear")}
    others = [difference("net-linear", "small", 0.1, 0.05, 0.15)]
    assert finetuning_conclusions(RESULTS, [*others, found], pairs) == [sentence]


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (
            difference("net-finetune", "small", 0.16, 0.13, 0.19),
            "Transfer beats training from scratch: net-finetune gains 16.0 points [13.0, 19.0] "
            "over small, the best on tune of 2 with pretrained weights and of 2 without.",
        ),
        (
            difference("small", "net-finetune", 0.01, -0.02, 0.04),
            "Transfer is not shown to differ from training from scratch: net-finetune gains -1.0 "
            "points [-4.0, 2.0] over small, the best on tune of 2 with pretrained weights and of "
            "2 without.",
        ),
        (
            difference("small", "net-finetune", 0.05, 0.02, 0.08),
            "Transfer does worse than training from scratch: net-finetune gains -5.0 points "
            "[-8.0, -2.0] over small, the best on tune of 2 with pretrained weights and of 2 "
            "without.",
        ),
    ],
)
def test_transfer_against_scratch_speaks_of_what_tune_chose(
    found: AccuracyDifference, sentence: str
):
    kinds = (["net-linear", "net-finetune"], ["large", "small"])
    assert transfer_conclusions(RESULTS, "accuracy", [found], *kinds) == [sentence]


@pytest.mark.parametrize("kinds", [([], ["small"]), (["net-linear"], [])])
def test_one_kind_alone_answers_no_question(kinds: tuple[list[str], list[str]]):
    assert transfer_conclusions(RESULTS, "accuracy", [], *kinds) == []


def test_params_say_which_run_is_of_which_kind():
    shipped = config.load_params(cases.ROOT / "params.yaml")
    content = shipped.model_dump(mode="json")
    content["extract"]["backbones"] = ["random", "resnet50"]
    content["train_head"]["heads"] = ["linear", "lda"]
    content["finetune"]["backbones"] = ["resnet50"]
    content["train_scratch"]["networks"] = ["vgg16", "resnet_lstm"]
    chosen = config.Params.model_validate(content)
    # A backbone without weights transfers nothing, and isn't trained from scratch either.
    assert chosen.transfer_runs == [
        *("resnet50-linear", "resnet50-lda", "resnet50-finetune", "resnet_lstm"),
    ]
    assert chosen.scratch_runs == ["vgg16"]
    assert chosen.finetuned == {"resnet50": ("resnet50-finetune", "resnet50-linear")}
    assert {*chosen.transfer_runs, *chosen.scratch_runs} < set(chosen.single_runs)
