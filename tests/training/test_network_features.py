from typing import Any

import pytest
import timm
import torch

from headstart.networks import NETWORKS
from headstart.training.network_features import LogitsAndFeatures, gives_features


@pytest.mark.parametrize(
    "architecture", ["resnet10t", "mobilenetv2_035", "inception_v3", "vit_tiny_patch16_224"]
)
def test_logits_come_first_and_then_what_the_classifier_saw(architecture: str) -> None:
    network: Any = timm.create_model(architecture, num_classes=5).eval()
    size = 224 if "vit" in architecture else 96
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    seen = []
    network.get_classifier().register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.inference_mode():
        both = LogitsAndFeatures(network)(x)
        torch.testing.assert_close(both[:, :5], network(x))
    torch.testing.assert_close(both[:, 5:], seen[-1])


def test_the_papers_networks_have_no_such_methods() -> None:
    assert not gives_features(NETWORKS["modified_resnet10"](4))
