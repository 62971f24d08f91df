"""Runtimes: a loaded backbone put on a device, from uint8 pixels to float32 features.

Resizing happens here, on the device where that is a GPU: what interpolation invents is never
stored. Batches have one fixed size: a row's bits must not depend on what it was computed beside.
"""

import os
import shutil
from collections.abc import Callable
from typing import Protocol

import numpy as np
import openvino
import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from headstart.backbones import LoadedBackbone, Preprocessing
from headstart.errors import UserError


class Runtime(Protocol):
    """A backbone on a device.

    batch_size: the number of images that a call takes. width: D, of its features. precision: that
    it computes in; rows of different precisions are kept apart.
    """

    batch_size: int
    width: int
    precision: str

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Features [B, D] float32 of images [B, s, s, 3] uint8, B = batch_size, any s."""
        ...


def start(backbone: LoadedBackbone, device: str, batch_size: int) -> Runtime:
    """The runtime for `device`: `cpu`, `cuda`, or `auto` for a GPU where there is one.

    Raises:
        UserError: there is no such device, or the network doesn't give one vector an image.
    """
    if device != "cpu" and not torch.cuda.is_available():
        if device == "cuda":
            raise UserError("extract.device is cuda, but torch sees no GPU; set it to auto or cpu")
        if shutil.which("nvidia-smi"):
            raise UserError(
                "there is a GPU here that torch can't use (its build or the driver doesn't fit); "
                "mend that, or set extract.device to cpu to do without it"
            )
        device = "cpu"
    if device == "auto":
        device = "cuda"
    return {"cpu": OpenVINORuntime, "cuda": CUDARuntime}[device](backbone, batch_size)


class _Normalised(nn.Module):
    """The network behind its normalisation: [B, S, S, 3] uint8 to [B, D] float32."""

    scale: torch.Tensor
    shift: torch.Tensor

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network = network
        # (x / 255 - mean) / std as one multiplication and one addition
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        self.register_buffer("scale", (1 / (255 * std)).view(3, 1, 1))
        self.register_buffer("shift", (-mean / std).view(3, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        x = pixels.permute(0, 3, 1, 2).float()  # [B, 3, S, S], channels_last in memory
        features = self.network(x * self.scale + self.shift)
        if features.ndim != 2:
            raise UserError(
                f"the network gives {list(features.shape[1:])} an image, not one vector; "
                f"set `model_args` so that it pools (for most: global_pool: avg)"
            )
        return features.float()


class OpenVINORuntime:
    """The CPU: OpenVINO's compiled graph, float32 throughout."""

    precision = "float32"

    def __init__(self, backbone: LoadedBackbone, batch_size: int) -> None:
        self.batch_size = batch_size
        self.preprocessing = backbone.preprocessing
        size = backbone.preprocessing.input_size
        example = torch.zeros(batch_size, size, size, 3, dtype=torch.uint8)
        program = torch.export.export(_Normalised(backbone.network, self.preprocessing), (example,))
        model = openvino.convert_model(program)
        # Without the hint, machines with bfloat16 units would compute in less than float32.
        settings = {"INFERENCE_PRECISION_HINT": "f32"}
        if neighbours := int(os.environ.get("LOCAL_WORLD_SIZE", 1)) - 1:
            threads = max(1, (os.cpu_count() or 1) // (neighbours + 1))
            settings["INFERENCE_NUM_THREADS"] = str(threads)
        self.compiled = openvino.compile_model(model, "CPU", settings)
        self.width = self.compiled.output(0).shape[1]

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(pixels).permute(0, 3, 1, 2)  # [B, 3, s, s] uint8, channels_last
        x = _resize(x, self.preprocessing).permute(0, 2, 3, 1).contiguous()
        return self.compiled(x.numpy())[0]


class CUDARuntime:
    """One NVIDIA GPU, the one of this process's rank: float32 throughout, channels_last."""

    precision = "float32"

    def __init__(self, backbone: LoadedBackbone, batch_size: int) -> None:
        self.batch_size = self.chunk = batch_size
        self.preprocessing = backbone.preprocessing
        self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))
        # torch's default for convolutions is TF32, whose error is that of half precision.
        torch.backends.cudnn.conv.fp32_precision = "ieee"  # pyright: ignore[reportAttributeAccessIssue]
        torch.backends.cuda.matmul.fp32_precision = "ieee"
        network = _Normalised(backbone.network, self.preprocessing)
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        size = backbone.preprocessing.input_size
        self.width = self(np.zeros((batch_size, size, size, 3), np.uint8)).shape[1]

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        features, self.chunk = in_chunks(self._features, pixels, self.chunk)
        return features

    @torch.inference_mode()
    def _features(self, pixels: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float()
        # Rounded to whole pixel values, as the CPU's uint8 resize gives them.
        x = _resize(x, self.preprocessing).round().clamp(0, 255)
        return self.network(x.permute(0, 2, 3, 1)).cpu().numpy()


def in_chunks(
    compute: Callable[[np.ndarray], np.ndarray], batch: np.ndarray, chunk: int
) -> tuple[np.ndarray, int]:
    """compute(batch), in chunks that are halved whenever memory runs out; and the last size.

    Raises:
        UserError: not even one image at a time fits.
    """
    while True:
        try:
            parts = [compute(batch[i : i + chunk]) for i in range(0, len(batch), chunk)]
            return np.concatenate(parts), chunk
        except torch.OutOfMemoryError:
            if chunk == 1:
                raise UserError(
                    "one image doesn't fit the GPU's memory; lower input_size"
                ) from None
            chunk //= 2
            tqdm.write(f"the GPU's memory is full: going on with {chunk} images at a time")


def _resize(x: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """[B, 3, s, s] to [B, 3, S, S]; antialiased, which matters where it makes smaller."""
    size = preprocessing.input_size
    if x.shape[-1] == size:
        return x
    return F.interpolate(x, (size, size), mode=preprocessing.interpolation, antialias=True)
