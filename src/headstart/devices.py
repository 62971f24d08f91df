"""The device that torch trains on, and what it has."""

import torch

from headstart.errors import UserError


def device_named(name: str, stage: str) -> torch.device:
    """`cpu`, `cuda`, or `auto` for a GPU where there is one.

    stage: the section of params.yaml whose `device` it is.

    Raises:
        UserError: there is no GPU.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError(f"{stage}.device is cuda, but torch sees no GPU; set it to auto or cpu")
    return torch.device(name)


def has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware computes in bfloat16; what only emulates it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    abilities = torch.cpu.get_capabilities()
    return bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))
