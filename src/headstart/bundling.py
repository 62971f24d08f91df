"""Making a network that was trained from scratch a backbone that comes with the project."""

import json
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import safe_open
from safetensors.torch import save

from headstart.errors import UserError
from headstart.files import replacing


def bundle(model: Path, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Writes `<folder>/<architecture>.safetensors`: float16 weights, without the classifier.

    model: model.safetensors of train_scratch. Returns the file and the entry of `zoo` that goes
    with it: what the network saw of pixels in training must be what extraction shows it.

    Raises:
        UserError: it isn't such a file, or its network isn't one of timm's.
    """
    try:
        with safe_open(model, "pt") as file:
            about = json.loads((file.metadata() or {})["network"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        seen, chosen = about["input"], about["scratch"]
    except (OSError, KeyError, ValueError) as error:
        raise UserError(
            f"{model} isn't a network that train_scratch trained ({type(error).__name__}); give "
            f"the model.safetensors in its folder of data/models"
        ) from None
    if chosen["network"] != "timm":
        raise UserError(f"{chosen['network']} is no network of timm's, so it can't be a backbone")
    model_args = dict(chosen["arguments"])
    architecture = model_args.pop("architecture")
    with torch.device("meta"):
        extractor = timm.create_model(architecture, num_classes=0, **model_args)
    kept = {
        name: weights[name].half() if weights[name].is_floating_point() else weights[name]
        for name in extractor.state_dict()
    }
    path = folder / f"{architecture}.safetensors"
    with replacing(path) as unfinished:
        unfinished.write_bytes(save(kept))
    entry = {
        "architecture": architecture,
        "model_args": model_args,
        "weights": "bundled",
        "input_size": round(seen["size"] / seen["crop"]),
        "interpolation": "bilinear",
        "mean": [round(value, 4) for value in seen["mean"]],
        "std": [round(value, 4) for value in seen["std"]],
    }
    return path, entry
