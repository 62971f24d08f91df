"""The CPU runtime: the backbone as a graph that OpenVINO compiled."""

import os
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import openvino
import torch

from headstart.backbones.loading import LoadedBackbone
from headstart.core.devices import supports_bfloat16
from headstart.core.errors import UserError, first_line
from headstart.runtime.int8_quantization import quantize
from headstart.runtime.normalized_network import NormalizedNetwork, resize_pixels

INFERENCE_PRECISION_HINTS = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}
"""OpenVINO's names for the precisions; for int8, the precision of the layers that aren't quantized.
Without a hint, OpenVINO would compute in bfloat16 on machines that support it."""


class CPURuntime:
    """A backbone on the CPU, on all cores.

    If torchrun started several processes, each uses an equal share of the cores.
    For attributes and methods see `runtimes.Runtime`.
    """

    def __init__(self, backbone: LoadedBackbone, batch_size: int, precision: str) -> None:
        self.batch_size = batch_size
        self.preprocessing = backbone.preprocessing
        self.provenance = {"precision": precision}
        size = backbone.preprocessing.input_size
        shape = (batch_size, size, size, 3)
        if precision == "int8":
            model, self.provenance["quantized"] = quantize(backbone)
            model.reshape(shape)
        else:
            network = NormalizedNetwork(backbone.network, backbone.preprocessing)
            example = torch.zeros(shape, dtype=torch.uint8)
            model = _convert(network, example, backbone)
        if precision == "bfloat16":
            # Other hardware rounds differently, by more than the check of cached rows tolerates.
            self.provenance["device"] = "cpu"
        settings = {"INFERENCE_PRECISION_HINT": INFERENCE_PRECISION_HINTS[precision]}
        processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        if processes > 1:
            threads = max(1, (os.cpu_count() or 1) // processes)
            settings["INFERENCE_NUM_THREADS"] = str(threads)
        self.compiled = openvino.compile_model(model, "CPU", settings)
        width = self.compiled.output(0).partial_shape[1]
        # OpenVINO can't tell the width of every network without running it.
        blank = np.zeros(shape, np.uint8)
        self.width = self.submit(blank)().shape[1] if width.is_dynamic else width.get_length()

    @staticmethod
    def check(precision: str) -> None:
        """Checks that this CPU and the installation support `precision`.

        Raises:
            UserError: they don't.
        """
        if precision == "bfloat16" and not supports_bfloat16(torch.device("cpu")):
            raise UserError(
                "precision bfloat16 needs a CPU with AVX512-BF16 or AMX-BF16, and this one has "
                "neither; set precision to float32 or int8"
            )
        if precision == "int8" and find_spec("nncf") is None:
            raise UserError("precision int8 needs NNCF; install it with `uv sync --extra int8`")

    def submit(self, pixels: np.ndarray) -> Callable[[], np.ndarray]:
        """Computes the features immediately; the CPU has nothing to do at the same time."""
        features = self.compiled(resize_pixels(pixels, self.preprocessing))[0]
        return lambda: features


def _convert(
    network: NormalizedNetwork, example: torch.Tensor, backbone: LoadedBackbone
) -> openvino.Model:
    """Returns the network as an OpenVINO model for batches shaped like `example`.

    Raises:
        UserError: torch can't export the network.
    """
    try:
        return openvino.convert_model(torch.export.export(network, (example,)))
    except UserError:
        raise
    except Exception as error:  # any error of the network's own code
        raise UserError(
            f"{backbone.provenance['architecture']} can't be exported by torch.export "
            f"({first_line(error)}); look at what its `forward` does with a batch [B, 3, S, S], "
            f"or set device to cuda"
        ) from error
