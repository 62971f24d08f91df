"""The device that torch computes on, its memory and its support of bfloat16."""

import os
import shutil

import torch

from headstart.core.errors import UserError
from headstart.core.memory_limits import machine_memory


def resolve_device(name: str) -> torch.device:
    """Returns the device that a setting called `device` chooses.

    name: `cpu`, `cuda`, or `auto` for a GPU if there is one.

    Raises:
        UserError: `cuda` without a GPU, or `auto` with a GPU that torch can't use.
    """
    if name == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if name == "cuda":
        raise UserError("device is cuda, but torch sees no GPU; set it to auto or cpu")
    if shutil.which("nvidia-smi"):
        raise UserError(
            "there is a GPU here that torch can't use (torch's build doesn't fit the driver, "
            "or CUDA_VISIBLE_DEVICES hides the GPU); fix that, or set device to cpu"
        )
    return torch.device("cpu")


def memory_of(device: torch.device) -> int:
    """Returns bytes of memory: a GPU's free memory, or all memory of the machine for the CPU."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else machine_memory()


def own_gpu() -> torch.device:
    """Returns the GPU of this process, chosen by its local rank, and makes it torch's current one.

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
    """Returns whether the hardware computes in bfloat16; emulation would be slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
