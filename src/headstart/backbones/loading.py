"""Backbones: timm architectures with their weights, as functions from images to features.

Feature extraction ends before the classifier: `num_classes=0` in timm's terms, pooled, [B, D].
"""

import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import timm
import timm.models
import torch
from safetensors import SafetensorError
from timm.data.config import resolve_model_data_config
from torch import nn
from torch.nn import functional as F

import headstart.backbones.raw_pixels  # noqa: F401  (registers an architecture)
from headstart.backbones.layers import Layer, LayerOutputs, layer_widths, list_layers
from headstart.backbones.weights_file_digests import check_digest
from headstart.config import Backbone
from headstart.config.backbones import Pooling
from headstart.core.errors import UserError
from headstart.core.weight_digests import update_digest

SHOWN_KEYS = 3


@dataclass(frozen=True)
class Preprocessing:
    """A network's expected input: squares of input_size px, (x - mean) / std for x in [0, 1]."""

    input_size: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class LoadedBackbone:
    """A network ready to extract features.

    network: float32 [B, 3, S, S], normalized, to float32 [B, D]. provenance: plain JSON that
    determines the features, up to the layers that they are taken from and the precision that they
    are computed in. layers: whose features stand side by side; none if they are the network's own
    output.
    """

    network: nn.Module
    preprocessing: Preprocessing
    provenance: dict[str, Any]
    layers: tuple[Layer, ...] = ()


