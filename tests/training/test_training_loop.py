"""The training loop: it learns, resumes after a kill and reports why it stops."""

import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from math import cos, pi
from textwrap import dedent
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from sklearn.metrics import f1_score
from torch import Tensor, nn
from torch.nn import functional as F

from headstart import config
from headstart.config import Recipe
from headstart.core.errors import UserError
from headstart.training.checkpoints import newest_checkpoint, read_checkpoint
from headstart.training.image_transforms import InputSpec
from headstart.training.network_evaluation import Evaluation, ImageTensors, evaluate_network
from headstart.training.train_state import TrainState
from headstart.training.training_loop import (
    TrainingTask,
    count_forward_passes,
    make_mixup,
    train_network,
    train_step,
)
from tests import cases

RECIPES = config.load_params(cases.ROOT / "params.yaml").recipes
CPU = torch.device("cpu")
EPOCHS = 3


def recipe(alias: str = "milani", **changes: Any) -> Recipe:
    return RECIPES[alias].model_copy(update={"epochs": EPOCHS, "batch_size": 16, **changes})


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(32, 4),
    )


def split(count: int, seed: int) -> ImageTensors:
    """Returns noisy images, brighter in the color of their class: red, green, blue or none."""
    labels = torch.arange(count) % 4
    noise = torch.randint(150, (count, 12, 12, 3), generator=torch.Generator().manual_seed(seed))
    color = F.one_hot(labels, 4)[:, None, None, :3]
    return ImageTensors((noise + 60 * color).byte(), labels)


def task() -> TrainingTask:
    return TrainingTask(split(70, 0), split(40, 1), InputSpec(12, 1.0, (0.5,) * 3, (0.3,) * 3), 4)


@pytest.fixture
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains in float32 on every CPU, because rounding to bfloat16 would hide the comparison."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)


class Killed(BaseException):
    """An exception that no handler in headstart catches."""


def killed_at(calls: int) -> nn.Module:
    """Returns a network whose `calls`-th forward pass in training raises Killed."""
    dying = network()
    left = [calls]

    def count(module: nn.Module, _) -> None:
        left[0] -= module.training
        if not left[0]:
            raise Killed

    dying.register_forward_pre_hook(count)
    return dying


@pytest.mark.parametrize("alias", RECIPES)
def test_every_recipe_resumes_to_the_same_curve_and_weights(alias, tmp_path):
    whole, resumed = network(), network()
    uninterrupted = train_network(whole, recipe(alias), task(), tmp_path / "whole", CPU)
    with pytest.raises(Killed):
        train_network(killed_at(7), recipe(alias), task(), tmp_path / "killed", CPU)
    again = train_network(resumed, recipe(alias), task(), tmp_path / "killed", CPU)
    assert again.curve == uninterrupted.curve
    for key, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key])
    curve = (tmp_path / "whole" / "curve.tsv").read_text()
    assert (tmp_path / "killed" / "curve.tsv").read_text() == curve
    assert len(curve.splitlines()) == 1 + EPOCHS


