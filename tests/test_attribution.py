"""Class activation maps against the logits that the runs themselves compute."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from headstart.attribution import (
    LinearClassifier,
    NotAvailableError,
    activation_maps,
    load_linear_classifier,
)
from headstart.backbones.loading import load_backbone
from headstart.config import Backbone
from headstart.core.errors import UserError
from headstart.heads.fitted_head import HEAD_FILE, FittedHead, Standardization, save_head
from headstart.heads.head_models import MLP, Affine
from headstart.store.examples import ClassLabel
from headstart.training.network_evaluation import predict_logits
from headstart.training.saved_models import MODEL_FILE, load_model

CPU = torch.device("cpu")
CLASSES = [ClassLabel(name, name) for name in ("a", "b", "c")]
SMALL = {"architecture": "resnet10t", "weights": "none", "input_size": 64}


def save_linear_head(folder: Path, width: int, provenance: dict) -> FittedHead:
    rng = np.random.default_rng(0)
    standardization = Standardization(
        rng.normal(size=width).astype(np.float32),
        rng.uniform(0.5, 2, width).astype(np.float32),
    )
    weight = rng.normal(size=(3, width)).astype(np.float32)
    model = Affine(weight, rng.normal(size=3).astype(np.float32))
    head = FittedHead(model, standardization, CLASSES, provenance, passes=0)
    save_head(folder / HEAD_FILE, head)
    return head


def pixels(n: int, side: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n, side, side, 3), np.uint8)


def test_the_mean_of_a_map_is_the_heads_logit(tmp_path: Path) -> None:
    backbone = Backbone(**SMALL)
    loaded = load_backbone(backbone)
    head = save_linear_head(tmp_path / "small-linear", 512, loaded.provenance)
    model = load_linear_classifier(tmp_path / "small-linear", {"small": backbone})
    images = pixels(5, 64)
    classes = np.array([[0, 1, 2]] * 5)
    maps = activation_maps(model, images, classes, CPU)
    assert maps.shape == (5, 3, 2, 2)

    # The head's own way: features of the pooled network, standardized, through the model.
    given = loaded.preprocessing
    x = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    x = (x - torch.tensor(given.mean).view(3, 1, 1)) / torch.tensor(given.std).view(3, 1, 1)
    with torch.inference_mode():
        features = loaded.network(x).numpy()
    expected = head.model(head.standardization(features))
    np.testing.assert_allclose(maps.mean((2, 3)), expected, rtol=1e-3, atol=1e-3)


def test_a_bright_square_is_where_the_map_is_high(tmp_path: Path) -> None:
    """A network of one layer that only sees brightness: its map is the picture's brightness."""

    class Bright(torch.nn.Module):
        def forward_features(self, x: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.avg_pool2d(x.mean(1, keepdim=True), 8)

        def forward_head(self, x: torch.Tensor, pre_logits: bool) -> torch.Tensor:
            return x.mean((2, 3))

    image = np.zeros((1, 16, 16, 3), np.uint8)
    image[0, 8:, :8] = 255
    model = LinearClassifier(
        Bright(),
        lambda x: x.permute(0, 3, 1, 2) / 255,
        torch.tensor([[2.0], [-1.0]]),
        torch.tensor([0.5, 0.0]),
    )
    maps = activation_maps(model, image, np.array([[0, 1]]), CPU)
    np.testing.assert_allclose(maps[0, 0], [[0.5, 0.5], [2.5, 0.5]])
    np.testing.assert_allclose(maps[0, 1], [[0, 0], [-1, 0]])


@pytest.mark.parametrize(
    ("architecture", "arguments"),
    [("vit_tiny_patch16_224", {"img_size": 32, "depth": 1}), ("mobilenetv3_small_050", {})],
)
def test_a_network_that_pools_otherwise_has_none(
    tmp_path: Path, architecture: str, arguments: dict
) -> None:
    size = 32
    backbone = Backbone(
        architecture=architecture, weights="none", input_size=size, model_args=arguments
    )
    loaded = load_backbone(backbone)
    network: Any = loaded.network
    save_linear_head(tmp_path / "other-linear", network.head_hidden_size, loaded.provenance)
    model = load_linear_classifier(tmp_path / "other-linear", {"other": backbone})
    with pytest.raises(NotAvailableError, match="doesn't average feature maps"):
        activation_maps(model, pixels(1, size), np.array([[0, 1]]), CPU)


def test_a_head_of_another_backbone_is_an_error(tmp_path: Path) -> None:
    backbone = Backbone(**SMALL)
    provenance = load_backbone(backbone).provenance
    save_linear_head(tmp_path / "small-linear", 512, provenance | {"weights": "others"})
    with pytest.raises(UserError, match="small-linear was trained on another backbone's features"):
        load_linear_classifier(tmp_path / "small-linear", {"small": backbone})


def test_what_is_not_linear_says_so(tmp_path: Path) -> None:
    layers = [Affine(np.eye(3, dtype=np.float32), np.zeros(3, np.float32))] * 2
    head = FittedHead(MLP(layers, "relu"), Standardization.identity(3), CLASSES, {}, passes=0)
    save_head(tmp_path / "small-mlp" / HEAD_FILE, head)
    with pytest.raises(NotAvailableError, match="a head of kind mlp is not linear"):
        load_linear_classifier(tmp_path / "small-mlp", {"small": Backbone(**SMALL)})
    with pytest.raises(NotAvailableError, match="several backbones"):
        load_linear_classifier(tmp_path / "both-linear", {"small": Backbone(**SMALL)})


def test_a_fine_tuned_networks_maps_are_of_its_own_logits(tmp_path: Path) -> None:
    network = timm.create_model("resnet10t", num_classes=3)
    description = {
        "backbone": {"architecture": "resnet10t", "model_args": {}},
        "input": {"size": 56, "crop": 0.875, "mean": [0.5] * 3, "std": [0.25] * 3},
        "classes": [[label.id, label.name] for label in CLASSES],
    }
    path = tmp_path / "small-finetune" / MODEL_FILE
    path.parent.mkdir()
    save_file(network.state_dict(), path, {"network": json.dumps(description)})
    model = load_linear_classifier(path.parent, {})
    assert model.crop == 0.875
    images = pixels(3, 64)
    maps = activation_maps(model, images, np.array([[0, 1, 2]] * 3), CPU)
    spec = load_model(path).input_spec
    expected = predict_logits(model.network, torch.from_numpy(images), spec, CPU).float().numpy()
    np.testing.assert_allclose(maps.mean((2, 3)), expected, rtol=2e-2, atol=2e-2)
