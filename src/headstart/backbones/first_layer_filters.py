"""The filters of a network's first convolution (tailored-networks paper, section 4.7)."""

import numpy as np
from torch import nn

NO_FILTERS = np.zeros((0, 3, 1, 1), np.float32)


def first_layer_filters(network: nn.Module) -> np.ndarray:
    """Returns the weights [F, 3, h, w] float32 of the first convolution that reads three channels.

    F is 0 if there is none, or if its filters are single pixels, which have no shape to look at.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == 3:
            if module.kernel_size == (1, 1):
                break
            return module.weight.detach().float().cpu().numpy()
    return NO_FILTERS
