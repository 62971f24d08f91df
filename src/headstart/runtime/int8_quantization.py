"""int8: a network quantized after its training, by NNCF, for OpenVINO; made once and kept.

It is calibrated on crops of the embedded photographs, never on the images to extract: so the
quantized network is a function of the backbone alone, and adding images leaves cached rows valid.
"""

from hashlib import sha256
from importlib.metadata import version
from itertools import cycle
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
from headstart.core.sample_photographs import PHOTOGRAPHS, photograph
from headstart.runtime.normalized_network import NormalizedNetwork, resize_pixels

CROPS = 300
"""Images to calibrate on: NNCF's own default."""

CROP_SIDES = (0.15, 1.0)
"""Over the photograph's shorter side. Whole scenes and close-ups: with 64-px patches alone,
MobileNetV2's median cosine with float32 was 0.986 instead of 0.994."""

GRAPH = "graph.xml"


def quantize(backbone: LoadedBackbone) -> tuple[openvino.Model, str]:
    """The network of int8 layers, from [B, S, S, 3] uint8 to [B, D], any B; and its digest.

    It is kept below the cache's root, its weights in a file that their SHA-256 names.

    Raises:
        UserError: the cache can't be written to, or the network takes batches of one size only.
    """
    crops = _crops()
    described = {
        **backbone.provenance,
        "calibration": sha256(b"".join(crop.tobytes() for crop in crops)).hexdigest(),
        **{library: version(library) for library in ("nncf", "openvino")},
    }
    folder = cache_root() / QUANTIZED / cache_name(described, "int8")
    ensure_dir(folder)
    with FileLock(folder / "lock"):
        if not (weights := _sound_weights(folder)):
            for unfinished in folder.glob(".*.tmp"):  # by a process that was killed
                rmtree(unfinished)
            tqdm.write(f"quantizing {backbone.provenance['architecture']}, once for all datasets")
            weights = _save(_quantize(backbone, crops), folder)
        return openvino.Core().read_model(folder / GRAPH, weights), weights.stem


def _quantize(backbone: LoadedBackbone, crops: list[np.ndarray]) -> openvino.Model:
    import nncf  # an extra, and takes seconds

    size = backbone.preprocessing.input_size
    network = NormalizedNetwork(backbone.network, backbone.preprocessing)
    example = torch.zeros((2, size, size, 3), dtype=torch.uint8)
    # For any batch size: statistics taken on whole batches would make the result depend on it.
    batch = ({0: torch.export.Dim("batch")},)
    try:
        program = torch.export.export(network, (example,), dynamic_shapes=batch)
    except DynamoUserError:
        raise UserError(
            f"{backbone.provenance['architecture']} can't be quantized, it takes batches of one "
            f"size only; set its precision to float32 or bfloat16"
        ) from None
    images = nncf.Dataset(crops, lambda crop: resize_pixels(crop[None], backbone.preprocessing))
    return nncf.quantize(openvino.convert_model(program), images, subset_size=len(crops))


def _crops() -> list[np.ndarray]:
    """Squares [s, s, 3] uint8 of all photographs in turn, the same ones every time."""
    rng = np.random.default_rng(1)
    crops = []
    for _, name in zip(range(CROPS), cycle(PHOTOGRAPHS), strict=False):
        image = photograph(name)
        side = int(min(image.shape[:2]) * rng.uniform(*CROP_SIDES))
        top, left = (rng.integers(length - side + 1) for length in image.shape[:2])
        crops.append(image[top : top + side, left : left + side])
    return crops


def _save(model: openvino.Model, folder: Path) -> Path:
    """Writes graph and weights; returns where the weights are."""
    with TemporaryDirectory(dir=folder, prefix=".", suffix=".tmp") as unfinished:
        graph = Path(unfinished) / GRAPH
        try:
            openvino.save_model(model, graph, compress_to_fp16=False)
        except RuntimeError as error:
            raise UserError(f"can't write to {folder} ({error}); make room, run again") from None
        weights = folder / f"{_digest(graph.with_suffix('.bin'))}.bin"
        graph.with_suffix(".bin").replace(weights)
        graph.replace(folder / GRAPH)
    return weights


def _sound_weights(folder: Path) -> Path | None:
    """The weights' file if the graph is there and they are what was written; others are removed."""
    for weights in folder.glob("*.bin"):
        if (folder / GRAPH).exists() and _digest(weights) == weights.stem:
            return weights
        weights.unlink()
    return None


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
