"""Making a network that was trained from scratch a backbone that comes with the project."""

from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save

from headstart.backbones.weights_file_digests import digest_line
from headstart.core.atomic_files import atomic_path, write_text
from headstart.core.errors import UserError
from headstart.training.training_jobs import load_model


def export_backbone(model: Path, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Writes `<folder>/<architecture>.safetensors`, float16 weights without the classifier, and
    their digest beside them, `<architecture>.sha256`.

    model: model.safetensors of train_scratch. Returns the file and the entry of `zoo` that goes
    with it: what the network saw of pixels in training must be what extraction shows it.

    Raises:
        UserError: it isn't such a file, or its network isn't one of timm's.
    """
    try:
        saved = load_model(model)
        chosen = saved.identity["scratch"]
    except (UserError, KeyError):
        raise UserError(
            f"{model} isn't a network that train_scratch trained; name one of its runs"
        ) from None
    if chosen["network"] != "timm":
        raise UserError(f"{chosen['network']} is no network of timm's, so it can't be a backbone")
    model_args = dict(chosen["arguments"])
    architecture = model_args.pop("architecture")
    with torch.device("meta"):
        extractor = timm.create_model(architecture, num_classes=0, **model_args)
    kept = {name: saved.weights[name] for name in extractor.state_dict()}
    halved = {name: w.half() if w.is_floating_point() else w for name, w in kept.items()}
    path = folder / f"{architecture}.safetensors"
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(save(halved))
    write_text(path.with_suffix(".sha256"), digest_line(path))
    entry = {
        "architecture": architecture,
        "model_args": model_args,
        "weights": "bundled",
        "input_size": saved.input.side,
        "interpolation": "bilinear",
        "mean": [round(value, 4) for value in saved.input.mean],
        "std": [round(value, 4) for value in saved.input.std],
    }
    return path, entry
