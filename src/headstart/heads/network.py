"""M networks of one shape as stacked tensors: affine layers with dropout before each."""

import math
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.heads.models import MLP, Affine, Model

ACTIVATIONS = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "gelu": lambda x: F.gelu(x, approximate="tanh"),
}


class Network:
    """weights: [M, out, in] a layer. biases: [M, out] a layer.

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
        for layer, (fan_in, fan_out) in enumerate(pairwise(widths)):
            last = layer == len(widths) - 2
            scale = 0 if last else math.sqrt(2 / fan_in)
            weight = scale * torch.randn(fan_out, fan_in, generator=start)
            self.weights.append(weight.repeat(models, 1, 1).to(device).requires_grad_())
            self.biases.append(torch.zeros(models, fan_out, device=device, requires_grad=True))

    def __call__(self, x: Tensor, training: bool) -> Tensor:
        """Logits [B, M, C] of x [B, D]."""
        first, *rest = zip(self.weights, self.biases, strict=True)
        weight, bias = first
        x = self._dropped(x) if training else x
        x = F.linear(x, weight.flatten(0, 1), bias.flatten()).unflatten(1, bias.shape)
        for weight, bias in rest:
            x = ACTIVATIONS[self.activation](x)  # [B, M, in]
            x = self._dropped(x) if training else x
            x = torch.einsum("bmi,moi->bmo", x, weight) + bias
        return x

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
