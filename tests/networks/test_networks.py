"""Every network of the registry: what its paper says about it, and that it learns."""

import ast
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import headstart.networks
from headstart.networks import NETWORKS
from headstart.networks.weight_initialization import variance_scaling

# The papers' parameter counts for 200 classes, and the tolerated relative differences; vgg.py says
# why the two VGGs can't both match.
PAPER_COUNTS = {
    "modified_resnet18": (11.28e6, 0.001),
    "inception_resnet": (8.3e6, 0.005),
    "vgg16": (36.7e6, 0.02),
    "vgg19": (40.2e6, 0.035),
}
# Smaller than the papers' images where a network allows it, so that the tests are fast.
SIDE = 32


def build(name: str, num_classes: int = 4, **arguments) -> nn.Module:
    torch.manual_seed(0)
    if name == "resnet_lstm":
        arguments["side"] = 64
    if name.startswith("vgg"):
        arguments["hidden"] = 64
    return NETWORKS[name](num_classes, **arguments)


def batch(name: str, size: int = 8) -> torch.Tensor:
    side = 64 if name == "resnet_lstm" else SIDE
    return torch.randn(size, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=NETWORKS)
def name(request) -> str:
    return request.param


@pytest.mark.parametrize("name", PAPER_COUNTS)
def test_parameter_count_is_the_papers(name):
    paper_count, tolerance = PAPER_COUNTS[name]
    with torch.device("meta"):
        network = NETWORKS[name](200)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == pytest.approx(paper_count, rel=tolerance)


def test_logits_have_one_column_per_class(name):
    assert build(name, 7).eval()(batch(name, 2)).shape == (2, 7)


def test_gradient_reaches_every_parameter(name):
    network = build(name)
    F.cross_entropy(network(batch(name)), torch.arange(8) % 4).backward()
    without_gradient = [
        key
        for key, parameter in network.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert without_gradient == []


def test_overfits_one_batch(name):
    network = build(name, dropout=0.0)
    variance_scaling(network)
    images, labels = batch(name), torch.arange(8) % 4
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001)
    for _ in range(30):
        loss = F.cross_entropy(network(images), labels)
        if loss < 0.3:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.3  # 1.39 is chance


def test_dropout_is_off_in_eval_and_seeded_in_train(name):
    network, images = build(name, dropout=0.5), batch(name)
    network.eval()
    assert torch.equal(network(images), network(images))
    network.train()
    first, second = network(images), network(images)
    assert not torch.equal(first, second)
    torch.manual_seed(3)
    first = network(images)
    torch.manual_seed(3)
    assert torch.equal(network(images), first)


def test_sizes_of_the_attention_network_are_figure_7s():
    with torch.device("meta"):
        network = NETWORKS["attention_reduction"](200).eval()
        x = torch.empty(1, 3, 64, 64)
        sizes = {}
        for layer, module in network.get_submodule("features").named_children():
            x = module(x)
            sizes[layer] = (x.shape[2], x.shape[3], x.shape[1])
    assert sizes == {
        "convolution": (64, 64, 64),
        "soft_attention": (64, 64, 64),
        "reduction_1": (31, 31, 128),
        "residual": (31, 31, 128),
        "reduction_2": (15, 15, 320),
        "residual_inception": (15, 15, 320),
        "reduction_3": (7, 7, 832),
    }


@pytest.mark.parametrize(
    ("name", "side", "shape"),
    [
        ("mini_inception", 64, (1024, 8, 8)),
        ("modified_resnet10", 56, (512, 4, 4)),
        ("modified_resnet18", 56, (512, 4, 4)),
        ("inception_resnet", 56, (1154, 7, 7)),
        ("vgg16", 56, (512, 4, 4)),
        ("vgg19", 56, (512, 4, 4)),
    ],
)
def test_last_maps_at_the_papers_size(name, side, shape):
    with torch.device("meta"):
        features = NETWORKS[name](200).eval().get_submodule("features")
        assert features(torch.empty(1, 3, side, side)).shape[1:] == shape


@pytest.mark.parametrize(
    ("name", "layers"),
    [("modified_resnet10", 10), ("modified_resnet18", 18), ("vgg16", 16), ("vgg19", 19)],
)
def test_weight_layers_are_as_many_as_the_name_says(name, layers):
    with torch.device("meta"):
        network = NETWORKS[name](200)
    shortcuts = sum(".shortcut.0" in key for key, _ in network.named_modules())
    weighted = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(weighted) - shortcuts == layers


def test_networks_import_torch_only():
    for source in Path(headstart.networks.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            for module in modules:
                standard = module in ("collections", "collections.abc", "functools", "typing")
                assert standard or module.split(".")[0] == "torch" or "headstart.networks" in module
