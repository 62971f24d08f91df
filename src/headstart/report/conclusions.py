"""What a comparison answers in a sentence: is fine-tuning worth it here, and is transfer?

What is said is of val; which runs it is said of, params and tune decide.
"""

from typing import NamedTuple

from headstart.metrics.paired_tests import AccuracyDifference
from headstart.report.comparison import Results, best_run


class AccuracyGain(NamedTuple):
    """Top-1 of one run less that of another, with its interval, in points."""

    points: float
    low: float
    high: float


def accuracy_gain(differences: list[AccuracyDifference], run: str, over: str) -> AccuracyGain:
    """Of `run` over another, from all pairs' differences."""
    [found] = [pair for pair in differences if {pair.better, pair.worse} == {run, over}]
    bounds = (100 * found.value, 100 * found.low, 100 * found.high)
    if found.better == run:
        return AccuracyGain(*bounds)
    value, low, high = bounds
    return AccuracyGain(-value, -high, -low)


def finetuning_conclusions(
    results: Results, differences: list[AccuracyDifference], finetuned: dict[str, tuple[str, str]]
) -> list[str]:
    """Gain, cost and a verdict, a sentence a backbone.

    finetuned: by backbone, the names of its fine-tuned run and of the head's that it went on from.
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
    results: Results, differences: list[AccuracyDifference], transfer: list[str], scratch: list[str]
) -> list[str]:
    """The papers' question, in one sentence if there are runs of both kinds.

    Of each kind speaks the run that tune chooses.
    """
    if not transfer or not scratch:
        return []
    ours, theirs = (best_run({run: results[run] for run in runs}) for runs in (transfer, scratch))
    gain = accuracy_gain(differences, ours, theirs)
    verdict = _verdict(gain, "beats", "does worse than", "is not shown to differ from")
    return [
        f"Transfer {verdict} training from scratch: {ours} {_gains(gain)} over {theirs}, the best "
        f"on tune of {len(transfer)} with pretrained weights and of {len(scratch)} without."
    ]


def _verdict(gain: AccuracyGain, ahead: str, behind: str, unclear: str) -> str:
    """The word for where the interval lies: above zero, below, or on both sides."""
    return ahead if gain.low > 0 else behind if gain.high < 0 else unclear


def _gains(gain: AccuracyGain) -> str:
    return f"gains {gain.points:.1f} points [{gain.low:.1f}, {gain.high:.1f}]"
