"""Fine-tuning starts from the trained head and its backbone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from headstart import config
from headstart.backbones.loading import LoadedBackbone, load_backbone
from headstart.core.errors import UserError
from headstart.heads.fitted_head import FittedHead, Standardization
from headstart.heads.head_models import MLP, Affine
from headstart.training import fine_tuning
from headstart.training.optimizers import make_optimizer
from tests import cases

ZOO = config.Backbone(architecture="resnet10t", weights="none", input_size=32)
CLASSES = cases.examples(4).classes


@pytest.fixture
def backbone() -> LoadedBackbone:
    return load_backbone(ZOO)


def trained_head(backbone: LoadedBackbone) -> FittedHead:
    rng = np.random.default_rng(0)
    mean, std = rng.normal(size=512), rng.uniform(0.5, 2, size=512)
    return FittedHead(
        Affine(rng.normal(size=(4, 512)).astype(np.float32), np.ones(4, np.float32)),
        Standardization(mean.astype(np.float32), std.astype(np.float32)),
        CLASSES,
        backbone.provenance | {"extraction": 1, "precision": "float32"},  # as extract has it
        passes=24,
    )


def test_gives_the_heads_logits_in_training_too(backbone):
    x = torch.randn(3, 3, 32, 32)
    head = trained_head(backbone)
    with torch.no_grad():
        features = backbone.network(x).numpy()
        network = fine_tuning.attach_head(backbone, head).train()
        logits = network(x).numpy()
    expected = head.model((features - head.standardization.mean) / head.standardization.std)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-3)


def test_early_layers_learn_slowly(backbone):
    network = fine_tuning.attach_head(backbone, trained_head(backbone))
    recipe = config.load_params(cases.ROOT / "params.yaml").recipes["finetune"]
    groups = make_optimizer(recipe, network).param_groups
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    base = recipe.optimizer.learning_rate
    assert rates[id(network.get_parameter("fc.weight"))] == pytest.approx(base)
    early_rate, late_rate = (
        rates[id(network.get_parameter(key))] for key in ("conv1.0.weight", "layer4.0.conv1.weight")
    )
    assert early_rate < late_rate < base
    assert len(rates) == sum(1 for p in network.parameters() if p.requires_grad)


def test_other_heads_and_networks_are_refused(backbone):
    head = trained_head(backbone)
    for changed in ({"architecture": "other"}, {"weights": "abab"}, {"preprocessing": None}):
        other = replace(head, provenance=head.provenance | changed)
        with pytest.raises(UserError, match="another backbone"):
            fine_tuning.attach_head(backbone, other)
    with pytest.raises(UserError, match="another backbone"):
        fine_tuning.attach_head(backbone, replace(head, provenance={}))

    layer = Affine(np.ones((4, 512), np.float32), np.ones(4, np.float32))
    layered = replace(head, model=MLP([layer], "relu"))
    with pytest.raises(UserError, match="can't start from a head of kind mlp"):
        fine_tuning.attach_head(backbone, layered)
