"""Runtimes: a loaded backbone on a device, from uint8 pixels to float32 features.

Images are resized here, on the GPU if there is one, so enlarged images are never stored. All
batches have the same size, because an image's features must not depend, not even in their last
bits, on the other images in the batch.
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
"""A batch in computation; calling it waits for the features [B, D] float32 and returns them."""


class Runtime(Protocol):
    """A backbone on a device.

    batch_size: B, the number of images in a batch. width: D, the number of features per image.
    provenance: plain JSON; its `precision` and everything else that determines the features, apart
    from the backbone.
    """

    batch_size: int
    width: int
    provenance: dict[str, Any]

    def submit(self, pixels: np.ndarray) -> Future:
        """Starts computing a batch; the returned future gives its features [B, D] float32.

        A GPU copies one batch while it computes another, provided that the next batch is submitted
        before the future of the previous one is called.

        pixels: [B, s, s, 3] uint8, for any s.
        """
        ...


def start_runtime(
    backbone: LoadedBackbone, device: str, batch_size: int, precision: str = "float32"
) -> Runtime:
    """Returns a runtime of `backbone` on a device.

    device: `cpu`, `cuda`, or `auto` for a GPU if there is one. precision: `float32`, `bfloat16` or
    `int8`, used for the computation; the features are always float32.

    Raises:
        UserError: the device or the precision isn't available (see `check_runtime`), or the network
            doesn't return one vector per image.
    """
    check_runtime(device, precision)
    return RUNTIMES[resolve_device(device).type](backbone, batch_size, precision)


def check_runtime(device: str, precision: str) -> None:
    """Checks that the device exists and supports the precision, without loading a backbone.

    Raises:
        UserError: there is no such device, or it doesn't support the precision.
    """
    RUNTIMES[resolve_device(device).type].check(precision)


def extract_array(runtime: Runtime, images: np.ndarray) -> np.ndarray:
    """Returns the features [N, D] float32 of any number of images [N, s, s, 3] uint8."""
    size = runtime.batch_size
    starts = range(0, len(images), size)
    batches = [runtime.submit(pad_batch(images[i : i + size], size))() for i in starts]
    return np.concatenate(batches)[: len(images)]


def pad_batch(images: np.ndarray, size: int) -> np.ndarray:
    """Returns a batch of exactly `size` images, repeating the last one of `images` as needed."""
    return np.pad(images, ((0, size - len(images)), (0, 0), (0, 0), (0, 0)), mode="edge")
