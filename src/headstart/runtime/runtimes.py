"""Runtimes: a loaded backbone put on a device, from uint8 pixels to float32 features.

Resizing happens here, on the device where that is a GPU: what interpolation invents is never
stored. Batches have one fixed size: a row's bits must not depend on what it was computed beside.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from headstart.backbones.loading import LoadedBackbone
from headstart.core.devices import resolve_device
from headstart.runtime.cuda_gpu import CUDARuntime
from headstart.runtime.openvino_cpu import CPURuntime

RUNTIMES = {"cpu": CPURuntime, "cuda": CUDARuntime}


Future = Callable[[], np.ndarray]
"""A batch that a device works on; called, it waits for the features and returns them."""


class Runtime(Protocol):
    """A backbone on a device.

    batch_size: the number of images in a batch. width: D, of its features. provenance:
    plain JSON, its `precision` and whatever else of it determines features beside the backbone.
    """

    batch_size: int
    width: int
    provenance: dict[str, Any]

    def submit(self, pixels: np.ndarray) -> Future:
        """Begins a batch, images [B, s, s, 3] uint8 for any s: its features [B, D] float32 pend.

        A GPU copies one batch while it computes another, if that was submitted before the first
        was asked for.
        """
        ...


def start_runtime(
    backbone: LoadedBackbone, device: str, batch_size: int, precision: str = "float32"
) -> Runtime:
    """The runtime for `device`: `cpu`, `cuda`, or `auto` for a GPU where there is one.

    precision: `float32`, `bfloat16` or `int8`, what is computed in; features are float32 always.

    Raises:
        UserError: as `check`; or the network doesn't give one vector an image.
    """
    check_runtime(device, precision)
    return RUNTIMES[resolve_device(device).type](backbone, batch_size, precision)


def check_runtime(device: str, precision: str) -> None:
    """Finds out at once whether there is such a device, and computes in that precision.

    Raises:
        UserError: it isn't so.
    """
    RUNTIMES[resolve_device(device).type].check(precision)


def extract_array(runtime: Runtime, images: np.ndarray) -> np.ndarray:
    """The features [n, D] of any number of images [n, s, s, 3], in as few batches as it takes."""
    size = runtime.batch_size
    starts = range(0, len(images), size)
    batches = [runtime.submit(pad_batch(images[i : i + size], size))() for i in starts]
    return np.concatenate(batches)[: len(images)]


def pad_batch(images: np.ndarray, size: int) -> np.ndarray:
    """A batch of `size` images: the last of a kind may be fewer, and its last image is repeated."""
    return np.pad(images, ((0, size - len(images)), (0, 0), (0, 0), (0, 0)), mode="edge")
