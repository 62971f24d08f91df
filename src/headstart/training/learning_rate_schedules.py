"""Schedules of the learning rate, torch's own behind one face: they move after steps and epochs."""

from collections.abc import Callable
from math import cos, pi
from typing import Any, Protocol

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from headstart import config


class Schedule(Protocol):
    def after_step(self) -> None: ...

    def after_epoch(self, tune_top1: float) -> None: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None: ...


def make_schedule(
    chosen: config.Schedule,
    optimizer: Optimizer,
    steps_per_epoch: int,
    epochs: int,
) -> Schedule:
    match chosen:
        case config.PlateauDecay():
            return PlateauSchedule(optimizer, chosen)
        case config.ExponentialDecay():
            return StepSchedule(optimizer, exponential(chosen, steps_per_epoch))
        case config.Cosine():
            return StepSchedule(optimizer, cosine(chosen, steps_per_epoch, epochs))


def exponential(chosen: config.ExponentialDecay, steps_per_epoch: int) -> Callable[[int], float]:
    """factor ** (t / T), T the steps of `every` (tailored-networks paper, equation 4)."""
    period = chosen.every * (steps_per_epoch if chosen.unit == "epoch" else 1)
    return lambda step: chosen.factor ** (step / period)


def cosine(chosen: config.Cosine, steps_per_epoch: int, epochs: int) -> Callable[[int], float]:
    """Up to 1 in a line over the warm-up, then down half a wave to 0 after the last step.

    The first step already moves: it has the first part of the warm-up, not 0.
    """
    warmup = round(chosen.warmup_epochs * steps_per_epoch)
    rest = max(1, epochs * steps_per_epoch - warmup)
    return lambda step: (
        (step + 1) / (warmup + 1)
        if step < warmup
        else (1 + cos(pi * min(1.0, (step - warmup) / rest))) / 2
    )


class StepSchedule(LambdaLR):
    """The learning rate as a function of the number of steps taken."""

    def after_step(self) -> None:
        self.step()

    def after_epoch(self, tune_top1: float) -> None:
        pass


class PlateauSchedule(ReduceLROnPlateau):
    """The learning rate falls when tune accuracy no longer rises."""

    def __init__(self, optimizer: Optimizer, chosen: config.PlateauDecay):
        super().__init__(
            optimizer, mode="max", factor=chosen.factor, patience=chosen.patience, threshold=0.0
        )

    def after_step(self) -> None:
        pass

    def after_epoch(self, tune_top1: float) -> None:
        self.step(tune_top1)
