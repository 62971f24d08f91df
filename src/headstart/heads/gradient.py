"""Heads trained by gradient: softmax cross-entropy with label smoothing, Adam, L2 (Milani, 4.2).

M models are trained at once. They share every batch and their first layer is one matrix product
of it; each has its own learning rate, decay, L2 and smoothing. One model is the case M = 1.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from headstart import params
from headstart.errors import UserError
from headstart.features import Features
from headstart.heads.batches import Samples
from headstart.heads.curve import Curve, Epoch
from headstart.heads.head import Standardization
from headstart.heads.models import Affine

BETAS, EPSILON = (0.9, 0.999), 1e-8
"""Adam's own defaults (Kingma and Ba, 2015, algorithm 1), as the paper uses."""


class Linear:
    """M affine layers, all zero at first.

    weight: [M, C, D]. bias: [M, C].
    """

    def __init__(self, models: int, width: int, classes: int, device: torch.device) -> None:
        self.weight = torch.zeros(models, classes, width, device=device, requires_grad=True)
        self.bias = torch.zeros(models, classes, device=device, requires_grad=True)

    def __call__(self, x: Tensor) -> Tensor:
        """Logits [B, M, C] of x [B, D]."""
        logits = F.linear(x, self.weight.flatten(0, 1), self.bias.flatten())
        return logits.unflatten(1, self.bias.shape)


class Adam:
    """Adam (Kingma and Ba, 2015) on tensors whose first axis is M models, each at its own rate.

    The L2 term of the paper's loss, `strength * sum(weight ** 2) / 2` as TensorFlow writes it, acts
    through its gradient, strength * weight, ahead of Adam's moments; biases have none. (AdamW's
    decoupled decay is another thing.)
    """

    def __init__(self, tensors: Sequence[Tensor], strengths: Sequence[Tensor]) -> None:
        self.tensors = tensors
        self.strengths = strengths
        self.moments = [(torch.zeros_like(t), torch.zeros_like(t)) for t in tensors]
        self.steps = 0

    @torch.no_grad()
    def step(self, rates: Tensor) -> None:
        """One step down the tensors' gradients. rates: [M]."""
        self.steps += 1
        beta1, beta2 = BETAS
        unbias1, unbias2 = 1 - beta1**self.steps, 1 - beta2**self.steps
        for tensor, strength, moments in zip(
            self.tensors, self.strengths, self.moments, strict=True
        ):
            assert tensor.grad is not None
            # On a CPU model by model: what one model needs stays in its cache.
            parts = len(tensor) if tensor.device.type == "cpu" else 1
            per_model = (-1, *[1] * (tensor.ndim - 1))
            for p, g, l2, rate, m, v in zip(
                *(
                    whole.chunk(parts)
                    for whole in (
                        tensor,
                        tensor.grad,
                        strength.view(per_model),
                        (rates / unbias1).view(per_model),
                        *moments,
                    )
                ),
                strict=True,
            ):
                g.addcmul_(p, l2)
                m.lerp_(g, 1 - beta1)
                v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
                p.sub_((m * rate).div_((v / unbias2).sqrt_().add_(EPSILON)))


@torch.no_grad()
def smoothed_cross_entropy(
    logits: Tensor, labels: Tensor, smoothing: Tensor
) -> tuple[Tensor, Tensor]:
    """Cross-entropy against eq. 1 of Milani, q = smoothing / C + (1 - smoothing) at the label.

    logits: [B, M, C]. labels: [B]. smoothing: [M]. Returns the losses [B, M] and the gradient
    [B, M, C] of their mean over the batch, which is (softmax - q) / B.
    """
    batch, models, classes = logits.shape
    at_label = labels[:, None, None].expand(batch, models, 1)
    log_p = logits.log_softmax(dim=2)
    hit = log_p.gather(2, at_label).squeeze(2)
    losses = -((1 - smoothing) * hit + smoothing * log_p.mean(dim=2))
    gradient = log_p.exp_().sub_((smoothing / classes)[:, None])
    gradient.scatter_add_(2, at_label, (smoothing - 1)[None, :, None].expand(batch, models, 1))
    return losses, gradient.div_(batch)


def train(
    recipes: Sequence[params.LinearHead],
    train: Features,
    tune: Features,
    standardization: Standardization,
) -> list[tuple[Affine, Curve]]:
    """One model and its curve a recipe; recipes differ in what a model has of its own.

    Raises:
        UserError: the training of one diverged.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    shared = recipes[0]

    def column(key: str) -> Tensor:
        return torch.tensor([getattr(recipe, key) for recipe in recipes], device=device)

    samples = Samples(train, standardization, device)
    held_out = Samples(tune, standardization, device)
    network = Linear(len(recipes), train.width, len(train.examples.classes), device)
    l2, smoothing = column("weight_decay"), column("label_smoothing")
    adam = Adam([network.weight, network.bias], [l2, torch.zeros_like(l2)])
    order = torch.Generator().manual_seed(shared.seed)
    curves: list[Curve] = [[] for _ in recipes]

    with tqdm(range(shared.epochs), desc="train_head", unit="epoch") as bar:
        for epoch in bar:
            rates = column("learning_rate") * column("learning_rate_decay") ** epoch
            met = Tally()
            for x, labels in samples.shuffled(shared.batch_size, order):
                logits = network(x)
                losses, gradient = smoothed_cross_entropy(logits, labels, smoothing)
                met.add(losses, logits, labels)
                network.weight.grad = network.bias.grad = None
                logits.backward(gradient)
                adam.step(rates)
            seen = evaluate(network, held_out, smoothing, shared.batch_size)
            for curve, *figures in zip(
                curves, *met.means(), *seen.means(), strict=True
            ):
                curve.append(Epoch(epoch + 1, *figures))
            bar.set_postfix(loss=f"{curves[0][-1].train_loss:.4g}", tune=f"{curves[0][-1].tune_top1:.1%}")
    if not torch.isfinite(network.weight).all():
        raise UserError("training diverged: lower the head's learning_rate or its weight_decay")
    weights, biases = network.weight.detach().cpu().numpy(), network.bias.detach().cpu().numpy()
    return [(Affine(w, b), c) for w, b, c in zip(weights, biases, curves, strict=True)]


class Tally:
    """Sums of losses and hits over batches, for each of M models."""

    def __init__(self) -> None:
        self.count, self.loss, self.hits = 0, torch.zeros(()), torch.zeros(())

    @torch.no_grad()
    def add(self, losses: Tensor, logits: Tensor, labels: Tensor) -> None:
        """losses: [B, M]. logits: [B, M, C]. labels: [B]."""
        self.count += len(labels)
        self.loss = self.loss.to(losses.device) + losses.sum(dim=0)
        self.hits = self.hits.to(losses.device) + (logits.argmax(2) == labels[:, None]).sum(dim=0)

    def means(self) -> tuple[list[float], list[float]]:
        """Loss and top-1 accuracy, [M] each."""
        return (self.loss / self.count).tolist(), (self.hits / self.count).tolist()


@torch.no_grad()
def evaluate(network: Linear, samples: Samples, smoothing: Tensor, batch_size: int) -> Tally:
    tally = Tally()
    for x, labels in samples.whole(batch_size):
        logits = network(x)
        losses, _ = smoothed_cross_entropy(logits, labels, smoothing)
        tally.add(losses, logits, labels)
    return tally


def fit(
    recipe: params.LinearHead, features: Features, tune: Features, standardization: Standardization
) -> tuple[Affine, Curve]:
    """The one model of `recipe`; raises as `train` does."""
    [fitted] = train([recipe], features, tune, standardization)
    return fitted
