from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torch.nn import functional as F

from headstart.core.errors import UserError
from headstart.heads import gradient_training
from headstart.heads.fitting import fit_head
from headstart.heads.gradient_training import MetricSums, loss_gradient_, smoothed_cross_entropy
from headstart.heads.kept_epochs import KeptEpochs
from headstart.heads.stacked_mlp import StackedMLP
from headstart.store.class_weights import class_weights
from headstart.store.features import Features
from headstart.store.training_curves import Epoch
from tests import cases
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
def test_loss_and_gradient_are_torchs(batch: int, smoothing: list[float], classes: int, seed: int):
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
        torch.testing.assert_close(gradient[:, m] / batch, z.grad, rtol=1e-4, atol=1e-6)


def test_training_is_torchs_own_adam_loss_and_decay():
    """The reference trains nn.Linear with torch's loss, Adam and ExponentialLR."""
    train, tune = blobs.features(90, views=2), blobs.features(40, split="tune")
    recipe = blobs.linear(epochs=3, standardize=False, train_views="all")
    fitted = fit_head(recipe, train, tune)

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
    assert [epoch.epoch for epoch in fitted.curve] == [1, 2, 3]
    assert fitted.curve[-1].tune_loss == pytest.approx(loss_of(layer(x), labels).item(), rel=1e-3)
    assert fitted.curve[-1].tune_top1 == pytest.approx(
        (layer(x).argmax(1) == labels).float().mean().item()
    )


def test_balanced_classes_weigh_as_scikit_learns():
    logits, labels = torch.randn(6, 1, 3), torch.tensor([0, 0, 0, 0, 1, 2])
    examples = replace(cases.examples(6, classes=3), labels=labels.numpy())
    weights = class_weights("balanced", examples.labels, len(examples.classes))
    np.testing.assert_allclose(
        weights, compute_class_weight("balanced", classes=np.arange(3), y=labels.numpy())
    )
    image_weights = torch.from_numpy(weights).float()[labels]
    losses, _ = smoothed_cross_entropy(logits, labels, torch.zeros(1), image_weights)
    by_hand = F.cross_entropy(logits[:, 0], labels, reduction="none") * image_weights
    torch.testing.assert_close(losses[:, 0], by_hand)
    # The mean over all images is torch's weighted mean.
    reference = F.cross_entropy(logits[:, 0], labels, weight=torch.from_numpy(weights).float())
    torch.testing.assert_close(losses.mean(), reference)


