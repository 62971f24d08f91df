"""Several processes that train one network together; one alone notices nothing of this file.

torchrun starts them and torch's DistributedDataParallel averages their gradients. Every process
has the whole of train, draws the whole batch's random numbers and goes on with its share of the
batch, and batch normalization sees the batches whole. So the curve is that of one process, up to
rounding and to dropout, whose masks are each process's own.
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
    """With the other processes, where torchrun started this one; gives the device that is its own.

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
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this process is the one that writes files and shows bars."""
    return rank() == 0


def barrier() -> None:
    """Until all processes are here."""
    if world_size() > 1:
        dist.barrier()


@contextmanager
def main_process_lock(path: Path) -> Iterator[None]:
    """The lock at `path`, held by the first process for all; the others wait until it has it."""
    with FileLock(path) if is_main() else nullcontext():
        barrier()
        yield


def check_batch_shards(batch_size: int, parts: int) -> None:
    """Raises UserError where a batch in `parts` has no equal shares, so that means of means lie."""
    processes = world_size()
    if processes > 1 and batch_size % (processes * parts):
        raise UserError(
            f"a batch of {batch_size} images in {parts} parts can't be shared equally by "
            f"{processes} processes; set the recipe's batch_size to a multiple of "
            f"{processes * parts}, or start another number of processes"
        )


def local_shard(batch: Tensor) -> Tensor:
    """This process's rows of [B, ...]. Every n-th: of each of `accumulate` parts as many."""
    return batch[rank() :: world_size()]


def all_reduce_sum(value: Tensor) -> Tensor:
    """The sum over processes."""
    if world_size() > 1:
        value = value.clone()
        dist.all_reduce(value)
    return value


def data_parallel(network: nn.Module) -> nn.Module:
    """`network`, whose gradients are then those of all processes' shares together."""
    return DistributedDataParallel(network) if world_size() > 1 else network


def sync_batch_norm(network: nn.Module) -> nn.Module:
    """`network`, changed in place: its batch normalization sees the batches of all processes.

    Raises:
        UserError: torch can't do that for this network on a CPU.
    """
    if world_size() == 1:
        return network
    if next(network.parameters()).device.type == "cuda":
        # timm's knows its own kinds too. Imported here as it takes seconds.
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
    """`total`, through which gradients flow: every process's result depends on all inputs."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return all_reduce_sum(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return all_reduce_sum(gradient)


class SyncedBatchNorm(_BatchNorm):
    """torch.nn.SyncBatchNorm, which wants GPUs, of equal shares on any device."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, ...] to the same."""
        if not self.training:
            return super().forward(input)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        around = [0, *range(2, input.ndim)]
        mean = AllReduceSum.apply(input.float().mean(around, keepdim=True)) / world_size()
        away = input.float() - mean
        variance = AllReduceSum.apply(away.square().mean(around, keepdim=True)) / world_size()
        with torch.no_grad():
            count = input.numel() // input.shape[1] * world_size()
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean.flatten(), self.momentum or 0)
            self.running_var.lerp_(variance.flatten() * count / (count - 1), self.momentum or 0)
        shape = mean.shape
        x = away * (variance + self.eps).rsqrt()
        return (x * self.weight.view(shape) + self.bias.view(shape)).to(input.dtype)
