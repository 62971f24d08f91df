"""Evaluation of a network: its logits, and the sums of its losses and hits."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.core.devices import supports_bfloat16
from headstart.metrics.selection import tune_score
from headstart.training import distributed
from headstart.training.image_transforms import InputTransform

EVALUATION_BATCH_SIZE = {"cpu": 64, "cuda": 256}
"""Images per batch in evaluation. On a CPU, larger batches take 1.5 times as long per image: the
memory of each layer's output is then returned to the system and allocated again."""


@dataclass(frozen=True)
class ImageTensors:
    """Images and labels in the memory of one device.

    pixels: [N, S, S, 3] uint8, or what else an `InputTransform` holds of the images: [N, ...].
    labels: [N] int64.
    """

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        """Returns the number of images."""
        return len(self.labels)


class Evaluation(NamedTuple):
    """A network on tune: mean loss, top-1 accuracy, and what tune chooses by if by another."""

    loss: float
    top1: float
    score: float | None = None


def autocast(device: torch.device) -> AbstractContextManager:
    """Returns a context that computes in bfloat16 if the hardware supports it, or else in float32.

    On such hardware bfloat16 is about twice as fast.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=supports_bfloat16(device))


class MetricSums:
    """Sums of losses and hits over batches; they stay on the device until `means` is called."""

    def __init__(self, device: torch.device):
        self.count = 0
        self.sums = torch.zeros(2, dtype=torch.float64, device=device)

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Adds a batch. loss: summed over the batch. logits: [B, C]. labels: [B]."""
        self.count += len(labels)
        self.sums[0] += loss
        self.sums[1] += (logits.argmax(dim=1) == labels).sum()

    def means(self) -> tuple[float, float]:
        """Returns mean loss and top-1 accuracy over all processes."""
        sums = torch.cat([self.sums, self.sums.new_tensor([self.count])])
        loss, hits, count = distributed.all_reduce_sum(sums).tolist()
        return loss / count, hits / count


@torch.inference_mode()
def predict_logits(
    network: nn.Module, pixels: Tensor, input_spec: InputTransform, device: torch.device
) -> Tensor:
    """Returns the logits [N, C] float32, on `device`.

    network: on `device`. pixels: [N, ...], as in `ImageTensors`, on any device.
    """
    network.eval()
    logits = []
    for batch in pixels.split(EVALUATION_BATCH_SIZE[device.type]):
        with autocast(device):
            logits.append(network(input_spec.eval_transform(batch.to(device))).float())
    return torch.cat(logits)


def evaluate_network(
    network: nn.Module,
    data: ImageTensors,
    input_spec: InputTransform,
    label_smoothing: float,
    class_weights: Tensor,
    choose_by: str,
    device: torch.device,
) -> Evaluation:
    """Returns the metrics of `network` on `data`, of which this process evaluates its shard.

    class_weights: [C], of an image in the loss. choose_by: a key of `metrics.selection.CRITERIA`.
    """
    stats = MetricSums(device)
    pixels, labels = map(distributed.local_shard, (data.pixels, data.labels.to(device)))
    logits = predict_logits(network, pixels, input_spec, device)
    losses = F.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="none")
    stats.add((losses * class_weights[labels]).sum(), logits, labels)
    loss, top1 = stats.means()
    if choose_by == "accuracy":
        return Evaluation(loss, top1)
    every = logits.new_zeros(len(data), logits.shape[1])
    distributed.local_shard(every).copy_(logits.softmax(dim=1))
    probabilities = distributed.all_reduce_sum(every).cpu().numpy()
    return Evaluation(loss, top1, tune_score(probabilities, data.labels.cpu().numpy(), choose_by))
