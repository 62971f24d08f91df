"""The tables of networks and recipes in params.yaml, and what a user can get wrong."""

from typing import get_args

import pytest
import torch

from headstart import config
from headstart.backbones.loading import load_backbone
from headstart.core.errors import UserError
from headstart.networks import NETWORKS
from headstart.training import from_scratch
from headstart.training.from_scratch import CONSTRUCTORS
from headstart.training.learning_rate_schedules import make_schedule
from headstart.training.optimizers import make_optimizer
from tests import cases

LOADED = config.load_params(cases.ROOT / "params.yaml")


def test_params_knows_the_registry():
    assert get_args(config.Network.model_fields["network"].annotation) == tuple(CONSTRUCTORS)


def test_every_network_has_a_modern_recipe_and_its_papers():
    recipes = {name: set() for name in NETWORKS}
    for network_config in LOADED.networks.values():
        if network_config.network not in NETWORKS:
            continue  # timm's networks have no paper here
        recipes[network_config.network].add(network_config.recipe)
    for aliases in recipes.values():
        assert "modern" in aliases
        assert len(aliases) > 1


@pytest.mark.parametrize("alias", LOADED.networks)
def test_networks_build_with_their_recipes(alias):
    network_config = LOADED.networks[alias]
    recipe = LOADED.recipes[network_config.recipe]
    with torch.device("meta"):
        network = CONSTRUCTORS[network_config.network](200, **network_config.arguments)
    optimizer = make_optimizer(recipe, network)
    optimized = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert optimized == {id(p) for p in network.parameters()}
    make_schedule(recipe.schedule, optimizer, steps_per_epoch=10, epochs=recipe.epochs)


def network(**changes) -> config.Network:
    fields = {"network": "modified_resnet10", "recipe": "modern", "input_size": 32} | changes
    return config.Network.model_validate(fields)


SMALL_LSTM = {"network": "resnet_lstm", "input_size": 64, "arguments": {"side": 64}, "trunk": "any"}


def test_a_trunk_starts_with_its_backbones_weights():
    built = from_scratch.build_network(network(**SMALL_LSTM), LOADED.recipes["modern"], 3)
    zoo = config.Backbone(architecture="resnet18", weights="none", seed=3, mean=(0.1, 0.2, 0.3))
    mean, _ = from_scratch.load_trunk(built, zoo)
    assert mean == (0.1, 0.2, 0.3)
    theirs = load_backbone(zoo).network.state_dict()
    ours = built.get_submodule("trunk").state_dict()
    assert all(torch.equal(ours[key], value) for key, value in theirs.items())
    with pytest.raises(
        UserError, match=r"isn't a resnet10t; set it to an alias .* that is a resnet18"
    ):
        from_scratch.load_trunk(built, config.Backbone(architecture="resnet10t", weights="none"))


def test_a_frozen_trunk_stays_as_it_is_in_training():
    built = from_scratch.build_network(network(**SMALL_LSTM), LOADED.recipes["modern"], 3)
    trunk = built.get_submodule("trunk")
    before = {key: value.clone() for key, value in trunk.state_dict().items()}
    trunk.requires_grad_(False)
    built.train()(torch.randn(2, 3, 64, 64)).sum().backward()
    assert built.get_parameter("classifier.weight").grad is not None
    assert all(torch.equal(before[key], value) for key, value in trunk.state_dict().items())
    trunk.requires_grad_(True)
    built.train()(torch.randn(2, 3, 64, 64))
    assert not torch.equal(before["bn1.running_mean"], trunk.state_dict()["bn1.running_mean"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trunk": "resnet18"}, "trunk: modified_resnet10 has none to load"),
        ({"network": "resnet_lstm", "first_recipe": "inan_first"}, "name a trunk, or drop it"),
        (
            {"network": "resnet_lstm", "trunk": "resnet18", "normalization": "mean"},
            "normalization: a trunk brings its own",
        ),
    ],
)
def test_a_trunk_without_use_is_refused_when_params_are_read(changes, message):
    with pytest.raises(ValueError, match=message):
        network(**changes)


def test_the_seed_determines_the_initial_weights():
    recipe = LOADED.recipes["tailored_sgd"]
    small = network(arguments={"filters": [4, 8, 8, 8]})
    first, again = (from_scratch.build_network(small, recipe, 3) for _ in range(2))
    other = from_scratch.build_network(small, recipe.model_copy(update={"seed": 1}), 3)
    key = "classifier.weight"
    assert torch.equal(first.state_dict()[key], again.state_dict()[key])
    assert not torch.equal(first.state_dict()[key], other.state_dict()[key])


def test_a_network_of_timms_builds_at_the_requested_size():
    arguments = {"architecture": "resnet14t", "base_width": 8}
    small = from_scratch.build_network(
        network(network="timm", arguments=arguments), LOADED.recipes["short"], 3
    )
    assert small(torch.zeros(2, 3, 32, 32)).shape == (2, 3)
    assert small.get_parameter("layer1.0.conv1.weight").shape[0] == 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"architecture": "resnet14"}, "timm has no 'resnet14'; did you mean 'resnet14"),
        ({"architecture": "resnet14x.in1k"}, "timm has no .*did you mean"),
        ({"base_width": 8}, "arguments: timm's networks want an architecture"),
    ],
)
def test_an_architecture_that_timm_lacks_is_refused_when_params_are_read(arguments, message):
    with pytest.raises(ValueError, match=message):
        network(network="timm", arguments=arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arguments": {"depth": 3}}, "unexpected keyword argument 'depth'"),
        (
            {"network": "timm", "arguments": {"architecture": "resnet10t", "base_widt": 8}},
            "unexpected keyword argument 'base_widt'",
        ),
        ({"network": "resnet_lstm", "input_size": 64}, "can't process images of 64 px"),
        (
            {"network": "resnet_lstm", "arguments": {"sequence_length": 96}},
            "can't be split into sequences of 96 channels",
        ),
        ({"recorded_outputs": ["clasifier"]}, "no module 'clasifier'; did you mean 'classifier'"),
        ({"network": "attention_reduction", "input_size": 32}, None),
    ],
)
def test_wrong_arguments_and_sizes_are_refused(changes, message):
    recipe = LOADED.recipes["modern"]
    if message is None:
        assert from_scratch.build_network(network(**changes), recipe, 3)
    else:
        with pytest.raises(UserError, match=message):
            from_scratch.build_network(network(**changes), recipe, 3)
