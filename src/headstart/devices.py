"""The device that torch trains on."""

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
