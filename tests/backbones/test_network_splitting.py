"""The two parts of a split network compute exactly what the whole network computes."""

from collections.abc import Callable

import pytest
import timm
import torch
from timm.layers.norm_act import freeze_batch_norm_2d
from torch import nn
from torch.nn import functional as F

from headstart import config
from headstart.backbones.network_splitting import split_network, split_untrained
from headstart.core.errors import UserError


def build(architecture: str) -> nn.Module:
    torch.manual_seed(0)
    return freeze_batch_norm_2d(timm.create_model(architecture, num_classes=5)).eval()


KERNELS = ("Mixed_7b.branch3x3dbl_2", "Mixed_7c.branch3x3dbl_2")

SPLITS = {
    "resnet10t, a stage": ("resnet10t", 48, "layer3", ()),
    "resnet10t, within a block": ("resnet10t", 48, "layer4.0.conv2", ()),
    "resnet10t, the classifier": ("resnet10t", 48, "fc", ()),
    "inception_v3": ("inception_v3", 96, "Mixed_7b", ()),
    "inception_v3, two kernels": ("inception_v3", 96, None, KERNELS),
    "mobilenetv2": ("mobilenetv2_035", 48, "blocks.5.1", ()),
    "efficientnet": ("test_efficientnet", 64, "blocks.2", ()),
    "convnext": ("test_convnext", 64, "stages.2", ()),
    "densenet, within a block": ("densenet121", 32, "features.denseblock4.denselayer15", ()),
    "vit": ("test_vit", 160, "blocks.4", ()),
    "vit, one layer": ("test_vit", 160, None, ("blocks.5.mlp.fc2",)),
    "vit, distilled": ("deit_tiny_distilled_patch16_224", 224, "blocks.11", ()),
}


@pytest.mark.parametrize("case", SPLITS)
def test_trunk_and_upper_part_are_the_whole_forward_pass(case: str) -> None:
    architecture, size, trainable_from, trainable_only = SPLITS[case]
    network = build(architecture)
    split = split_network(network, size, trainable_from, trainable_only)
    images = torch.randn(3, 3, size, size)
    with torch.no_grad():
        activations = split.trunk(images)
        assert activations.shape[1:] == split.shape
        assert torch.equal(split.upper(activations), network(images))
    weights = dict(network.named_parameters())
    for name, weight in split.upper.named_parameters():
        assert weight is weights[name]
    assert 0 <= split.upper_share < 1


def trainable(network: nn.Module) -> set[str]:
    return {name for name, weight in network.named_parameters() if weight.requires_grad}


def test_everything_computed_later_is_trained_and_nothing_else() -> None:
    network = build("resnet10t")
    names = trainable(split_network(network, 48, "layer4.0.conv2").upper)
    assert names == {
        "layer4.0.conv2.weight",
        "layer4.0.downsample.1.weight",
        "fc.weight",
        "fc.bias",
    }
    names = trainable(split_network(network, 48, trainable_only=["layer4.0.conv2"]).upper)
    assert names == {"layer4.0.conv2.weight"}
    # Batch normalization is frozen, so these have no other weights.
    inception = split_network(build("inception_v3"), 96, trainable_only=KERNELS)
    assert trainable(inception.upper) == {f"{kernel}.conv.weight" for kernel in KERNELS}


def test_the_gradients_are_those_of_the_whole_network() -> None:
    network, images, labels = build("test_vit"), torch.randn(2, 3, 160, 160), torch.tensor([1, 3])
    F.cross_entropy(network(images), labels).backward()
    expected = {name: weight.grad for name, weight in network.named_parameters()}
    network.zero_grad(set_to_none=True)

    split = split_network(network, 160, "blocks.3")
    F.cross_entropy(split.upper(split.trunk(images).detach()), labels).backward()
    names = trainable(split.upper)
    assert {"blocks.3.attn.qkv.weight", "norm.weight", "head.bias"} <= names
    assert not any(name.startswith(("blocks.2", "pos_embed")) for name in names)
    for name in names:
        torch.testing.assert_close(split.upper.get_parameter(name).grad, expected[name])
    assert all(weight.grad is None for weight in split.trunk.parameters())


def test_the_share_of_the_upper_part_is_that_of_its_multiplications() -> None:
    layers = [nn.Conv2d(3, 8, 1), nn.Flatten(), nn.Linear(8 * 16, 5)]
    network = nn.Sequential(*layers)
    network.group_matcher = dict  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    split = split_network(network, 4, "2")
    assert split.upper_share == pytest.approx(8 * 16 * 5 / (8 * 16 * 5 + 3 * 8 * 16))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("layr4",), r"trainable_from: ResNet has no module 'layr4'; did you mean 'layer4'\?"),
        ((None, ["layer4", "fd"]), r"trainable_only: ResNet has no module 'fd'; did you mean 'fc'"),
        (("conv1",), r"no module computes anything that could be kept before 'conv1'"),
        (("fc.weight",), r"has no module 'fc\.weight'"),
        ((None, ["layer4.0.act1"]), r"layer4\.0\.act1 has no weights to train"),
    ],
)
def test_names_that_cannot_be_trained_are_refused(arguments: tuple, message: str) -> None:
    zoo = config.Backbone(architecture="resnet10t", weights="none", input_size=48)
    with pytest.raises(UserError, match=message):
        split_untrained(zoo, *arguments, *[()] * (2 - len(arguments)))


class Unused(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1))
        self.aside = nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self[1](self[0](x))


class Undecided(nn.Sequential):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self[0](x)
        return self[1](x) if x.sum() > 0 else x


@pytest.mark.parametrize(
    ("build_network", "name", "message"),
    [
        (Unused, "aside", "'aside' takes no part in a forward pass"),
        (
            lambda: Undecided(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)),
            "1",
            r"Undecided can't be split at 1 \(symbolically traced .* name a module around",
        ),
    ],
)
def test_networks_that_cannot_be_split_are_refused(
    build_network: Callable[[], nn.Module], name: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        split_network(build_network(), 8, name)
