"""Digests of networks' weights."""

from typing import Protocol

from torch import nn


class Digest(Protocol):
    """A hash object of hashlib."""

    def update(self, data: bytes, /) -> None: ...


def update_digest(digest: Digest, network: nn.Module) -> None:
    """Updates `digest` with the name, dtype, shape and bytes of every weight and buffer."""
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
