"""Bundled backbones: exported from models of train_scratch, found by architecture, small."""

import hashlib
import json
from pathlib import Path

import pytest
import timm
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from headstart import config
from headstart.backbones.loading import Preprocessing, check_backbone, load_backbone
from headstart.config.backbones import BUNDLED
from headstart.core.errors import UserError
from headstart.training.backbone_export import export_backbone
from tests import cases

ARGUMENTS = {"architecture": "resnet14t", "base_width": 8}


def save_trained(path: Path, network: str = "timm", arguments: dict = ARGUMENTS) -> Path:
    torch.manual_seed(0)
    state = timm.create_model("resnet14t", base_width=8, num_classes=5).state_dict()
    description = {
        "scratch": {"network": network, "arguments": arguments},
        "input": {"size": 56, "crop": 0.875, "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]},
        "classes": [],
    }
    save_file(state, path, {"network": json.dumps(description)})
    return path


def test_a_trained_network_becomes_a_backbone(tmp_path, monkeypatch):
    model = save_trained(tmp_path / "model.safetensors")
    path, entry = export_backbone(model, tmp_path / "bundled")
    assert path == tmp_path / "bundled" / "resnet14t.safetensors"
    assert path.stat().st_size < 0.6 * model.stat().st_size
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    beside = path.with_suffix(".sha256").read_text()
    assert beside == f"{digest}  resnet14t.safetensors\n"
    monkeypatch.setattr("headstart.config.backbones.BUNDLED", tmp_path / "bundled")
    loaded = load_backbone(config.Backbone.model_validate(entry))
    assert loaded.preprocessing == Preprocessing(64, "bilinear", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    torch.manual_seed(0)
    original = timm.create_model("resnet14t", base_width=8, num_classes=5).eval()
    original.reset_classifier(0)  # pyright: ignore[reportCallIssue]
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.network(x), original(x), rtol=0.02, atol=0.02)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="isn't a network that train_scratch trained"):
        export_backbone(tmp_path / "absent.safetensors", tmp_path)
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="isn't a network that train_scratch trained"):
        export_backbone(tmp_path / "other.safetensors", tmp_path)
    with pytest.raises(UserError, match="vgg16 is no network of timm's"):
        export_backbone(save_trained(tmp_path / "vgg.safetensors", "vgg16"), tmp_path)


def test_an_architecture_without_bundled_weights():
    with pytest.raises(ValidationError, match="resnet50 has no bundled weights; there are: resnet"):
        config.Backbone(architecture="resnet50", weights="bundled")


def test_every_bundled_file_fits_its_entry_and_is_small():
    zoo = config.load_params(cases.ROOT / "params.yaml").single_backbones.values()
    bundled = {entry.architecture: entry for entry in zoo if entry.weights == "bundled"}
    files = list(BUNDLED.glob("*.safetensors"))
    assert {file.stem for file in files} == bundled.keys()
    for file in files:
        check_backbone(bundled[file.stem])
        assert file.stat().st_size < 12e6
