"""The backbone that does nothing, through the same door as all others."""

import pytest
import torch

from headstart import config
from headstart.backbones.loading import load_backbone
from headstart.core.errors import UserError


def pixels(**changes) -> config.Backbone:
    return config.Backbone.model_validate({"architecture": "pixels", "weights": "none", **changes})


def test_features_are_the_images_own_values():
    loaded = load_backbone(pixels())
    side = loaded.preprocessing.input_size
    x = torch.rand(2, 3, side, side)
    seen = (x - torch.tensor(loaded.preprocessing.mean).view(3, 1, 1)) / torch.tensor(
        loaded.preprocessing.std
    ).view(3, 1, 1)
    assert torch.equal(loaded.network(seen), x.flatten(1))


def test_the_side_is_a_param():
    assert load_backbone(pixels(input_size=8)).preprocessing.input_size == 8


def test_it_takes_no_arguments():
    with pytest.raises(UserError, match="pixels doesn't take model_args"):
        load_backbone(pixels(model_args={"width": 3}))
