"""Learning-rate schedules: torch's own behind one interface, updated after steps and epochs."""

from collections.abc import Callable
from math import cos, pi
from typing import Any, Protocol

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from headstart import config


class Schedule(Protocol):
    """Sets the learning rates of an optimizer during training."""

    def after_step(self) -> None:
        """Updates the learning rate after a step of the optimizer."""
        ...

    def after_epoch(self, score: float) -> None:
        """Updates the learning rate after an epoch, given its score on tune; higher is better."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Returns the state, for a checkpoint."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restores the state from a checkpoint."""
        ...


def make_schedule(
    schedule_config: config.Schedule,
    optimizer: Optimizer,
    steps_per_epoch: int,
    epochs: int,
) -> Schedule:
    """Returns the schedule that a recipe names, for the learning rates of `optimizer`."""
    match schedule_config:
        case config.PlateauDecay():
            return PlateauSchedule(optimizer, schedule_config)
        case config.ExponentialDecay():
            return StepSchedule(optimizer, exponential_factor(schedule_config, steps_per_epoch))
        case config.Cosine():
            return StepSchedule(optimizer, cosine_factor(schedule_config, steps_per_epoch, epochs))


def exponential_factor(
    schedule_config: config.ExponentialDecay, steps_per_epoch: int
) -> Callable[[int], float]:
    """Returns factor ** (t / T) as a function of the step t (tailored-networks paper, equation 4).

    T is the number of steps in `every` epochs or steps. With `staircase`, t / T is rounded down.
    """
    period = schedule_config.every * (steps_per_epoch if schedule_config.unit == "epoch" else 1)
    if schedule_config.staircase:
        return lambda step: schedule_config.factor ** (step // period)
    return lambda step: schedule_config.factor ** (step / period)


def cosine_factor(
    schedule_config: config.Cosine, steps_per_epoch: int, epochs: int
) -> Callable[[int], float]:
    """Returns a linear warm-up to 1 followed by half a cosine to 0, as a function of the step.

    The factor reaches 0 after the last step. It is positive in the first step already.
    """
    warmup = round(schedule_config.warmup_epochs * steps_per_epoch)
    decay_steps = max(1, epochs * steps_per_epoch - warmup)
    return lambda step: (
        (step + 1) / (warmup + 1)
        if step < warmup
        else (1 + cos(pi * min(1.0, (step - warmup) / decay_steps))) / 2
    )


class StepSchedule(LambdaLR):
    """A learning rate that is a function of the number of steps."""

    def after_step(self) -> None:
        self.step()

    def after_epoch(self, score: float) -> None:
        pass


class PlateauSchedule(ReduceLROnPlateau):
    """A learning rate that is reduced when the score on tune stops rising."""

    def __init__(self, optimizer: Optimizer, schedule_config: config.PlateauDecay):
        super().__init__(
            optimizer,
            mode="max",
            factor=schedule_config.factor,
            patience=schedule_config.patience,
            threshold=0.0,
        )

    def after_step(self) -> None:
        pass

    def after_epoch(self, score: float) -> None:
        self.step(score)
