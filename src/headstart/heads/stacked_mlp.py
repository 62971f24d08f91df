"""M networks of the same shape as stacked tensors: affine layers with dropout before each."""

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
    """M multilayer perceptrons (or affine functions) that are trained on the same batches.

    A call keeps its inputs and outputs for `backward`. The first layer takes most of the time and
    has large outputs; allocating them in each step would be slow, so the layer is computed without
    autograd into one buffer that is reused.

    All M networks have the same initial weights: zero in the last layer, and those of He et al.
    (2015) for ReLU in hidden layers. Initial weights and dropout depend on the seed, not on M.

    weights: one tensor [M, out, in] per layer. biases: one tensor [M, out] per layer.
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
        """Initializes the networks.

        models: M. widths: D, the widths of the hidden layers, C. activation: a key of ACTIVATIONS.
        dropout: the probability that a value is set to zero.
        """
        self.activation, self.dropout = activation, dropout
        self.dropout_generator = torch.Generator(device).manual_seed(seed)
        weight_generator = torch.Generator().manual_seed(seed)
        self.weights, self.biases = [], []
        self.buffer: Tensor | None = None
        for layer, (fan_in, fan_out) in enumerate(pairwise(widths)):
            last = layer == len(widths) - 2
            scale = 0 if last else math.sqrt(2 / fan_in)
            weight = scale * torch.randn(fan_out, fan_in, generator=weight_generator)
            self.weights.append(weight.repeat(models, 1, 1).to(device).requires_grad_())
            self.biases.append(torch.zeros(models, fan_out, device=device, requires_grad=True))

    def __call__(self, x: Tensor, training: bool) -> Tensor:
        """Returns the logits [B, M, C] of x [B, D]; the next call overwrites them."""
        weight, bias = self.weights[0], self.biases[0]
        if self.buffer is None or len(self.buffer) < len(x):
            self.buffer = torch.empty(len(x), *bias.shape, device=bias.device)
        self.inputs = self._drop_out(x) if training else x
        first_outputs = self.buffer[: len(x)]  # of the first layer, [B, M, out]
        with torch.no_grad():
            torch.addmm(
                bias.flatten(), self.inputs, weight.flatten(0, 1).T, out=first_outputs.flatten(1)
            )
        self.first = self.logits = first_outputs.detach().requires_grad_(training)
        with torch.set_grad_enabled(training):
            for weight, bias in zip(self.weights[1:], self.biases[1:], strict=True):
                h = ACTIVATIONS[self.activation](self.logits)  # [B, M, in]
                h = self._drop_out(h) if training else h
                self.logits = torch.einsum("bmi,moi->bmo", h, weight) + bias
        return self.logits.detach()

    def backward(self, gradient: Tensor) -> None:
        """Sets the gradients of all weights and biases.

        gradient: [B, M, C], of the loss with respect to the logits of the last call.
        """
        for tensor in (*self.weights[1:], *self.biases):
            tensor.grad = None
        if len(self.weights) > 1:
            self.logits.backward(gradient)
            assert self.first.grad is not None
            gradient = self.first.grad
        weight, bias = self.weights[0], self.biases[0]
        if weight.grad is None:
            weight.grad = torch.empty_like(weight)
        torch.mm(gradient.flatten(1).T, self.inputs, out=weight.grad.flatten(0, 1))
        bias.grad = gradient.sum(dim=0)

    def _drop_out(self, x: Tensor) -> Tensor:
        """Applies dropout (Srivastava et al., 2014), the same to all M networks.

        x: [B, D] or [B, M, D].
        """
        if self.dropout == 0:
            return x
        mask = torch.empty(len(x), x.shape[-1], device=x.device)
        mask.bernoulli_(1 - self.dropout, generator=self.dropout_generator).div_(1 - self.dropout)
        return x * mask.view(len(x), *[1] * (x.ndim - 2), -1)

    def models(self) -> list[Model]:
        """Returns the M networks as separate models."""
        weights, biases = (
            [tensor.detach().cpu().numpy() for tensor in tensors]
            for tensors in (self.weights, self.biases)
        )
        models: list[Model] = []
        for m in range(len(weights[0])):
            layers = [Affine(w[m], b[m]) for w, b in zip(weights, biases, strict=True)]
            models.append(MLP(layers, self.activation) if len(layers) > 1 else layers[0])
        return models
