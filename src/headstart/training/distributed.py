"""Training one network with several processes; in a single process these functions change nothing.

torchrun starts the processes and torch's DistributedDataParallel averages their gradients. Every
process holds all of train, draws the random numbers of the whole batch and continues with its shard
of the batch; batch normalization uses the statistics of the whole batch. The training curve
therefore equals that of a single process, except for rounding and for dropout, whose masks each
process draws itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from filelock import FileLock
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from headstart.core.devices import own_gpu
from headstart.core.errors import UserError
from headstart.core.torchrun import launched_by_torchrun


@contextmanager
def process_group(device: torch.device) -> Iterator[torch.device]:
    """Joins the process group if torchrun started this process; yields the process's device.

    device: the device's kind; with several processes on one host, each gets a GPU of its own.

    Raises:
        UserError: the host has fewer GPUs than processes.
    """
    if not launched_by_torchrun():
        yield device
        return
    gpu = None
    if device.type == "cuda":
        device = gpu = own_gpu()
    dist.init_process_group("nccl" if gpu else "gloo", device_id=gpu)
    try:
        yield device
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """Returns the index of this process in the group; 0 for a single process."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Returns the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Returns whether this process is the one that writes files and shows progress bars."""
    return rank() == 0


def barrier() -> None:
    """Waits until all processes have called it."""
    if world_size() > 1:
        dist.barrier()


@contextmanager
def main_process_lock(path: Path) -> Iterator[None]:
    """Holds the lock at `path` in the main process; the others wait until it is acquired."""
    with FileLock(path) if is_main() else nullcontext():
        barrier()
        yield


def check_batch_shards(batch_size: int, parts: int) -> None:
    """Checks that all processes get equal shards of each of the batch's `parts`.

    Otherwise the averaged gradients would be biased.

    parts: number of parts that a batch is split into for gradient accumulation.

    Raises:
        UserError: the shards aren't equal.
    """
    processes = world_size()
    if processes > 1 and batch_size % (processes * parts):
        raise UserError(
            f"a batch of {batch_size} images in {parts} parts can't be divided equally among "
            f"{processes} processes; set the recipe's batch_size to a multiple of "
            f"{processes * parts}, or start another number of processes"
        )


def local_shard(batch: Tensor) -> Tensor:
    """Returns this process's rows of a batch [B, ...].

    These are every n-th row, so each part of an accumulated batch has the same number of them.
    """
    return batch[rank() :: world_size()]


def all_reduce_sum(value: Tensor) -> Tensor:
    """Returns the sum of `value` over all processes."""
    if world_size() > 1:
        value = value.clone()
        dist.all_reduce(value)
    return value


def data_parallel(network: nn.Module) -> nn.Module:
    """Returns `network`, wrapped so that its gradients are averaged over all processes."""
    return DistributedDataParallel(network) if world_size() > 1 else network


def sync_batch_norm(network: nn.Module) -> nn.Module:
    """Makes batch normalization use the shards of all processes; changes and returns `network`.

    Raises:
        UserError: the network has a kind of batch normalization that can't be synchronized on CPUs.
    """
    if world_size() == 1:
        return network
    if next(network.parameters()).device.type == "cuda":
        # timm's function converts timm's own layers too. Importing it takes seconds.
        from timm.layers.norm_act import convert_sync_batchnorm

        return convert_sync_batchnorm(network)
    for module in network.modules():
        if type(module) in (nn.BatchNorm1d, nn.BatchNorm2d):
            module.__class__ = SyncedBatchNorm
        elif isinstance(module, _BatchNorm):
            raise UserError(
                f"this network's {type(module).__name__} can't be trained by several processes on "
                f"CPUs; set `processes` to 1, or train it on GPUs"
            )
    return network


class AllReduceSum(torch.autograd.Function):
    """`all_reduce_sum` for autograd: every process's result depends on the inputs of all."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return all_reduce_sum(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return all_reduce_sum(gradient)


class SyncedBatchNorm(_BatchNorm):
    """torch.nn.SyncBatchNorm for any device (torch's needs GPUs); all shards must be equal."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        """Normalizes [B, C, ...]; the result has the same shape."""
        if not self.training:
            return super().forward(input)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        axes = [0, *range(2, input.ndim)]
        mean = AllReduceSum.apply(input.float().mean(axes, keepdim=True)) / world_size()
        centered = input.float() - mean
        variance = AllReduceSum.apply(centered.square().mean(axes, keepdim=True)) / world_size()
        with torch.no_grad():
            count = input.numel() // input.shape[1] * world_size()
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean.flatten(), self.momentum or 0)
            self.running_var.lerp_(variance.flatten() * count / (count - 1), self.momentum or 0)
        shape = mean.shape
        x = centered * (variance + self.eps).rsqrt()
        return (x * self.weight.view(shape) + self.bias.view(shape)).to(input.dtype)
