"""One NVIDIA GPU, the one of this process's rank."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from headstart.backbones.loading import LoadedBackbone
from headstart.core.devices import own_gpu, supports_bfloat16
from headstart.core.errors import UserError
from headstart.runtime.normalized_network import NormalizedNetwork, resize_tensor


class CUDARuntime:
    """channels_last; float32 throughout, or convolutions and products in bfloat16.

    Batches go to the device on a stream of their own and features come back unawaited, through
    pinned memory (torch keeps and reuses it), so that the device computes meanwhile.
    """

    def __init__(self, backbone: LoadedBackbone, batch_size: int, precision: str) -> None:
        self.batch_size = self.chunk = batch_size
        self.preprocessing = backbone.preprocessing
        self.provenance = {"precision": precision}
        if precision == "bfloat16":
            # Kernels of other hardware round otherwise, by more than the canary lets pass.
            self.provenance["device"] = "cuda"
        self.autocast = precision == "bfloat16"
        self.device = own_gpu()
        self.copies = torch.cuda.Stream(self.device)
        network = NormalizedNetwork(backbone.network, self.preprocessing)
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        size = backbone.preprocessing.input_size
        self.width = self.submit(np.zeros((batch_size, size, size, 3), np.uint8))().shape[1]

    @staticmethod
    def check(precision: str) -> None:
        if precision == "int8":
            raise UserError(
                "precision int8 is for the CPU; set precision to bfloat16, or device to cpu"
            )
        if precision == "bfloat16" and not supports_bfloat16(torch.device("cuda")):
            raise UserError(
                "precision bfloat16 needs a GPU that has it (Ampere or newer); set precision to "
                "float32"
            )

    @torch.inference_mode()
    def submit(self, pixels: np.ndarray) -> Callable[[], np.ndarray]:
        # Memory is taken when work is queued, not when it is done: this is where it runs out.
        features, self.chunk = in_chunks(self._features, pixels, self.chunk)
        rows = torch.empty(features.shape, dtype=features.dtype, pin_memory=True)
        rows.copy_(features, non_blocking=True)
        there = torch.cuda.Event()
        there.record()

        def collect() -> np.ndarray:
            there.synchronize()
            return rows.numpy()

        return collect

    def _features(self, pixels: np.ndarray) -> torch.Tensor:
        """Features [b, D] of images [b, s, s, 3], on the device, queued."""
        computing = torch.cuda.current_stream()
        with torch.cuda.stream(self.copies):
            x = torch.from_numpy(pixels).pin_memory().to(self.device, non_blocking=True)
        computing.wait_stream(self.copies)
        x.record_stream(computing)  # its memory is not free for the next copy before that
        # Rounded to whole pixel values, as the CPU's uint8 resize gives them.
        x = resize_tensor(x.permute(0, 3, 1, 2).float(), self.preprocessing).round().clamp(0, 255)
        with exact(), torch.autocast("cuda", torch.bfloat16, enabled=self.autocast):
            return self.network(x.permute(0, 2, 3, 1))


@contextmanager
def exact() -> Iterator[None]:
    """float32 is computed as such; torch's default for convolutions is TF32, whose error is that of
    half precision. torch has this setting for the whole process: it is put back afterwards."""
    backends: Any = torch.backends
    settings = (backends.cudnn.conv, backends.cuda.matmul)
    before = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "ieee"
        yield
    finally:
        for setting, value in zip(settings, before, strict=True):
            setting.fp32_precision = value


def in_chunks(
    compute: Callable[[np.ndarray], torch.Tensor], batch: np.ndarray, chunk: int
) -> tuple[torch.Tensor, int]:
    """compute(batch), in chunks that are halved whenever memory runs out; and the last size.

    Raises:
        UserError: not even one image at a time fits.
    """
    while True:
        try:
            parts = [compute(batch[i : i + chunk]) for i in range(0, len(batch), chunk)]
            return torch.cat(parts), chunk
        except torch.OutOfMemoryError:
            if chunk == 1:
                raise UserError(
                    "one image doesn't fit the GPU's memory; lower input_size"
                ) from None
            chunk //= 2
            tqdm.write(f"the GPU's memory is full: going on with {chunk} images at a time")
