"""The layer that the papers' networks share."""

from torch import nn


def conv_bn_relu(
    inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int = 1
) -> nn.Sequential:
    """Convolution, batch normalization, ReLU.

    [B, inputs, H, W] -> [B, outputs, H/stride, W/stride]. Padded so that only `stride` changes the
    size; without the bias that normalization would undo.
    """
    height, width = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, (height, width), stride, (height // 2, width // 2), bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
