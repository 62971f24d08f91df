"""A network that was trained end to end, as a runtime from stored images to logits."""

from typing import Any

import numpy as np
import torch
from torch import nn

from headstart.backbones.loading import LoadedBackbone, Preprocessing
from headstart.inference.central_crop import CentralCrop
from headstart.runtime.runtimes import Future, start_runtime
from headstart.training.image_transforms import InputSpec, downscale


class NetworkRuntime:
    """A network from images [B, s, s, 3] uint8 to logits [B, C], in float32; a `runtimes.Runtime`.

    The images are seen as in `InputSpec.eval_transform`, which the predictions of a training run
    rest on, too. These may have been computed in bfloat16.
    """

    def __init__(
        self, network: nn.Module, spec: InputSpec, stored_side: int, device: str, batch_size: int
    ) -> None:
        """stored_side: in px, of the images. Raises UserError if the device can't compute it."""
        self.side = min(stored_side, spec.side)
        central = nn.Sequential(CentralCrop(self.side, spec), network)
        preprocessing = network_preprocessing(spec, self.side)
        loaded = LoadedBackbone(central, preprocessing, {"architecture": type(network).__name__})
        self.runtime = start_runtime(loaded, device, batch_size)
        self.batch_size, self.width = batch_size, self.runtime.width
        self.provenance: dict[str, Any] = self.runtime.provenance

    def submit(self, pixels: np.ndarray) -> Future:
        """Starts computing the logits of a batch; see `runtimes.Runtime.submit`."""
        return self.runtime.submit(downscale(torch.from_numpy(pixels), self.side).numpy())


def network_preprocessing(spec: InputSpec, side: int) -> Preprocessing:
    """Returns what normalizes images of `side` px for a network that takes `spec`."""
    (red, green, blue), std = spec.mean, spec.std
    return Preprocessing(side, "bilinear", (red, green, blue), (std[0], std[1], std[2]))
