"""A model as one of timm's: its backbone with the head as the last layer."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from timm.models import save_for_hf
from torch import nn

from headstart.core.errors import UserError
from headstart.core.file_digests import file_sha256
from headstart.export.parity import Exported
from headstart.heads.fitted_head import load_head
from headstart.inference.network_runtime import network_preprocessing
from headstart.inference.trained_model import load_backbones, load_network
from headstart.packaging.model_description import HeadMember, ModelDescription, NetworkMember
from headstart.runtime.normalized_network import resize_pixels
from headstart.training.fine_tuning import attach_head
from headstart.training.image_transforms import InputSpec, downscale

WEIGHTS_FILE = "model.safetensors"


def write_timm(folder: Path, model_folder: Path, description: ModelDescription) -> Exported:
    """Writes the folder that `timm.create_model("local-dir:<folder>", pretrained=True)` opens.

    Its logits are those of one view, before temperature scaling. Returns what it computes from
    pixels as `headstart` stores them.

    Raises:
        UserError: no model of timm's computes what this model does.
    """
    if len(description.members) > 1:
        raise UserError(
            f"{description.name} averages {len(description.members)} models, and one of timm's is "
            f"a single network; export its members one by one, or to onnx or openvino"
        )
    [member] = description.members
    classes = len(description.classes)
    if isinstance(member, HeadMember):
        architecture, model_args, network, spec = _from_head(model_folder, member)
    else:
        architecture, model_args, network, spec = _from_network(model_folder, member, classes)
    plain = timm.create_model(architecture, num_classes=classes, **model_args)
    found = plain.load_state_dict(network.state_dict(), strict=False)
    # Frozen batch normalization lacks this counter, which evaluation doesn't use.
    lacking = [key for key in found.missing_keys if not key.endswith("num_batches_tracked")]
    assert not lacking
    assert not found.unexpected_keys
    folder.mkdir(parents=True, exist_ok=True)
    save_for_hf(
        plain,
        str(folder),
        model_config={"label_names": [label.id for label in description.classes]},
        model_args=model_args,
        safe_serialization=True,
        data_config={
            "input_size": (3, spec.size, spec.size),
            "mean": tuple(spec.mean),
            "std": tuple(spec.std),
            "interpolation": spec.interpolation,
            "crop_pct": spec.crop,
        },
    )
    return _reader(folder, spec, isinstance(member, HeadMember))


def zoo_entry(folder: Path) -> dict[str, Any]:
    """Returns the entry of params.yaml's zoo for the backbone in an exported folder."""
    content = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config, model_args = content["pretrained_cfg"], content.get("model_args", {})
    path = (folder / WEIGHTS_FILE).resolve()
    return {
        "architecture": content["architecture"],
        "model_args": {key: value for key, value in model_args.items() if key != "num_classes"},
        "weights": str(path),
        "sha256": file_sha256(path),
        "input_size": config["input_size"][-1],
        "interpolation": config["interpolation"],
        "mean": list(config["mean"]),
        "std": list(config["std"]),
    }


def _from_head(
    folder: Path, member: HeadMember
) -> tuple[str, dict[str, Any], nn.Module, InputSpec]:
    head = load_head(folder / member.file)
    if len(member.backbones) > 1 or head.model.kind != "affine":
        kind = "several backbones" if len(member.backbones) > 1 else f"a head of {head.model.kind}"
        raise UserError(
            f"{member.name} has {kind}, and a model of timm's ends in one affine layer; export it "
            f"to onnx or openvino"
        )
    [(backbone, _)] = load_backbones(folder, member).values()
    architecture = backbone.provenance["architecture"]
    if architecture == "pixels":
        raise UserError("pixels is no network of timm's; export it to onnx or openvino")
    given = backbone.preprocessing
    spec = InputSpec(given.input_size, 1.0, given.mean, given.std, given.interpolation)
    model_args = backbone.provenance["model_args"]
    network = attach_head(backbone, head)
    return architecture, model_args, network, spec


def _from_network(
    folder: Path, member: NetworkMember, classes: int
) -> tuple[str, dict[str, Any], nn.Module, InputSpec]:
    network, spec = load_network(folder, member, classes)
    if "finetune" in member.identity:
        backbone = member.identity["backbone"]
        return backbone["architecture"], backbone["model_args"], network, spec
    arguments = dict(member.identity["scratch"]["arguments"])
    if member.identity["scratch"]["network"] != "timm":
        raise UserError(f"{member.name} is no network of timm's; export it to onnx or openvino")
    return arguments.pop("architecture"), arguments, network, spec


def _reader(folder: Path, spec: InputSpec, features: bool) -> Exported:
    """Returns the model in `folder` as timm loads it, from stored pixels to logits."""
    network = timm.create_model(f"local-dir:{folder.resolve()}", pretrained=True).eval()
    resized = network_preprocessing(spec, spec.size)

    @torch.inference_mode()
    def logits(pixels: np.ndarray) -> np.ndarray:
        if features:
            x = torch.from_numpy(resize_pixels(pixels, resized)).permute(0, 3, 1, 2).float() / 255
            mean, std = (torch.tensor(v).view(3, 1, 1) for v in (spec.mean, spec.std))
            return network((x - mean) / std).numpy()
        images = downscale(torch.from_numpy(pixels), spec.side, spec.interpolation)
        return network(spec.eval_transform(images)).numpy()

    return logits
