"""Records how the outputs of modules are distributed while a network trains.

The tailored-networks paper (section 4.3) reads from such records that activations become sparse and
that scores spread.
"""

from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from headstart.store.output_statistics import OutputStatistics

RECORDED_STEPS = 200
"""Number of steps of a training, at most, whose outputs are recorded; evenly spaced."""


class OutputRecorder:
    """Records the outputs of some modules of a network in evenly spaced steps of its training.

    While it is entered as a context, `start_step` says that a step begins; in some steps, the first
    output of each module is then recorded. statistics: the records so far, in order.
    """

    def __init__(self, network: nn.Module, modules: Sequence[str], total_steps: int):
        self.modules = {name: network.get_submodule(name) for name in modules}
        self.interval = -(-total_steps // RECORDED_STEPS)
        self.statistics: list[OutputStatistics] = []
        self._step = 0
        self._pending: set[str] = set()
        self._hooks: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        self._hooks = [
            module.register_forward_hook(partial(self._record, name))
            for name, module in self.modules.items()
        ]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for hook in self._hooks:
            hook.remove()

    def start_step(self, step: int) -> None:
        """Says that the forward pass of step number `step`, counted from 0, comes next."""
        self._step = step
        if step % self.interval == 0:
            self._pending = set(self.modules)

    @torch.no_grad()
    def _record(self, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        if name not in self._pending:
            return
        self._pending.remove(name)
        while not isinstance(output, Tensor):  # a recurrent layer returns its states, too
            output = output[0]
        values = output.float()
        std, mean = torch.std_mean(values, correction=0)
        numbers = torch.stack([values.max(), mean, std, values.min()]).tolist()
        self.statistics.append(OutputStatistics(self._step, name, *numbers))