def resize_tensor(x: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """Returns images [B, 3, s, s] at the network's input size: [B, 3, S, S] of the same dtype.

    Antialiasing matters only for images that become smaller.
    """
    size = preprocessing.input_size
    if x.shape[-1] == size:
        return x
    return F.interpolate(x, (size, size), mode=preprocessing.interpolation, antialias=True)


def load_backbone(backbone: Backbone) -> LoadedBackbone:
    """Loads a backbone from the hub, from its file, or with random weights.

    Raises:
        UserError: the hub can't be reached or has no such weights; the file isn't one of weights,
            has another digest, or is one of another architecture; the architecture doesn't take
            `model_args` or hasn't these `layers`.
    """
    network = _create(backbone, pretrained=backbone.weights == "hub")
    if backbone.weights_file:
        network.load_state_dict(_matching_weights(backbone, backbone.weights_file, network))
    network.eval().requires_grad_(False)
    preprocessing = _preprocessing(backbone, network)
    provenance = {
        "architecture": backbone.architecture,
        "model_args": backbone.model_args,
        "weights": _weights_digest(network),
        "preprocessing": asdict(preprocessing),
    }
    loaded = LoadedBackbone(network, preprocessing, json.loads(json.dumps(provenance)))
    return take_layers(loaded, backbone.layers, backbone.pooling) if backbone.layers else loaded


def take_layers(
    backbone: LoadedBackbone, layers: Sequence[str], pooling: Pooling | None
) -> LoadedBackbone:
    """Returns the backbone with the pooled outputs of some of its modules as its features.

    pooling: None is `avg`.

    Raises:
        UserError: as `LayerOutputs`.
    """
    pooling = pooling or "avg"
    network = LayerOutputs(backbone.network, layers, pooling).eval()
    return replace(
        backbone,
        network=network,
        provenance=backbone.provenance | {"pooling": pooling},
        layers=layer_widths(network, backbone.preprocessing.input_size),
    )


def load_module(
    module: nn.Module,
    input_size: int | None = None,
    mean: tuple[float, float, float] | None = None,
    std: tuple[float, float, float] | None = None,
) -> LoadedBackbone:
    """A copy of a module from normalized images [B, 3, S, S] to features [B, D].

    What is not given is what the module's `pretrained_cfg` says, which timm's models have. Two
    modules are one backbone if their class, structure (as `repr` shows it), weights and
    preprocessing are the same.

    Raises:
        UserError: the module has no `pretrained_cfg`, and not all of the others are given.
    """
    given = {"input_size": input_size, "mean": mean, "std": std}
    missing = [name for name, value in given.items() if value is None]
    name = type(module).__name__
    own: dict[str, Any] = {"interpolation": "bilinear"}
    if getattr(module, "pretrained_cfg", None):
        own = resolve_model_data_config(module)
        own["input_size"] = own["input_size"][-1]
    elif missing:
        raise UserError(
            f"{name} doesn't say what it takes; give its input_size in px, and the mean and std "
            f"that normalize pixels in [0, 1] (missing: {', '.join(missing)})"
        )
    chosen = own | {key: value for key, value in given.items() if value is not None}
    preprocessing = Preprocessing(
        int(chosen["input_size"]),
        chosen["interpolation"],
        tuple(chosen["mean"]),
        tuple(chosen["std"]),
    )
    # A copy, because the caller may go on training the module.
    network = deepcopy(module).cpu().float().eval().requires_grad_(False)
    provenance = {
        "architecture": name,
        "structure": sha256(repr(network).encode()).hexdigest(),
        "weights": _weights_digest(network),
        "preprocessing": asdict(preprocessing),
    }
    return LoadedBackbone(network, preprocessing, json.loads(json.dumps(provenance)))


def check_backbone(backbone: Backbone) -> int:
    """Checks within a second that a backbone's weights file fits and that it takes its input size.

    Returns the number of floats that its widest layer reads and writes per image. It runs on
    torch's meta device, without computing.

    Raises:
        UserError: as `load_backbone`; or the network doesn't take images of `input_size`.
    """
    network, size = build_on_meta(backbone)
    if backbone.weights_file:
        _matching_weights(backbone, backbone.weights_file, network)
    widest = 0

    def measure(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal widest
        sizes = [x.numel() for x in (*inputs, output) if isinstance(x, torch.Tensor)]
        widest = max(widest, sum(sizes))

    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(measure)
    if backbone.layers:
        network = LayerOutputs(network, backbone.layers, backbone.pooling or "avg")
    try:
        with torch.inference_mode():
            network(torch.zeros(1, 3, size, size, device="meta"))
    except UserError:
        raise
    except NotImplementedError:
        pass  # an operation without a dry run
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UserError(
            f"input_size: {backbone.architecture} takes no images of {size} px ({error}); give "
            f"another size, or what it wants to know of it in model_args"
        ) from None
    return widest


def build_on_meta(backbone: Backbone) -> tuple[nn.Module, int]:
    """Returns a backbone's network on torch's meta device, without weights, and its input size.

    Raises:
        UserError: the architecture doesn't take `model_args`.
    """
    with torch.device("meta"):
        network = _create(backbone, pretrained=False).eval()
    return network, _preprocessing(backbone, network).input_size


def backbone_layers(backbone: Backbone) -> dict[str, tuple[int, ...]]:
    """Returns the modules that can be `layers`, with their outputs' shapes: see `list_layers`.

    It runs on torch's meta device, without computing and without weights.

    Raises:
        UserError: as `check_backbone`.
    """
    network, size = build_on_meta(backbone)
    try:
        return list_layers(network, torch.zeros(1, 3, size, size, device="meta"))
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(
            f"{backbone.architecture} can't run without computing ({error}); print its "
            f"`named_modules()` in Python"
        ) from None


def _create(backbone: Backbone, pretrained: bool) -> nn.Module:
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(backbone.seed)
            return timm.create_model(
                backbone.architecture, pretrained=pretrained, num_classes=0, **backbone.model_args
            )
    except TypeError as error:
        raise UserError(
            f"{backbone.architecture} doesn't take model_args {backbone.model_args}: {error}"
        ) from None
    except RuntimeError as error:
        raise UserError(f"timm can't build {backbone.architecture}: {error}") from None
    except OSError as error:
        raise UserError(
            f"can't get the weights of {backbone.architecture} from the hub "
            f"({type(error).__name__}); go online once, or set its weights to a local file or to "
            f"none"
        ) from None


def _matching_weights(
    backbone: Backbone, path: Path, network: nn.Module
) -> dict[str, torch.Tensor]:
    """Reads the file's tensors for `network`; all must be there, each of the right shape."""
    check_digest(backbone)
    try:
        tensors = timm.models.load_state_dict(str(path), device="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, SafetensorError, UnpicklingError) as error:
        raise UserError(
            f"{path} is not a file of weights that can be read safely ({type(error).__name__}); "
            f"give a .safetensors file or a timm checkpoint"
        ) from None
    expected = network.state_dict()
    # Fine-tuned networks lack the counters of batches: their normalization is frozen.
    counters = {key: t for key, t in expected.items() if key.endswith(".num_batches_tracked")}
    tensors = counters | tensors
    # The classifier and the auxiliary one of Inception are no part of a feature extractor.
    classifiers = getattr(network, "pretrained_cfg", {}).get("classifier") or ()
    dropped = tuple(f"{name}." for name in (*_as_tuple(classifiers), "AuxLogits"))
    tensors = {key: tensor for key, tensor in tensors.items() if not key.startswith(dropped)}
    missing = sorted(expected.keys() - tensors.keys())
    unexpected = sorted(tensors.keys() - expected.keys())
    misshapen = sorted(
        f"{key} {tuple(tensors[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in expected.keys() & tensors.keys()
        if tensors[key].shape != expected[key].shape
    )
    problems = {
        "keys missing": missing,
        "keys unexpected": unexpected,
        "tensors of another shape": misshapen,
    }
    if any(problems.values()):
        summary = "; ".join(
            f"{len(keys)} {problem} ({', '.join(keys[:SHOWN_KEYS])}, …)"
            for problem, keys in problems.items()
            if keys
        )
        raise UserError(
            f"{path} holds no weights of {backbone.architecture}: {summary}; "
            f"name the architecture that they were saved from"
        )
    return tensors


def _as_tuple(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _preprocessing(backbone: Backbone, network: nn.Module) -> Preprocessing:
    own = resolve_model_data_config(network)
    return Preprocessing(
        input_size=backbone.input_size or own["input_size"][-1],
        interpolation=backbone.interpolation or own["interpolation"],
        mean=backbone.mean or own["mean"],
        std=backbone.std or own["std"],
    )


def _weights_digest(network: nn.Module) -> str:
    digest = sha256()
    update_digest(digest, network)
    return digest.hexdigest()
