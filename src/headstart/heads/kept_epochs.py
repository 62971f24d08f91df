"""Which epochs' weights a head keeps: those of the last ones or of the best ones, averaged."""

import torch
from torch import Tensor

from headstart.metrics.selection import preference
from headstart.store.training_curves import Epoch


class KeptEpochs:
    """Copies of one model's weights after some epochs of its training.

    The mean of the weights (Izmailov et al., 2018, "Averaging Weights Leads to Wider Optima") is
    one model; for a linear head its logits are the mean of the epochs' logits.

    keep: `last`, or `best` for the epochs with the highest score on tune and, among equal ones, the
    lowest loss. count: how many epochs are kept.
    """

    def __init__(self, keep: str, count: int) -> None:
        self.keep = keep
        self.count = count
        self.kept: list[tuple[tuple[float, float], list[Tensor]]] = []  # the best first

    def add(self, epoch: Epoch, tensors: list[Tensor]) -> None:
        """Copies the weights after an epoch, if they are among those to keep so far."""
        rank = (float(epoch.epoch), 0.0)
        if self.keep == "best":
            rank = preference(epoch.score, epoch.tune_loss)
        if len(self.kept) < self.count or rank > self.kept[-1][0]:
            self.kept[self.count - 1 :] = []
            self.kept.append((rank, [tensor.detach().clone() for tensor in tensors]))
            self.kept.sort(key=lambda entry: entry[0], reverse=True)

    def mean(self) -> list[Tensor]:
        """Returns the mean of the kept weights, tensor by tensor."""
        copies = zip(*(tensors for _, tensors in self.kept), strict=True)
        return [torch.stack(list(same)).mean(dim=0) for same in copies]
