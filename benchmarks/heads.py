"""Training heads on many features: a sweep against separate runs, and against scikit-learn.

    uv run python -m benchmarks.heads                      # about an hour on 2 cores
    uv run python -m benchmarks.heads --images 10000 --configurations 8 --epochs 2

The features are synthetic: one weak Gaussian blob per class, rectified as pooled activations are.
An NVIDIA GPU is used where there is one, except by scikit-learn and the closed forms.
"""

import argparse
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn import functional as F

from benchmarks.timing import alternate, machine, table
from headstart import config
from headstart.heads.candidate_selection import FitContext
from headstart.heads.fitted_head import Standardization
from headstart.heads.gradient_training import fit_gradient_head
from headstart.heads.head_models import Affine
from headstart.heads.hyperparameter_sweep import fit_sweep, sweep_points
from headstart.heads.ridge_and_lda import fit_ridge
from headstart.store.examples import ClassLabel, Examples
from headstart.store.features import Features

WIDTH, CLASSES, BATCH = 2048, 200, 1024
OVER = {
    "learning_rate": [0.0001, 0.0003, 0.001, 0.003],
    "weight_decay": [0.0, 0.0001, 0.001, 0.01],
    "label_smoothing": [0.0, 0.1],
    "learning_rate_decay": [0.7, 0.9],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--configurations", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()

    print(f"{machine()}, scikit-learn {version('scikit-learn')}")
    print(f"{args.images:,} x {WIDTH:,} features, {CLASSES} classes, ", end="")
    print(f"{args.epochs} epochs, batch {BATCH:,}, {args.rounds} rounds", flush=True)
    task = make_task(args.images)
    x = np.concatenate(
        [task.standardization(part[:, 0]) for part in np.array_split(task.train.values, 64)]
    )
    labels = task.train.examples.labels
    clock(lambda: fit_gradient_head(recipe("linear", epochs=1), task))  # threads and kernels start

    def show(contenders: dict[str, Callable[[], float]], items: int, unit: str) -> None:
        seconds = alternate(contenders, args.rounds)
        print("\n" + table(seconds, next(iter(contenders)), items, unit) + "\n", flush=True)

    linear = recipe("linear", epochs=args.epochs)
    swept = recipe("sweep", head=linear.model_dump(), over=OVER, sample=args.configurations)
    points = sweep_points(swept)
    on_device = torch.from_numpy(x).to(task.device), torch.from_numpy(labels).to(task.device)
    show(
        {
            "separate runs": lambda: clock(
                lambda: [train_by_hand(*on_device, args.epochs, **point) for point in points]
            ),
            "one sweep": lambda: clock(lambda: fit_sweep(swept, task)),
        },
        len(points),
        "head",
    )
    show({"one head": lambda: clock(lambda: fit_gradient_head(linear, task))}, 1, "head")

    plain = recipe("linear", epochs=args.epochs, label_smoothing=0.0)
    [found] = fit_gradient_head(plain, task)
    assert isinstance(found.model, Affine)
    loss = objective(found.model, x, labels, plain.weight_decay)
    reference, iterations = scikit_learn(x, labels, plain.weight_decay, loss)
    print(f"to a loss of {loss:.4f}, scikit-learn in {iterations} iterations")
    show(
        {
            "LogisticRegression": lambda: clock(lambda: reference.fit(x, labels)),
            "one head without smoothing": lambda: clock(lambda: fit_gradient_head(plain, task)),
        },
        1,
        "head",
    )

    one, path = (recipe("ridge", strengths=np.logspace(0, 6, count).tolist()) for count in (1, 64))
    show(
        {
            "one ridge strength": lambda: clock(lambda: fit_ridge(one, task)),
            "64 ridge strengths": lambda: clock(lambda: fit_ridge(path, task)),
        },
        1,
        "run",
    )


def make_task(images: int) -> FitContext:
    """Synthetic features [N, 1, WIDTH] float16, in CLASSES classes."""
    rng = np.random.default_rng(0)
    centers = 0.15 * rng.standard_normal((CLASSES, WIDTH), np.float32)
    classes = [ClassLabel(str(index), str(index)) for index in range(CLASSES)]

    def split(count: int) -> Features:
        labels = np.arange(count) % CLASSES
        values = np.empty((count, 1, WIDTH), np.float16)
        for block in np.array_split(np.arange(count), max(1, count // 4096)):
            noise = rng.standard_normal((len(block), WIDTH), np.float32)
            values[block, 0] = np.maximum(centers[labels[block]] + noise, 0)
        ids = [str(index) for index in range(count)]
        return Features(values, ["whole"], Examples(ids, labels, classes), {})

    train = split(images)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return FitContext(
        train, split(max(CLASSES, images // 20)), Standardization.from_features(train), device
    )


def recipe(kind: str, **settings: Any) -> Any:
    linear = {
        "learning_rate": 0.001,
        "learning_rate_decay": 0.8,
        "weight_decay": 0.001,
        "label_smoothing": 0.1,
        "batch_size": BATCH,
        "seed": 0,
    }
    defaults = {"kind": kind} | (linear if kind == "linear" else {})
    defaults |= {} if kind == "sweep" else {"standardize": True}
    return TypeAdapter(config.Head).validate_python(defaults | settings)


def train_by_hand(
    x: torch.Tensor,
    labels: torch.Tensor,
    epochs: int,
    learning_rate: float,
    weight_decay: float,
    label_smoothing: float,
    learning_rate_decay: float,
) -> None:
    """The plain loop for one head, on features that are already standardized, float32."""
    layer = nn.Linear(WIDTH, CLASSES).to(x.device)
    adam = torch.optim.Adam(
        layer.parameters(), lr=learning_rate, weight_decay=weight_decay, fused=True
    )
    decay = torch.optim.lr_scheduler.ExponentialLR(adam, learning_rate_decay)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).to(x.device).split(BATCH):
            loss = F.cross_entropy(layer(x[batch]), labels[batch], label_smoothing=label_smoothing)
            adam.zero_grad()
            loss.backward()
            adam.step()
        decay.step()
    if x.device.type == "cuda":
        torch.cuda.synchronize()


def objective(model: Affine, x: np.ndarray, labels: np.ndarray, l2: float) -> float:
    """The mean cross-entropy plus the L2 term."""
    total = 0.0
    for rows in np.array_split(np.arange(len(x)), max(1, len(x) // 8192)):
        logits, at = torch.from_numpy(model(x[rows])), torch.from_numpy(labels[rows])
        total += F.cross_entropy(logits, at, reduction="sum").item()
    return total / len(x) + l2 / 2 * float((model.weight**2).sum())


def scikit_learn(
    x: np.ndarray, labels: np.ndarray, l2: float, loss: float
) -> tuple[LogisticRegression, int]:
    """L-BFGS on the same objective, and the number of iterations that it takes to reach `loss`.

    That number is at most a quarter larger than the smallest one.
    """
    iterations = 4
    while True:
        fitter = LogisticRegression(C=1 / (l2 * len(x)), max_iter=iterations, tol=1e-12)
        fitter.fit(x, labels)
        model = Affine(np.asarray(fitter.coef_), np.asarray(fitter.intercept_))
        if objective(model, x, labels, l2) <= loss:
            return fitter, iterations
        iterations += max(1, iterations // 4)


def clock(work: Callable[[], Any]) -> float:
    """The seconds that `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    # scikit-learn is stopped early on purpose.
    warnings.simplefilter("ignore", ConvergenceWarning)
    main()