def test_balanced_training_favors_the_rare_class():
    train, tune = blobs.features(400, distance=0.3), blobs.features(200, split="tune", distance=0.3)
    kept = np.flatnonzero((train.examples.labels != 3) | (np.arange(400) < 20))
    rare = replace(train, values=train.values[kept], examples=train.examples[kept])
    recalls = []
    for weights in ("none", "balanced"):
        head = fit_head(blobs.linear(class_weights=weights), rare, tune).head
        rare_predictions = head.logits(tune)[:, 0].argmax(1)[tune.examples.labels == 3]
        recalls.append((rare_predictions == 3).mean())
    assert recalls[1] > recalls[0] + 0.1


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_networks_give_the_logits_of_their_models(activation: str):
    network = StackedMLP(2, [5, 7, 6, 3], activation, 0.5, 0, torch.device("cpu"))
    with torch.no_grad():
        for tensor in (*network.weights, *network.biases):
            tensor.copy_(torch.randn(tensor.shape))
    x = torch.randn(4, 5)
    logits = network(x, training=False).detach()
    for m, model in enumerate(network.models()):
        np.testing.assert_allclose(model(x.numpy()), logits[:, m], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("hidden", [[], [7], [7, 6]])
def test_gradients_are_autograds_in_slices_and_smaller_batches(
    hidden: list[int], dropout: float, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gradient_training, "LOSS_SLICE_SCORES", 30)
    cpu = torch.device("cpu")
    draw = torch.Generator().manual_seed(0)
    smoothing = torch.tensor([0.0, 0.1, 0.4])
    network, theirs = (StackedMLP(3, [5, *hidden, 4], "tanh", dropout, 0, cpu) for _ in range(2))
    for ours, copy in zip(
        (*network.weights, *network.biases), (*theirs.weights, *theirs.biases), strict=True
    ):
        ours.data.copy_(torch.randn(ours.shape, generator=draw))
        copy.data.copy_(ours.data)

    for batch in (8, 3, 8):
        x = torch.randn(batch, 5, generator=draw)
        labels = torch.randint(4, (batch,), generator=draw)
        weights = 1 + torch.rand(batch, generator=draw)
        stats = MetricSums(3, cpu)
        logits = network(x, training=True)
        network.backward(loss_gradient_(logits, labels, smoothing, weights, stats))
        network(torch.randn(8, 5), training=False)  # as in evaluation on tune between two steps

        h = theirs._drop_out(x)[:, None].expand(batch, 3, 5)
        for layer, (weight, bias) in enumerate(zip(theirs.weights, theirs.biases, strict=True)):
            h = theirs._drop_out(torch.tanh(h)) if layer else h
            h = torch.einsum("bmi,moi->bmo", h, weight) + bias
        losses = torch.stack(
            [
                F.cross_entropy(h[:, m], labels, label_smoothing=float(eps), reduction="none")
                for m, eps in enumerate(smoothing)
            ]
        )
        for tensor in (*theirs.weights, *theirs.biases):
            tensor.grad = None
        (losses * weights).mean(dim=1).sum().backward()
        torch.testing.assert_close(
            torch.tensor(stats.means())[:, 0], (losses * weights).mean(dim=1).detach()
        )
        for kind in ("weights", "biases"):
            for ours, copy in zip(getattr(network, kind), getattr(theirs, kind), strict=True):
                torch.testing.assert_close(ours.grad, copy.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("keep", ["last", "best"])
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_kept_epochs_are_those_of_shorter_trainings(kind: str, keep: str, count: int):
    """The reference trains one head for each number of epochs; they share their first epochs."""
    train, tune = (
        blobs.features(n, split=s, distance=0.4) for n, s in ((90, "train"), (50, "tune"))
    )
    settings = {"learning_rate": 0.05, "learning_rate_decay": 1.0}
    if kind == "mlp":
        settings |= {"hidden": [32], "dropout": 0.2, "learning_rate": 0.1}
    shorter = [fit_head(blobs.recipe(kind, epochs=n, **settings), train, tune) for n in range(1, 7)]
    curve = [fitted.curve[-1] for fitted in shorter]
    ranked = sorted(range(6), key=lambda i: (-curve[i].tune_top1, curve[i].tune_loss))
    assert ranked[0] != 5, "the last epoch must not be the best one"
    chosen = [5, 4, 3][:count] if keep == "last" else ranked[:count]

    recipe = blobs.recipe(kind, epochs=6, keep=keep, average_snapshots=count, **settings)
    fitted = fit_head(recipe, train, tune)
    for name, tensor in fitted.head.model.tensors().items():
        expected = np.mean([shorter[i].head.model.tensors()[name] for i in chosen], axis=0)
        np.testing.assert_allclose(tensor, expected, rtol=1e-4, atol=1e-6)
    assert len(fitted.curve) == 6
    by_hand = (fitted.head.logits(tune)[:, 0].argmax(1) == tune.examples.labels).mean()
    assert fitted.score.value == pytest.approx(by_hand)


def with_rare_class(features: Features) -> Features:
    """Returns features without four fifths of the second class."""
    position = np.arange(len(features.examples))
    kept = np.flatnonzero((features.examples.labels == 0) | (position % 10 == 1))
    return replace(features, values=features.values[kept], examples=features.examples[kept])


def test_the_kept_epoch_is_the_best_by_what_tune_chooses_by():
    train, tune = (
        with_rare_class(blobs.features(n, split=s, classes=2, distance=0.3))
        for n, s in ((300, "train"), (400, "tune"))
    )
    settings = {"learning_rate": 0.2, "learning_rate_decay": 1.0, "batch_size": 8}
    shorter = [fit_head(blobs.linear(epochs=n, **settings), train, tune) for n in range(1, 9)]
    answers = [fitted.head.logits(tune)[:, 0].argmax(1) for fitted in shorter]
    labels = tune.examples.labels
    balanced = [balanced_accuracy_score(labels, predicted) for predicted in answers]
    accuracies = [(predicted == labels).mean() for predicted in answers]
    assert np.argmax(balanced) != np.argmax(accuracies)
    recipe = blobs.linear(epochs=8, keep="best", **settings)
    fitted = fit_head(recipe, train, tune, choose_by="balanced_accuracy")
    assert [epoch.tune_score for epoch in fitted.curve] == pytest.approx(balanced)
    assert fitted.score.value == pytest.approx(max(balanced))
    assert fitted.surface.metric == "balanced_accuracy"


def test_an_epoch_that_diverged_is_never_the_best():
    kept = KeptEpochs("best", 1)
    for number, loss in enumerate((1.0, float("nan")), start=1):
        kept.add(Epoch(number, loss, 0.5, loss, 0.5), [torch.full((2,), float(number))])
    assert kept.mean()[0].tolist() == [1.0, 1.0]


def test_dropout_drops_its_share_and_keeps_the_mean():
    network = StackedMLP(1, [1000, 3], "relu", 0.2, 0, torch.device("cpu"))
    dropped = network._drop_out(torch.ones(50, 1000))
    assert (dropped == 0).float().mean().item() == pytest.approx(0.2, abs=0.01)
    assert set(dropped.unique().tolist()) == {0.0, 1.25}


def test_an_mlp_learns_what_no_linear_head_can():
    rng = np.random.default_rng(0)
    train, tune = (
        blobs.features(n, classes=2, split=s) for n, s in ((800, "train"), (200, "tune"))
    )
    for features in (train, tune):  # exclusive or
        signs = rng.choice([-1, 1], size=(len(features.examples), 2))
        features.values[:, 0] = rng.normal(scale=0.1, size=features.values[:, 0].shape)
        features.values[:, 0, :2] += signs
        features.examples.labels[:] = signs.prod(axis=1) > 0
    linear = fit_head(blobs.linear(epochs=20), train, tune)
    mlp = fit_head(blobs.recipe("mlp", hidden=[16], epochs=20, dropout=0.0), train, tune)
    assert linear.score.value < 0.7
    assert mlp.score.value > 0.95


def test_hidden_layers_start_as_he_has_it_and_the_last_at_zero():
    network = StackedMLP(2, [400, 300, 3], "relu", 0.0, 0, torch.device("cpu"))
    hidden, last = network.weights
    assert hidden.std().item() == pytest.approx((2 / 400) ** 0.5, rel=0.02)
    assert torch.equal(hidden[0], hidden[1])
    assert not last.any()
    assert not any(bias.any() for bias in network.biases)


def test_the_seed_determines_the_head():
    train, tune = blobs.features(90), blobs.features(40, split="tune")
    weights = [
        fit_head(blobs.linear(seed=seed), train, tune).head.model.tensors()["weight"]
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert np.abs(weights[0] - weights[2]).max() > 1e-4


def test_every_view_of_an_image_is_drawn():
    """Only the second view distinguishes the classes, so training has to use it."""
    train = blobs.features(90, views=2)
    train.values[:, 0] = 0
    tune = blobs.features(40, split="tune")
    fitted = fit_head(blobs.linear(epochs=20, standardize=False, train_views="all"), train, tune)
    assert fitted.curve[-1].tune_top1 > 0.8


def test_training_may_use_the_whole_view_only():
    train, tune = blobs.features(90, views=3), blobs.features(40, split="tune")
    whole_only = replace(train, values=train.values[:, :1].copy(), views=["whole"])
    ours, reference = (
        fit_head(blobs.linear(train_views=views), features, tune).head.model.tensors()["weight"]
        for views, features in (("whole", train), ("all", whole_only))
    )
    np.testing.assert_array_equal(ours, reference)


def test_diverged_training_is_an_error():
    train = blobs.features(90)
    with pytest.raises(UserError, match="training diverged: lower"):
        fit_head(blobs.linear(learning_rate=1e38), train, blobs.features(40, split="tune"))
