"""Everything that changes while a network trains, and how a checkpoint holds it."""

from collections.abc import Sequence
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from headstart.config import Recipe
from headstart.store.output_statistics import OutputStatistics
from headstart.store.training_curves import Epoch, TrainingCurve
from headstart.training import distributed
from headstart.training.checkpoints import newest_checkpoint, read_checkpoint, write_checkpoint
from headstart.training.learning_rate_schedules import make_schedule
from headstart.training.optimizers import make_optimizer
from headstart.training.output_recording import OutputRecorder


class BestEvaluation(NamedTuple):
    """The best evaluation on tune so far. score: what tune chooses by. epochs: trained before it,
    with a fraction within one."""

    score: float
    epochs: float


class TrainState:
    """Everything that changes during training, and the content of a checkpoint.

    parallel: the network as it is called in training. averaged: the network that is evaluated and
    kept; without exponential moving average this is the trained network itself. best: the
    evaluation whose weights are the newest snapshot. snapshots: file names of the weights of each
    evaluation that exceeded the best so far, oldest first; complete only in the main process and in
    checkpoints. recorder: of the outputs of the modules `recorded`.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        steps_per_epoch: int,
        recorded: Sequence[str] = (),
    ):
        self.network = network
        self.steps_per_epoch = steps_per_epoch
        self.ema = AveragedModel(network, use_buffers=True) if recipe.ema else None
        self.averaged = self.ema.module if self.ema else network
        self.parallel = distributed.data_parallel(network)
        self.optimizer = make_optimizer(recipe, network)
        self.schedule = make_schedule(
            recipe.schedule, self.optimizer, steps_per_epoch, recipe.epochs
        )
        self.recorder = OutputRecorder(network, recorded, recipe.epochs * steps_per_epoch)
        self.curve: TrainingCurve = []
        self.best = BestEvaluation(-1.0, 0.0)
        self.snapshots: list[str] = []

    def save(self, folder: Path) -> None:
        """Writes a checkpoint."""
        state: dict[str, Any] = {name: part.state_dict() for name, part in self._parts().items()}
        state["curve"] = [asdict(epoch) for epoch in self.curve]
        state["best"] = list(self.best)
        state["snapshots"] = self.snapshots
        state["outputs"] = [asdict(row) for row in self.recorder.statistics]
        content = BytesIO()
        torch.save(state, content)
        write_checkpoint(folder, f"checkpoint_{len(self.curve):05d}.pt", content.getvalue())

    def load(self, folder: Path) -> None:
        """Restores the newest checkpoint; without one, nothing changes."""
        if checkpoint := newest_checkpoint(folder):
            state = read_checkpoint(checkpoint)
            for name, part in self._parts().items():
                part.load_state_dict(state[name])
            self.curve = [Epoch(**epoch) for epoch in state["curve"]]
            self.best = BestEvaluation(*state["best"])
            self.snapshots = state["snapshots"]
            self.recorder.statistics = [OutputStatistics(**row) for row in state["outputs"]]

    def _parts(self) -> dict[str, Any]:
        """Returns the objects that a checkpoint holds the states of, by name."""
        parts = {"network": self.network, "optimizer": self.optimizer, "schedule": self.schedule}
        return parts | ({"ema": self.ema} if self.ema else {})
