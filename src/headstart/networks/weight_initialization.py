"""The two initializations that the tailored-networks paper compares (section 4.5).

n and m are the numbers of inputs and outputs of a layer; for a convolution, the channels times the
area of the kernel. Biases are set to zero; batch normalization and PReLU keep torch's
initialization.
"""

from collections.abc import Callable

from torch import nn


def xavier(network: nn.Module) -> None:
    """Initializes the weights of `network` in place: W ~ U(-1 / sqrt(n + m), 1 / sqrt(n + m)).

    This is the paper's formula; the bound of Glorot and Bengio (2010) is sqrt(6) times as large.
    """
    for layer in _layers_with_zeroed_biases(network):
        nn.init.xavier_uniform_(layer.weight, gain=6**-0.5)


def variance_scaling(network: nn.Module) -> None:
    """Initializes the weights of `network` in place: W ~ N(0, 2 / n), where 2 / n is the variance.

    See He et al. (2015), equation 10.
    """
    for layer in _layers_with_zeroed_biases(network):
        nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")


INITIALIZATIONS: dict[str, Callable[[nn.Module], None]] = {
    "torch": lambda network: None,  # the initialization by the layers' constructors
    "xavier": xavier,
    "variance_scaling": variance_scaling,
}


def _layers_with_zeroed_biases(network: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """Returns the convolutions and affine layers of `network`, with their biases set to zero."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for layer in layers:
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return layers
