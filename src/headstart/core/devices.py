"""The device that torch computes on, and what it has."""

import os
import shutil

import torch

from headstart.core.errors import UserError
from headstart.core.memory_limits import machine_memory


def resolve_device(name: str) -> torch.device:
    """The device `cpu` or `cuda`, or for `auto` a GPU where there is one and else the CPU.

    Raises:
        UserError: there is no GPU, or for `auto` one that torch can't use.
    """
    if name == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if name == "cuda":
        raise UserError("device is cuda, but torch sees no GPU; set it to auto or cpu")
    if shutil.which("nvidia-smi"):
        raise UserError(
            "there is a GPU here that torch can't use (its build or the driver "
            "doesn't fit, or CUDA_VISIBLE_DEVICES hides it); "
            "mend that, or set device to cpu to do without it"
        )
    return torch.device("cpu")


def memory_of(device: torch.device) -> int:
    """Bytes of memory: what is free on a GPU, what the machine has in all for its CPU."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else machine_memory()


def own_gpu() -> torch.device:
    """The GPU of this process, from now on torch's current one: of several, that of its rank.

    Raises:
        UserError: the host has fewer GPUs than processes.
    """
    gpu = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
    if gpu.index >= torch.cuda.device_count():
        raise UserError(
            f"there are more processes than the {torch.cuda.device_count()} GPUs of this host; "
            f"lower `processes`"
        )
    torch.cuda.set_device(gpu)
    return gpu


def supports_bfloat16(device: torch.device) -> bool:
    """Whether the hardware computes in bfloat16; what only emulates it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    abilities = torch.cpu.get_capabilities()
    return bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))
