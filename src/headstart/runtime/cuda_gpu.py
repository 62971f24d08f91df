"""The GPU runtime: the backbone on one NVIDIA GPU, which the process's local rank selects."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from headstart.backbones.loading import LoadedBackbone, resize_tensor
from headstart.core.devices import own_gpu, supports_bfloat16
from headstart.core.errors import UserError
from headstart.runtime.normalized_network import NormalizedNetwork


class CUDARuntime:
    """A backbone on a GPU, in channels_last layout.

    It computes entirely in float32, or convolutions and matrix products in bfloat16. Batches are
    copied to the GPU on a separate stream, and features are copied back asynchronously through
    pinned memory (which torch keeps and reuses), so that the GPU computes during the copies.

    chunk: the number of images computed at once; smaller than `batch_size` if the GPU's memory is
    full. For the other attributes and methods see `runtimes.Runtime`.
    """

    def __init__(self, backbone: LoadedBackbone, batch_size: int, precision: str) -> None:
        self.batch_size = self.chunk = batch_size
        self.preprocessing = backbone.preprocessing
        self.provenance = {"precision": precision}
        if precision == "bfloat16":
            # Other hardware rounds differently, by more than the check of cached rows tolerates.
            self.provenance["device"] = "cuda"
        self.autocast = precision == "bfloat16"
        self.device = own_gpu()
        self.copy_stream = torch.cuda.Stream(self.device)
        network = NormalizedNetwork(backbone.network, self.preprocessing)
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        size = backbone.preprocessing.input_size
        self.width = self.submit(np.zeros((batch_size, size, size, 3), np.uint8))().shape[1]

    @staticmethod
    def check(precision: str) -> None:
        """Checks that the GPU supports `precision`.

        Raises:
            UserError: it doesn't.
        """
        if precision == "int8":
            raise UserError(
                "precision int8 runs on CPUs only; set precision to bfloat16, or device to cpu"
            )
        if precision == "bfloat16" and not supports_bfloat16(torch.device("cuda")):
            raise UserError(
                "precision bfloat16 needs a GPU that has it (Ampere or newer); set precision to "
                "float32"
            )

    @torch.inference_mode()
    def submit(self, pixels: np.ndarray) -> Callable[[], np.ndarray]:
        """Queues a batch on the GPU; see `runtimes.Runtime.submit`."""
        # Memory is allocated when work is queued, so this is where it can run out.
        features, self.chunk = compute_in_chunks(self._features, pixels, self.chunk)
        rows = torch.empty(features.shape, dtype=features.dtype, pin_memory=True)
        rows.copy_(features, non_blocking=True)
        copied = torch.cuda.Event()
        copied.record()

        def collect() -> np.ndarray:
            copied.synchronize()
            return rows.numpy()

        return collect

    def _features(self, pixels: np.ndarray) -> torch.Tensor:
        """Queues the computation of images [b, s, s, 3]; returns features [b, D] on the GPU."""
        compute_stream = torch.cuda.current_stream()
        with torch.cuda.stream(self.copy_stream):
            x = torch.from_numpy(pixels).pin_memory().to(self.device, non_blocking=True)
        compute_stream.wait_stream(self.copy_stream)
        x.record_stream(compute_stream)  # the next copy must not reuse its memory before that
        # Rounded to whole pixel values, as the uint8 resize on the CPU does.
        x = resize_tensor(x.permute(0, 3, 1, 2).float(), self.preprocessing).round().clamp(0, 255)
        with (
            full_float32_precision(),
            torch.autocast("cuda", torch.bfloat16, enabled=self.autocast),
        ):
            return self.network(x.permute(0, 2, 3, 1))


@contextmanager
def full_float32_precision() -> Iterator[None]:
    """Computes float32 in full precision inside the context.

    torch's default for convolutions is TF32, whose rounding error is that of half precision. The
    setting applies to the whole process and is restored on exit.
    """
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


def compute_in_chunks(
    compute: Callable[[np.ndarray], torch.Tensor], batch: np.ndarray, chunk: int
) -> tuple[torch.Tensor, int]:
    """Computes a batch in chunks, halving the chunk size whenever the GPU's memory runs out.

    Returns the features of the whole batch, and the chunk size that fitted.

    Raises:
        UserError: not even a single image fits.
    """
    while True:
        try:
            parts = [compute(batch[i : i + chunk]) for i in range(0, len(batch), chunk)]
            return torch.cat(parts), chunk
        except torch.OutOfMemoryError:
            if chunk == 1:
                raise UserError(
                    "one image doesn't fit into the GPU's memory; lower the backbone's input_size "
                    "in zoo"
                ) from None
            chunk //= 2
            tqdm.write(f"the GPU's memory is full: continuing with {chunk} images at a time")
