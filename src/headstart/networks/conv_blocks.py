"""The convolutional block that several of the papers' networks use."""

from torch import nn


def conv_bn_relu(
    inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int = 1
) -> nn.Sequential:
    """Returns a convolution with batch normalization and ReLU.

    [B, inputs, H, W] -> [B, outputs, H/stride, W/stride]: padded so that only `stride` changes the
    size. The convolution has no bias, because batch normalization would cancel it.
    """
    height, width = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, (height, width), stride, (height // 2, width // 2), bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
