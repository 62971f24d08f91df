"""What tells one network's weights from another's."""

from typing import Protocol

from torch import nn


class Digest(Protocol):
    """One of hashlib's, under way."""

    def update(self, data: bytes, /) -> None: ...


def update_digest(digest: Digest, network: nn.Module) -> None:
    """Feeds every tensor of the network, buffers too, with name, dtype and shape, to `digest`."""
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
