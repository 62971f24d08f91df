"""Layers: pooled outputs of named modules, which torchvision and timm give too."""

from typing import Any

import pytest
import timm
import torch
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor

from headstart.backbones import layers
from headstart.backbones.layers import LayerOutputs
from headstart.backbones.loading import (
    backbone_layers,
    check_backbone,
    load_backbone,
    load_module,
    take_layers,
)
from headstart.config import Backbone
from headstart.config.backbones import Pooling
from headstart.core.errors import UserError


def backbone(architecture: str = "resnet10t", **changes: Any) -> Backbone:
    return Backbone.model_validate(
        {"architecture": architecture, "weights": "none", "input_size": 32, **changes}
    )


def images(side: int = 32) -> torch.Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))


# bn2 is followed by an addition in place, which must not change what was taken before it.
NAMES = ["layer1.0.bn2", "layer3", "layer4"]


@pytest.mark.parametrize("pooling", ["avg", "max", "none"])
def test_the_outputs_of_modules_are_torchvisions(pooling: str) -> None:
    loaded = load_backbone(backbone(layers=NAMES, pooling=pooling))
    plain = load_backbone(backbone())
    extractor = create_feature_extractor(plain.network, NAMES)
    reduce = {
        "avg": lambda x: x.mean((2, 3)),
        "max": lambda x: x.flatten(2).max(2).values,
        "none": lambda x: x.flatten(1),
    }[pooling]
    with torch.inference_mode():
        outputs = extractor(images())
        expected = torch.cat([reduce(outputs[name]) for name in NAMES], 1)
        torch.testing.assert_close(loaded.network(images()), expected)
    assert [layer.name for layer in loaded.layers] == NAMES
    assert [layer.width for layer in loaded.layers] == [
        reduce(outputs[name]).shape[1] for name in NAMES
    ]
    assert loaded.provenance == plain.provenance | {"pooling": pooling}


def test_the_last_block_pooled_is_the_networks_own_output() -> None:
    own, last = (load_backbone(backbone(layers=names)).network for names in (None, ["layer4"]))
    with torch.inference_mode():
        torch.testing.assert_close(last(images()), own(images()))


def test_tokens_are_pooled_as_timm_does() -> None:
    entry = backbone("vit_tiny_patch16_224", model_args={"img_size": 32})
    network: Any = load_backbone(entry).network
    with torch.inference_mode():
        (tokens, prefix), *_ = network.forward_intermediates(
            images(), [5], return_prefix_tokens=True, output_fmt="NLC", intermediates_only=True
        )
        expectations: dict[Pooling, torch.Tensor] = {
            "avg": tokens.mean(1),
            "max": tokens.amax(1),
            "cls": prefix[:, 0],
            "none": torch.cat([prefix, tokens], 1).flatten(1),
        }
        for pooling, expected in expectations.items():
            ours = LayerOutputs(network, ["blocks.5"], pooling)
            torch.testing.assert_close(ours(images()), expected)


def test_feature_maps_with_channels_last_are_pooled_over_their_positions() -> None:
    network: Any = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0).eval()
    with torch.inference_mode():
        pooled = LayerOutputs(network, ["layers.2"], "avg")(images(224))
        assert pooled.shape == (2, 384)
        torch.testing.assert_close(
            pooled,
            network.layers[2](network.layers[:2](network.patch_embed(images(224)))).mean((1, 2)),
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"layers": ["layer5"]},
            r"no module 'layer5'; the nearest are layer\d, layer\d, layer\d; ",
        ),
        ({"layers": ["layer5"]}, r"`headstart layers NAME` lists all"),
        ({"layers": ["", "x"]}, r"no module ''; `headstart layers"),
        ({"layers": ["layer4"], "pooling": "cls"}, r"^pooling: 'layer4' has no class token; set"),
        (
            {"layers": ["layer1"], "pooling": "none", "input_size": 224},
            r"^pooling: 'layer1' has 200,704 features per image with pooling none, and the limit",
        ),
    ],
)
def test_what_no_network_gives_is_found_without_computing(
    changes: dict[str, Any], message: str
) -> None:
    for use in (check_backbone, load_backbone):
        with pytest.raises(UserError, match=message):
            use(backbone(**changes))


class Odd(nn.Module):
    """Its modules return a pair and a tensor of five dimensions; one never runs."""

    class Pair(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return x, x

    def __init__(self) -> None:
        super().__init__()
        self.pair, self.idle, self.deep = Odd.Pair(), nn.Identity(), nn.Unflatten(3, (2, -1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.deep(self.pair(x)[0]).flatten(1)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("pair", "'pair' returns a tuple, not a tensor; name a module inside of it or around it"),
        ("idle", "'idle' doesn't run in a forward pass; leave it out"),
        ("deep", r"'deep' returns \[3, 32, 2, 16\] per image, which is neither a vector nor"),
    ],
)
def test_modules_without_a_vector_are_named(layer: str, message: str) -> None:
    with pytest.raises(UserError, match=f"^layers: {message}"):
        LayerOutputs(Odd(), [layer], "avg")(images())


def test_any_module_has_layers() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Flatten())
    loaded = load_module(network, 8, (0, 0, 0), (1, 1, 1))
    taken = take_layers(loaded, ["0"], None)
    with torch.inference_mode():
        expected = network[0](images(8)).mean((2, 3))
        torch.testing.assert_close(taken.network(images(8)), expected)


def test_the_list_holds_all_modules_with_their_shapes() -> None:
    shapes = backbone_layers(backbone(input_size=64))
    network: Any = timm.create_model("resnet10t", num_classes=0)
    assert shapes.keys() == {name for name, _ in network.named_modules() if name}
    assert shapes["layer4"] == (512, 2, 2)
    assert shapes["global_pool"] == (512,)
    assert list(shapes).index("layer1") < list(shapes).index("layer4")
    assert layers.MAX_WIDTH >= 2048 * 7 * 7  # ResNet-50's last feature map at 224 px