def test_a_process_killed_by_the_system_resumes(tmp_path):
    """The process receives SIGKILL in a step of the second epoch."""
    code = """
        import os, signal, sys
        from pathlib import Path
        from tests.training import test_training_loop as t
        calls = [0]
        def count(module, _):
            calls[0] += module.training
            if calls[0] == 7:
                os.kill(os.getpid(), signal.SIGKILL)
        dying = t.network()
        dying.register_forward_pre_hook(count)
        t.train_network(dying, t.recipe(), t.task(), Path(sys.argv[1]), t.CPU)
    """
    command = [sys.executable, "-c", dedent(code), str(tmp_path / "killed")]
    ended = subprocess.run(command, cwd=cases.ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == -9, ended.stderr
    assert newest_checkpoint(tmp_path / "killed")
    resumed = train_network(network(), recipe(), task(), tmp_path / "killed", CPU).curve
    whole = train_network(network(), recipe(), task(), tmp_path / "whole", CPU).curve
    for ours, theirs in zip(resumed, whole, strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-5)
        assert ours.tune_loss == pytest.approx(theirs.tune_loss, rel=1e-5)


def test_it_learns_and_another_seed_gives_another_curve(tmp_path):
    chosen = recipe(epochs=8, optimizer=config.Adam(name="adam", learning_rate=0.01))
    curve = train_network(network(), chosen, task(), tmp_path / "0", CPU).curve
    assert curve[-1].tune_top1 > 0.9
    chosen = chosen.model_copy(update={"seed": 1})
    assert train_network(network(), chosen, task(), tmp_path / "1", CPU).curve != curve


@pytest.mark.usefixtures("in_float32")
def test_the_loop_is_torch_s_own_schedule_average_and_losses(tmp_path):
    """By hand, with all of train in each batch: its order doesn't matter then."""
    epochs, learning_rate, momentum = 6, 0.05, 0.9
    chosen = Recipe(
        epochs=epochs,
        batch_size=100,
        optimizer=config.SGD(name="sgd", learning_rate=learning_rate, momentum=momentum),
        schedule=config.Cosine(name="cosine", warmup_epochs=2),
        label_smoothing=0.1,
        ema=0.3,
    )

    def plain() -> nn.Sequential:
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(12 * 12 * 3, 4))

    data = task()
    trained = plain()
    curve = train_network(trained, chosen, data, tmp_path, CPU).curve

    by_hand = plain()
    weights = list(by_hand.parameters())
    averaged = [weight.detach().clone() for weight in weights]
    sgd = torch.optim.SGD(weights, learning_rate, momentum=momentum, nesterov=True)
    kept, best = averaged, -1.0
    for step, epoch in enumerate(curve):
        warm = (step + 1) / 3 if step < 2 else (1 + cos(pi * (step - 2) / 4)) / 2
        sgd.param_groups[0]["lr"] = learning_rate * warm
        logits = by_hand(data.input_spec.eval_transform(data.train.pixels))
        loss = F.cross_entropy(logits, data.train.labels, label_smoothing=0.1)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        # The first average is the weights after the first step.
        decay = min(0.3, (1 + step) / (10 + step)) if step else 0.0
        averaged = [
            decay * mean + (1 - decay) * weight.detach()
            for mean, weight in zip(averaged, weights, strict=True)
        ]
        assert epoch.train_loss == pytest.approx(loss.item(), rel=1e-4)
        right = logits.argmax(dim=1) == data.train.labels
        assert epoch.train_top1 == pytest.approx(right.float().mean().item())
        x = data.input_spec.eval_transform(data.tune.pixels).flatten(1)
        logits = x @ averaged[0].T + averaged[1]
        loss = F.cross_entropy(logits, data.tune.labels, label_smoothing=0.1)
        assert epoch.tune_loss == pytest.approx(loss.item(), rel=1e-4)
        top1 = (logits.argmax(dim=1) == data.tune.labels).float().mean().item()
        assert epoch.tune_top1 == pytest.approx(top1)
        if top1 > best:
            kept, best = averaged, top1
    for ours, theirs in zip(trained.parameters(), kept, strict=True):
        torch.testing.assert_close(ours.detach(), theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("in_float32")
def test_balanced_class_weights_give_torch_s_weighted_mean(tmp_path):
    """torch divides by the sum of the batch's weights, which over all of train is its size."""
    data = task()
    rare = data.train.labels.ne(3) | (torch.arange(70) < 12)
    data = replace(data, train=ImageTensors(data.train.pixels[rare], data.train.labels[rare]))
    counts = data.train.labels.bincount(minlength=4)
    expected = len(data.train) / (4 * counts)  # scikit-learn's n_samples / (n_classes * counts)
    chosen = recipe(class_weights="balanced", epochs=1, batch_size=100, label_smoothing=0.0)
    weights = data.class_weights(chosen, CPU)
    torch.testing.assert_close(weights, expected)
    torch.testing.assert_close(data.class_weights(recipe(), CPU), torch.ones(4))
    net = network()
    images = data.input_spec.eval_transform(data.train.pixels)
    net.train()
    torch.manual_seed(1)  # of dropout
    state = TrainState(net, chosen, 1)
    loss, logits = train_step(state, chosen, images, data.train.labels, weights)
    reference = F.cross_entropy(logits, data.train.labels, weight=expected)
    torch.testing.assert_close(loss, reference)
    mixed = F.one_hot(data.train.labels, 4).float()
    loss, logits = train_step(state, chosen, images, mixed, weights)
    torch.testing.assert_close(loss, F.cross_entropy(logits, data.train.labels, weight=expected))


@pytest.mark.usefixtures("in_float32")
def test_the_kept_epoch_is_the_best_by_what_tune_chooses_by(tmp_path):
    data = replace(task(), choose_by="macro_f1")
    trained = network()
    result = train_network(trained, recipe(epochs=6), data, tmp_path, CPU)
    scores = [epoch.score for epoch in result.curve]
    assert scores != [epoch.tune_top1 for epoch in result.curve]
    assert result.best == (max(scores), 1 + scores.index(max(scores)))
    logits = trained.eval()(data.input_spec.eval_transform(data.tune.pixels))
    by_hand = f1_score(data.tune.labels, logits.argmax(dim=1), average="macro")
    assert by_hand == pytest.approx(max(scores))


def test_snapshots_are_the_epochs_that_were_best_so_far(tmp_path):
    trained = network()
    result = train_network(trained, recipe(epochs=8), task(), tmp_path, CPU, max_snapshots=2)
    curve, files = result.curve, result.snapshots
    accuracies = [epoch.tune_top1 for epoch in curve]
    rises = [i for i, a in enumerate(accuracies, 1) if a > max([-1.0, *accuracies[: i - 1]])]
    assert len(rises) > 2  # otherwise none had to be removed
    assert [int(file.name.split("_")[1]) for file in files] == [4 * epoch for epoch in rises[-2:]]
    assert result.best == (max(accuracies), rises[-1])
    kept = load_file(files[-1])
    assert all(torch.equal(kept[k], v) for k, v in trained.state_dict().items())


def test_snapshots_within_an_epoch_are_those_that_were_best_so_far(tmp_path, monkeypatch):
    """Tune is evaluated after every third step and every epoch of four steps: 3, 4, 6, 8, 9, 12."""
    top1 = {3: 0.2, 4: 0.1, 6: 0.5, 8: 0.3, 9: 0.4, 12: 0.6}
    evaluations = []

    def fake(evaluated: nn.Module, *_: object) -> Evaluation:
        steps = int(evaluated.get_buffer("1.num_batches_tracked"))
        evaluations.append(steps)
        return Evaluation(1.0, top1[steps])

    monkeypatch.setattr("headstart.training.training_loop.evaluate_network", fake)
    chosen = recipe(snapshot_steps=3)
    whole = network()
    result = train_network(whole, chosen, task(), tmp_path / "whole", CPU, max_snapshots=2)
    assert evaluations == list(top1)
    assert [int(path.name.split("_")[1]) for path in result.snapshots] == [6, 12]
    assert result.best == (0.6, 3.0)
    assert [epoch.tune_top1 for epoch in result.curve] == [0.1, 0.3, 0.6]
    assert count_forward_passes(task(), chosen, 3) == 3 * 3 * 64 + 6 * 40
    # Killed in the step after a snapshot within the second epoch
    with pytest.raises(Killed):
        train_network(killed_at(7), chosen, task(), tmp_path / "killed", CPU, max_snapshots=2)
    again = train_network(network(), chosen, task(), tmp_path / "killed", CPU, max_snapshots=2)
    assert [path.name for path in again.snapshots] == [path.name for path in result.snapshots]
    assert sorted(path.name for path in (tmp_path / "killed").glob("snapshot_*")) == sorted(
        path.name for path in (tmp_path / "whole").glob("snapshot_*")
    )


def test_patience_ends_training_and_counts_over_a_kill(tmp_path):
    still = {"optimizer": config.SGD(name="sgd", learning_rate=1e-12), "patience": 2}
    chosen = recipe(epochs=9, **still)
    assert len(train_network(network(), chosen, task(), tmp_path / "whole", CPU).curve) == 3
    with pytest.raises(Killed):
        train_network(killed_at(11), chosen, task(), tmp_path / "killed", CPU)
    assert len(train_network(network(), chosen, task(), tmp_path / "killed", CPU).curve) == 3


def test_an_infinite_loss_stops_with_its_cause(tmp_path):
    chosen = recipe(optimizer=config.SGD(name="sgd", learning_rate=1e38))
    with pytest.raises(UserError, match=r"in epoch 1 by step \d.*not finite: .*clip_norm"):
        train_network(network(), chosen, task(), tmp_path, CPU)


def gradients(chosen: Recipe) -> list[Tensor]:
    """Returns the gradients of one step on 12 images, without normalization and dropout."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(48, 4))
    images = torch.randn(12, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(12) % 4
    loss, logits = train_step(TrainState(plain, chosen, 1), chosen, images, labels, torch.ones(4))
    torch.testing.assert_close(
        loss, F.cross_entropy(logits, labels, label_smoothing=chosen.label_smoothing)
    )
    return [p.grad for p in plain.parameters() if p.grad is not None]


@pytest.mark.usefixtures("in_float32")
@pytest.mark.parametrize("parts", [2, 3, 5])
def test_accumulated_gradients_are_the_whole_batchs(parts):
    for ours, whole in zip(gradients(recipe(accumulate=parts)), gradients(recipe()), strict=True):
        torch.testing.assert_close(ours, whole)


def test_clipping_bounds_the_whole_gradient():
    parts = gradients(recipe(clip_norm=0.01))
    assert torch.cat([p.flatten() for p in parts]).norm().item() == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("capabilities", [{}, {"avx512_bf16": True}, {"amx_bf16": True}])
def test_loss_and_weights_are_float32_whatever_the_network_computes_in(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool]
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    dtypes = []
    watched = nn.Sequential(nn.Flatten(), nn.Linear(48, 4))
    watched.register_forward_hook(lambda _, __, output: dtypes.append(output.dtype))
    images, labels = torch.randn(12, 3, 4, 4), torch.arange(12) % 4
    loss, logits = train_step(
        TrainState(watched, recipe(), 1), recipe(), images, labels, torch.ones(4)
    )
    assert dtypes == [torch.bfloat16 if capabilities else torch.float32]
    assert loss.dtype == logits.dtype == torch.float32
    assert {p.dtype for p in watched.parameters()} == {torch.float32}


def test_mixing_keeps_probabilities():
    torch.manual_seed(0)
    images, labels = torch.rand(8, 3, 6, 6), torch.arange(8) % 4
    for mixup, cutmix in ((0.4, 0.0), (0.0, 1.0), (0.4, 1.0)):
        mixed, targets = make_mixup(recipe(mixup=mixup, cutmix=cutmix), 4)(images, labels)
        assert mixed.shape == images.shape
        torch.testing.assert_close(targets.sum(dim=1), torch.ones(8))
        assert not torch.equal(mixed, images)
    assert make_mixup(recipe(), 4)(images, labels)[1] is labels


@pytest.mark.usefixtures("in_float32")
def test_averaged_weights_are_what_is_evaluated_and_kept(tmp_path):
    chosen = recipe(ema=0.9, epochs=1)
    trained = network()
    [epoch] = train_network(trained, chosen, task(), tmp_path, CPU).curve
    tune = evaluate_network(
        trained,
        task().tune,
        task().input_spec,
        chosen.label_smoothing,
        torch.ones(4),
        "accuracy",
        CPU,
    )
    assert tune == (epoch.tune_loss, epoch.tune_top1, None)
    checkpoint = newest_checkpoint(tmp_path)
    assert checkpoint
    state = read_checkpoint(checkpoint)
    for name, kept in trained.state_dict().items():
        assert torch.equal(kept, state["ema"][f"module.{name}"])
    assert not torch.equal(trained.state_dict()["0.weight"], state["network"]["0.weight"])


def test_each_step_augments_differently_and_reproducibly(tmp_path):
    """All images are the same, so that only augmentation makes a difference."""
    equal_images = ImageTensors(
        split(1, 0).pixels.expand(32, -1, -1, -1), torch.zeros(32, dtype=torch.int64)
    )
    chosen = recipe(epochs=2, augmentation=config.Augmentation(probability=1.0, brightness=0.5))

    def steps(folder: str) -> list[Tensor]:
        inputs, watched = [], network()
        watched.register_forward_pre_hook(
            lambda module, images: inputs.append(images[0]) if module.training else None
        )
        train_network(watched, chosen, replace(task(), train=equal_images), tmp_path / folder, CPU)
        return inputs

    first, again = steps("first"), steps("again")
    assert len(first) == 2 * 2  # epochs of two steps
    for one, other in combinations(first, 2):
        assert not torch.isclose(one, other).all(dim=(1, 2, 3)).any()
    assert all(map(torch.equal, first, again))
