import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from headstart.errors import UserError
from headstart.heads.fit import fit
from headstart.heads.gradient import smoothed_cross_entropy
from tests.heads import blobs


def test_the_loss_is_eq_1_by_hand():
    # K = 4, eps = 0.1: q = 0.1 / 4 + 0.9 at the label, 0.1 / 4 elsewhere.
    logits = torch.log(torch.tensor([[[0.7, 0.1, 0.1, 0.1]]]))
    losses, _ = smoothed_cross_entropy(
        logits, torch.tensor([0]), torch.tensor([0.1]), torch.ones(1)
    )
    by_hand = -(0.925 * np.log(0.7) + 3 * 0.025 * np.log(0.1))
    assert losses.item() == pytest.approx(by_hand, rel=1e-6)


@given(
    batch=st.integers(1, 5),
    smoothing=st.lists(st.floats(0, 0.95), min_size=1, max_size=3),
    classes=st.integers(2, 6),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=30)
def test_loss_and_gradient_are_torch_s(batch: int, smoothing: list[float], classes: int, seed: int):
    draw = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(batch, len(smoothing), classes, generator=draw)
    labels = torch.randint(classes, (batch,), generator=draw)
    losses, gradient = smoothed_cross_entropy(
        logits, labels, torch.tensor(smoothing), torch.ones(batch)
    )
    for m, eps in enumerate(smoothing):
        z = logits[:, m].clone().requires_grad_()
        torch.testing.assert_close(
            losses[:, m], F.cross_entropy(z, labels, label_smoothing=eps, reduction="none").detach()
        )
        F.cross_entropy(z, labels, label_smoothing=eps).backward()
        torch.testing.assert_close(gradient[:, m], z.grad, rtol=1e-4, atol=1e-6)


def test_training_is_torch_s_own_adam_loss_and_decay():
    """The same batches through nn.Linear, CrossEntropyLoss, Adam and ExponentialLR."""
    train, tune = blobs.features(90, views=2), blobs.features(40, split="tune")
    recipe = blobs.linear(epochs=3, standardize=False)
    fitted = fit(recipe, train, tune)

    layer = nn.Linear(train.width, 4)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    loss_of = nn.CrossEntropyLoss(label_smoothing=0.1)
    adam = torch.optim.Adam(
        [{"params": layer.weight, "weight_decay": 0.001}, {"params": layer.bias}], lr=0.01
    )
    decay = torch.optim.lr_scheduler.ExponentialLR(adam, 0.9)
    order = torch.Generator().manual_seed(0)
    for _ in range(3):
        images = torch.randperm(90, generator=order)
        views = torch.randint(2, (90,), generator=order)
        for batch in torch.arange(90).split(32):
            x = torch.from_numpy(train.values)[images[batch], views[batch]].float()
            loss = loss_of(layer(x), torch.from_numpy(train.examples.labels)[images[batch]])
            adam.zero_grad()
            loss.backward()
            adam.step()
        decay.step()
    tensors = fitted.head.model.tensors()
    np.testing.assert_allclose(tensors["weight"], layer.weight.detach(), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(tensors["bias"], layer.bias.detach(), rtol=1e-3, atol=1e-5)

    x = torch.from_numpy(tune.values[:, 0]).float()
    labels = torch.from_numpy(tune.examples.labels)
    assert fitted.curve[-1].tune_loss == pytest.approx(loss_of(layer(x), labels).item(), rel=1e-3)
    assert fitted.curve[-1].tune_top1 == pytest.approx(
        (layer(x).argmax(1) == labels).float().mean().item()
    )


def test_one_seed_one_head_and_another_seed_another():
    train, tune = blobs.features(90), blobs.features(40, split="tune")
    weights = [
        fit(blobs.linear(seed=seed), train, tune).head.model.tensors()["weight"]
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert np.abs(weights[0] - weights[2]).max() > 1e-4


def test_every_view_of_an_image_is_drawn():
    """Only the second view tells the classes apart; training that never saw it could not."""
    train = blobs.features(90, views=2)
    train.values[:, 0] = 0
    tune = blobs.features(40, split="tune")
    fitted = fit(blobs.linear(epochs=20, standardize=False), train, tune)
    assert fitted.curve[-1].tune_top1 > 0.8


def test_a_diverged_training_is_an_error():
    train = blobs.features(90)
    with pytest.raises(UserError, match="training diverged: lower"):
        fit(blobs.linear(learning_rate=1e38), train, blobs.features(40, split="tune"))
