import numpy as np
import timm
from torch import nn

from headstart.backbones.first_layer_filters import NO_FILTERS, first_layer_filters


def test_the_first_convolution_is_found_in_any_network():
    for architecture, name in (
        ("resnet10t", "conv1.0"),
        ("vit_tiny_patch16_224", "patch_embed.proj"),
    ):
        network = timm.create_model(architecture, num_classes=0)
        expected = network.get_submodule(name).get_parameter("weight").detach().numpy()
        assert np.array_equal(first_layer_filters(network), expected)


def test_a_network_without_shapes_to_look_at_has_none():
    for network in (nn.Linear(3, 4), nn.Conv2d(3, 8, 1), nn.Conv2d(1, 8, 3)):
        assert first_layer_filters(network) is NO_FILTERS
