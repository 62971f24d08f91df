"""The two initializations that the tailored-networks paper compares (section 4.5).

n and m are the inputs and outputs of a layer, for a convolution times its kernel's area. Biases
start at zero; batch normalization and the parametric rectifiers keep torch's start.
"""

from collections.abc import Callable

from torch import nn


def xavier(network: nn.Module) -> None:
    """W ~ U(-1 / sqrt(n + m), 1 / sqrt(n + m)).

    As the paper writes it; Glorot and Bengio's own bound is sqrt(6) times as wide.
    """
    for layer in _affine_layers(network):
        nn.init.xavier_uniform_(layer.weight, gain=6**-0.5)


def variance_scaling(network: nn.Module) -> None:
    """W ~ N(0, 2 / n), 2 / n the variance (He et al. 2015, equation 10)."""
    for layer in _affine_layers(network):
        nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")


INITIALIZATIONS: dict[str, Callable[[nn.Module], None]] = {
    "torch": lambda network: None,  # as the layers' constructors left it
    "xavier": xavier,
    "variance_scaling": variance_scaling,
}


def _affine_layers(network: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    """The layers to initialize, their biases already at zero."""
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for layer in layers:
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return layers
