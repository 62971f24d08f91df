"""M networks of one shape as stacked tensors: affine layers with dropout before each."""

import math
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.heads.head_models import MLP, Affine, Model

ACTIVATIONS = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "gelu": lambda x: F.gelu(x, approximate="tanh"),
}


class StackedMLP:
    """weights: [M, out, in] a layer. biases: [M, out] a layer.

    What the last call saw and made is kept for `backward`. The first layer is where the arithmetic
    is, and its tensors are large: made anew in every step, they would cost time in fresh pages, so
    it is computed by hand into the same memory.

    All M start the same. The last layer starts at zero, hidden ones as He et al. (2015) have it for
    ReLU; the same seed gives the same start and the same dropout whatever M.
    """

    def __init__(
        self,
        models: int,
        widths: list[int],
        activation: str,
        dropout: float,
        seed: int,
        device: torch.device,
    ) -> None:
        """widths: D, those of the hidden layers, C. dropout: the probability of a zero."""
        self.activation, self.dropout = activation, dropout
        self.masks = torch.Generator(device).manual_seed(seed)
        start = torch.Generator().manual_seed(seed)
        self.weights, self.biases = [], []
        self.memory: Tensor | None = None
        for layer, (fan_in, fan_out) in enumerate(pairwise(widths)):
            last = layer == len(widths) - 2
            scale = 0 if last else math.sqrt(2 / fan_in)
            weight = scale * torch.randn(fan_out, fan_in, generator=start)
            self.weights.append(weight.repeat(models, 1, 1).to(device).requires_grad_())
            self.biases.append(torch.zeros(models, fan_out, device=device, requires_grad=True))

    def __call__(self, x: Tensor, training: bool) -> Tensor:
        """Logits [B, M, C] of x [B, D], to be used up before the next call."""
        weight, bias = self.weights[0], self.biases[0]
        if self.memory is None or len(self.memory) < len(x):
            self.memory = torch.empty(len(x), *bias.shape, device=bias.device)
        self.seen = self._dropped(x) if training else x
        first = self.memory[: len(x)]  # [B, M, out]
        with torch.no_grad():
            torch.addmm(bias.flatten(), self.seen, weight.flatten(0, 1).T, out=first.flatten(1))
        self.first = self.logits = first.detach().requires_grad_(training)
        with torch.set_grad_enabled(training):
            for weight, bias in zip(self.weights[1:], self.biases[1:], strict=True):
                h = ACTIVATIONS[self.activation](self.logits)  # [B, M, in]
                h = self._dropped(h) if training else h
                self.logits = torch.einsum("bmi,moi->bmo", h, weight) + bias
        return self.logits.detach()

    def backward(self, gradient: Tensor) -> None:
        """Gives every weight its gradient, from that of the logits [B, M, C] of the last call."""
        for tensor in (*self.weights[1:], *self.biases):
            tensor.grad = None
        if len(self.weights) > 1:
            self.logits.backward(gradient)
            assert self.first.grad is not None
            gradient = self.first.grad
        weight, bias = self.weights[0], self.biases[0]
        if weight.grad is None:
            weight.grad = torch.empty_like(weight)
        torch.mm(gradient.flatten(1).T, self.seen, out=weight.grad.flatten(0, 1))
        bias.grad = gradient.sum(dim=0)

    def _dropped(self, x: Tensor) -> Tensor:
        """x [B, D] or [B, M, D], the same places zero in all M (Srivastava et al., 2014)."""
        if self.dropout == 0:
            return x
        kept = torch.empty(len(x), x.shape[-1], device=x.device)
        kept.bernoulli_(1 - self.dropout, generator=self.masks).div_(1 - self.dropout)
        return x * kept.view(len(x), *[1] * (x.ndim - 2), -1)

    def models(self) -> list[Model]:
        """The M networks, each by itself."""
        weights, biases = (
            [tensor.detach().cpu().numpy() for tensor in tensors]
            for tensors in (self.weights, self.biases)
        )
        found: list[Model] = []
        for m in range(len(weights[0])):
            layers = [Affine(w[m], b[m]) for w, b in zip(weights, biases, strict=True)]
            found.append(MLP(layers, self.activation) if len(layers) > 1 else layers[0])
        return found
