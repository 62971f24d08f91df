"""Exports a network that was trained from scratch as a backbone bundled with the project."""

from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save

from headstart.backbones.weights_file_digests import digest_line
from headstart.core.atomic_files import atomic_path, write_text
from headstart.core.errors import UserError
from headstart.training.saved_models import load_model


def export_backbone(model: Path, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Writes a trained network's weights as a bundled backbone.

    `<folder>/<architecture>.safetensors` holds the weights in float16, without the classifier, and
    `<folder>/<architecture>.sha256` their digest. Returns the path of the weights and the entry of
    `zoo` for the backbone, whose preprocessing is that of the training.

    model: the model.safetensors of a run of train_scratch.

    Raises:
        UserError: `model` isn't such a file, or its network isn't one of timm's.
    """
    try:
        saved = load_model(model)
        network_config = saved.identity["scratch"]
    except (UserError, KeyError):
        raise UserError(
            f"{model} isn't a network that train_scratch trained; name one of its runs"
        ) from None
    if network_config["network"] != "timm":
        raise UserError(
            f"{network_config['network']} is no network of timm's, so it can't be a backbone"
        )
    model_args = dict(network_config["arguments"])
    architecture = model_args.pop("architecture")
    with torch.device("meta"):
        extractor = timm.create_model(architecture, num_classes=0, **model_args)
    weights = {name: saved.weights[name] for name in extractor.state_dict()}
    halves = {name: w.half() if w.is_floating_point() else w for name, w in weights.items()}
    path = folder / f"{architecture}.safetensors"
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(save(halves))
    write_text(path.with_suffix(".sha256"), digest_line(path))
    entry = {
        "architecture": architecture,
        "model_args": model_args,
        "weights": "bundled",
        "input_size": saved.input_spec.side,
        "interpolation": "bilinear",
        "mean": [round(value, 4) for value in saved.input_spec.mean],
        "std": [round(value, 4) for value in saved.input_spec.std],
    }
    return path, entry
