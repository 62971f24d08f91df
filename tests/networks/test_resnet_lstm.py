"""The sizes that Inan gives, and the trunk compared with torchvision's ResNet-18."""

import pytest
import torch
import torchvision
from torch import nn

from headstart.networks.resnet_lstm import ResNet18Trunk, ResNetLSTM


def test_twelve_lstms_give_1176_values():
    with torch.device("meta"):
        network = ResNetLSTM(200)
    hidden = [lstm.hidden_size for lstm in network.lstms if isinstance(lstm, nn.LSTM)]
    assert hidden == [196] * 4 + [49] * 8
    assert network.classifier.in_features == 1176


@pytest.mark.parametrize(
    ("arguments", "hidden"),
    [
        ({"sequence_length": 128}, [196] * 2 + [49] * 4),
        ({"layers": [3, 4, 5]}, [784] * 2 + [196] * 4 + [49] * 8),
        ({"layers": [5], "sequence_length": 512}, [49]),
    ],
)
def test_other_lengths_and_layers_are_as_many_lstms(arguments, hidden):
    with torch.device("meta"):
        network = ResNetLSTM(200, **arguments)
        assert network(torch.empty(2, 3, 224, 224)).shape == (2, 200)
    assert [lstm.hidden_size for lstm in network.lstms if isinstance(lstm, nn.LSTM)] == hidden


@pytest.mark.parametrize("arguments", [{"layers": [6]}, {"sequence_length": 96}])
def test_impossible_sequences_are_refused(arguments):
    with pytest.raises(ValueError, match="can't be split into sequences of"):
        ResNetLSTM(200, **arguments)


class FixedTrunk(ResNet18Trunk):
    """A trunk that returns fixed maps for any input."""

    def __init__(self, conv4: torch.Tensor, conv5: torch.Tensor):
        super().__init__()
        self.maps = torch.empty(0), torch.empty(0), conv4, conv5

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.maps


def test_sequences_run_along_the_channels():
    """A change in channel 127, the last of conv4's second sequence, changes its LSTM only."""
    torch.manual_seed(0)
    network = ResNetLSTM(5, side=64).eval()
    conv4, conv5 = torch.randn(1, 256, 4, 4), torch.randn(1, 512, 2, 2)
    changed = conv4.clone()
    changed[0, 127] += 1
    hidden_states = []
    network.classifier.register_forward_pre_hook(lambda _, inputs: hidden_states.append(inputs[0]))
    for maps in (conv4, changed):
        network.trunk = FixedTrunk(maps, conv5)
        network(torch.empty(1, 3, 64, 64))
    different = (hidden_states[0] != hidden_states[1]).flatten().nonzero().flatten()
    assert different.tolist() == list(range(16, 32))


def test_trunk_takes_torchvisions_weights_and_gives_its_maps():
    torch.manual_seed(0)
    reference = torchvision.models.resnet18(num_classes=3).eval()
    trunk = ResNet18Trunk().eval()
    missing, unexpected = trunk.load_state_dict(reference.state_dict(), strict=False)
    assert missing == []
    assert sorted(unexpected) == ["fc.bias", "fc.weight"]
    maps = {}
    for layer in ("layer1", "layer2", "layer3", "layer4"):
        reference.get_submodule(layer).register_forward_hook(
            lambda _, __, output, layer=layer: maps.update({layer: output})
        )
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        reference(images)
        ours = trunk(images)
    for layer, conv in enumerate(ours, start=1):
        torch.testing.assert_close(conv, maps[f"layer{layer}"])
