"""Post-training quantization to int8 by NNCF for OpenVINO; the result is cached.

The network is calibrated on crops of embedded photographs, whatever images are to be extracted. The
quantized network therefore depends on the backbone alone, and cached rows stay valid when images
are added.
"""

from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory

import numpy as np
import openvino
import torch
from filelock import FileLock
from torch._dynamo.exc import UserError as DynamoUserError
from tqdm import tqdm

from headstart.backbones.loading import LoadedBackbone
from headstart.core.cache_folders import QUANTIZED, cache_name, cache_root, ensure_dir
from headstart.core.errors import UserError
from headstart.core.file_digests import file_sha256
from headstart.core.flower_photographs import sample_photographs
from headstart.runtime.normalized_network import NormalizedNetwork, resize_pixels

STRIDE, CROPS_EACH = 5, 3
"""Every fifth of the 500 photographs gives three crops: 300 images to calibrate on, NNCF's default.
"""

CROP_SIDES = (0.15, 1.0)
"""Range of a crop's side relative to the photograph's shorter side, from close-ups to whole scenes.
With 64-px patches alone, MobileNetV2's median cosine similarity with float32 was 0.986 instead of
0.994."""

GRAPH_FILE = "graph.xml"


def quantize(backbone: LoadedBackbone) -> tuple[openvino.Model, str]:
    """Returns the quantized network, [B, S, S, 3] uint8 -> [B, D] for any B, and its digest.

    The network is cached: it is quantized at the first call and read from the cache afterwards. The
    digest is the SHA-256 of the weights, and the name of their file.

    Raises:
        UserError: the cache can't be written to, or the network accepts batches of one size only.
    """
    crops = _calibration_crops()
    layers = [layer.name for layer in backbone.layers]
    provenance = {
        **backbone.provenance,
        **({"layers": layers} if layers else {}),
        "calibration": sha256(b"".join(crop.tobytes() for crop in crops)).hexdigest(),
        **{library: version(library) for library in ("nncf", "openvino")},
    }
    folder = cache_root() / QUANTIZED / cache_name(provenance, "int8")
    ensure_dir(folder)
    with FileLock(folder / "lock"):
        if not (weights := _valid_weights(folder)):
            for unfinished in folder.glob(".*.tmp"):  # left by a killed process
                rmtree(unfinished)
            tqdm.write(f"quantizing {backbone.provenance['architecture']} (once, for all datasets)")
            weights = _save(_quantize(backbone, crops), folder)
        return openvino.Core().read_model(folder / GRAPH_FILE, weights), weights.stem


def _quantize(backbone: LoadedBackbone, crops: list[np.ndarray]) -> openvino.Model:
    """Returns the network with int8 layers, calibrated on `crops`."""
    import nncf  # an optional dependency, and importing it takes seconds

    size = backbone.preprocessing.input_size
    network = NormalizedNetwork(backbone.network, backbone.preprocessing)
    example = torch.zeros((2, size, size, 3), dtype=torch.uint8)
    # Exported for any batch size and calibrated on single images: statistics of whole batches would
    # make the result depend on the batch size.
    dynamic_shapes = ({0: torch.export.Dim("batch")},)
    try:
        program = torch.export.export(network, (example,), dynamic_shapes=dynamic_shapes)
    except DynamoUserError:
        raise UserError(
            f"{backbone.provenance['architecture']} can't be quantized: it accepts batches of one "
            f"size only; set its precision to float32 or bfloat16"
        ) from None
    images = nncf.Dataset(crops, lambda crop: resize_pixels(crop[None], backbone.preprocessing))
    return nncf.quantize(openvino.convert_model(program), images, subset_size=len(crops))


def _calibration_crops() -> list[np.ndarray]:
    """Returns square crops [s, s, 3] uint8 of some photographs; always the same ones."""
    rng = np.random.default_rng(1)
    crops = []
    for image in sample_photographs(STRIDE):
        for _ in range(CROPS_EACH):
            side = int(min(image.shape[:2]) * rng.uniform(*CROP_SIDES))
            top, left = (rng.integers(length - side + 1) for length in image.shape[:2])
            crops.append(image[top : top + side, left : left + side])
    return crops


def _save(model: openvino.Model, folder: Path) -> Path:
    """Writes graph and weights to `folder`; returns the path of the weights."""
    with TemporaryDirectory(dir=folder, prefix=".", suffix=".tmp") as unfinished:
        graph = Path(unfinished) / GRAPH_FILE
        try:
            openvino.save_model(model, graph, compress_to_fp16=False)
        except RuntimeError as error:
            raise UserError(
                f"can't write to {folder} ({error}); free disk space and run again"
            ) from None
        weights = folder / f"{file_sha256(graph.with_suffix('.bin'))}.bin"
        graph.with_suffix(".bin").replace(weights)
        graph.replace(folder / GRAPH_FILE)
    return weights


def _valid_weights(folder: Path) -> Path | None:
    """Returns the file of the weights if it is undamaged and has its graph; removes other files."""
    for weights in folder.glob("*.bin"):
        if (folder / GRAPH_FILE).exists() and file_sha256(weights) == weights.stem:
            return weights
        weights.unlink()
    return None
