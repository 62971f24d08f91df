"""Conclusions in sentences: whether fine-tuning and whether transfer are worth it on this dataset.

All figures are of val; which runs are compared is decided by params.yaml and tune.
"""

from typing import NamedTuple

from headstart.metrics.paired_tests import AccuracyDifference
from headstart.report.comparison import Results, best_run


class AccuracyGain(NamedTuple):
    """Top-1 of one run minus that of another, with its interval, in percentage points."""

    points: float
    low: float
    high: float


def accuracy_gain(differences: list[AccuracyDifference], run: str, over: str) -> AccuracyGain:
    """The gain of `run` over the run `over`; differences: of all pairs of runs."""
    [difference] = [pair for pair in differences if {pair.better, pair.worse} == {run, over}]
    bounds = (100 * difference.value, 100 * difference.low, 100 * difference.high)
    if difference.better == run:
        return AccuracyGain(*bounds)
    value, low, high = bounds
    return AccuracyGain(-value, -high, -low)


def finetuning_conclusions(
    results: Results, differences: list[AccuracyDifference], finetuned: dict[str, tuple[str, str]]
) -> list[str]:
    """One sentence per backbone: the gain of fine-tuning, its cost, and a verdict.

    finetuned: by backbone, the names of its fine-tuned run and of the head's run it started from.
    """
    sentences = []
    for backbone, (tuned, head) in finetuned.items():
        gain = accuracy_gain(differences, tuned, head)
        verdict = _verdict(
            gain, "worth it, if this cost is bearable", "not worth it", "not shown to be worth it"
        )
        times = results[tuned]["passes"] / results[head]["passes"]
        sentences.append(
            f"Fine-tuning {backbone} {_gains(gain)} over {head}, for {times:.3g} times the passes "
            f"through the network: {verdict}."
        )
    return sentences


def transfer_conclusions(
    results: Results,
    choose_by: str,
    differences: list[AccuracyDifference],
    transfer: list[str],
    scratch: list[str],
) -> list[str]:
    """One sentence that compares the best run of each kind on tune, if there are runs of both.

    choose_by: what tune chooses by. transfer, scratch: the names of the runs with and without
    pretrained weights.
    """
    if not transfer or not scratch:
        return []
    pretrained, untrained = (
        best_run({run: results[run] for run in runs}, choose_by) for runs in (transfer, scratch)
    )
    gain = accuracy_gain(differences, pretrained, untrained)
    verdict = _verdict(gain, "beats", "does worse than", "is not shown to differ from")
    return [
        f"Transfer {verdict} training from scratch: {pretrained} {_gains(gain)} over {untrained}, "
        f"the best on tune of {len(transfer)} with pretrained weights and of {len(scratch)} "
        "without."
    ]


def _verdict(gain: AccuracyGain, ahead: str, behind: str, unclear: str) -> str:
    """One of three phrases, for an interval above zero, below it, or around it."""
    return ahead if gain.low > 0 else behind if gain.high < 0 else unclear


def _gains(gain: AccuracyGain) -> str:
    return f"gains {gain.points:.1f} points [{gain.low:.1f}, {gain.high:.1f}]"
