"""Layers: the pooled outputs of named modules of a network, all of them in one forward pass."""

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

import torch
from torch import nn

from headstart.config.backbones import Pooling
from headstart.core.errors import UserError

MAX_WIDTH = 131_072
"""Largest number of features of a layer: 256 KiB in float16. The last feature maps of common
networks fit unpooled (ResNet-50's at 224 px has 100,352 values), those of early layers don't."""

NEAREST = 3
"""Number of modules that an error message suggests."""


class Layer(NamedTuple):
    """The name of a module and the number of features that it gives, after pooling."""

    name: str
    width: int


class LayerOutputs(nn.Module):
    """The pooled outputs of modules of `network`, side by side: [B, 3, S, S] to [B, D].

    The output of a module that runs several times is that of its first run. What comes after the
    last of these modules is computed on a GPU only: OpenVINO leaves out what no output needs.

    layers: names of modules, as `named_modules` has them. pooling: from a module's output to one
    vector per image; `avg` and `max` over the positions of a feature map [B, C, H, W] (or
    [B, H, W, C] in networks that have channels last), or over the patch tokens of [B, N, C]; `cls`
    takes the class token; `none` takes all values. Outputs [B, C] stay as they are.

    Raises:
        UserError: the network has no such module; in `forward`, a module does not run, its output
            can't be pooled in this way, or it has more than MAX_WIDTH features.
    """

    def __init__(self, network: nn.Module, layers: Sequence[str], pooling: Pooling) -> None:
        super().__init__()
        self.network = network
        self.layers = list(layers)
        self.pooling: Pooling = pooling
        names = {name for name, _ in network.named_modules() if name}
        for layer in self.layers:
            if layer not in names:
                raise UserError(f"layers: {_unknown(layer, network, names)}")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat(list(self.pooled(x).values()), dim=1)

    def pooled(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Returns the features [B, D] of each layer from images x [B, 3, S, S]."""
        outputs = _run(self.network, self.layers, x, self._pool)
        for layer in self.layers:
            if layer not in outputs:
                raise UserError(f"layers: '{layer}' doesn't run in a forward pass; leave it out")
        return {layer: outputs[layer] for layer in self.layers}

    def _pool(self, layer: str, output: Any) -> torch.Tensor:
        if not isinstance(output, torch.Tensor):
            raise UserError(
                f"layers: '{layer}' returns a {type(output).__name__}, not a tensor; name a module "
                f"inside of it or around it"
            )
        pooled = _pool(self.network, layer, output, self.pooling)
        if pooled.shape[1] > MAX_WIDTH:
            raise UserError(
                f"pooling: '{layer}' has {pooled.shape[1]:,} features per image with pooling "
                f"{self.pooling}, and the limit is {MAX_WIDTH:,}; set pooling to avg or max, or "
                f"lower input_size"
            )
        return pooled


def layer_widths(network: LayerOutputs, input_size: int) -> tuple[Layer, ...]:
    """Returns the layers of a network with their widths, which it finds by running it once."""
    with torch.inference_mode():
        pooled = network.pooled(torch.zeros(1, 3, input_size, input_size))
    return tuple(Layer(name, features.shape[1]) for name, features in pooled.items())


def list_layers(network: nn.Module, x: torch.Tensor) -> dict[str, tuple[int, ...]]:
    """Returns the modules that can be `layers`, in the order in which they end their work.

    Each comes with the shape of its output for one image, without the batch.
    x: [B, 3, S, S], on the network's device.
    """
    names = [name for name, _ in network.named_modules() if name]
    with torch.inference_mode():
        shapes = _run(network, names, x, lambda _, output: getattr(output, "shape", ())[1:])
    return {name: tuple(shape) for name, shape in shapes.items() if len(shape) in (1, 2, 3)}


def _run(
    network: nn.Module,
    layers: Sequence[str],
    x: torch.Tensor,
    convert: Callable[[str, Any], Any],
) -> dict[str, Any]:
    """Runs the network on images x [B, 3, S, S].

    Returns what `convert` makes of each layer's name and output, in the order of execution;
    nothing for layers that don't run. It is called at once, because a later module may change the
    output in place.
    """
    outputs: dict[str, Any] = {}

    def hook_of(layer: str) -> Any:
        def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if layer not in outputs:
                outputs[layer] = convert(layer, output)

        return keep

    handles = [
        network.get_submodule(layer).register_forward_hook(hook_of(layer)) for layer in layers
    ]
    try:
        network(x)
    finally:
        for handle in handles:
            handle.remove()
    return outputs


def _pool(network: nn.Module, layer: str, output: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """Returns one vector per image, [B, D], from an output of two to four dimensions."""
    if output.ndim not in (2, 3, 4):
        raise UserError(
            f"layers: '{layer}' returns {list(output.shape[1:])} per image, which is neither a "
            f"vector nor tokens nor a feature map; name another module"
        )
    if pooling == "none" or output.ndim == 2:
        return output.flatten(1).clone()
    prefix = getattr(network, "num_prefix_tokens", 0)  # class and register tokens, in timm
    if pooling == "cls":
        if output.ndim != 3 or not prefix or getattr(network, "cls_token", None) is None:
            raise UserError(f"pooling: '{layer}' has no class token; set pooling to avg or max")
        return output[:, 0].clone()
    if output.ndim == 3:
        positions, patches = (1,), output[:, prefix:]
    else:
        channels_last = getattr(network, "output_fmt", "NCHW") == "NHWC"
        positions, patches = ((1, 2) if channels_last else (2, 3)), output
    return patches.mean(positions) if pooling == "avg" else patches.amax(positions)


def _unknown(layer: str, network: nn.Module, names: set[str]) -> str:
    near = get_close_matches(layer, sorted(names), n=NEAREST, cutoff=0.5)
    suggestion = f"the nearest are {', '.join(near)}; " if near else ""
    return (
        f"{type(network).__name__} has no module '{layer}'; {suggestion}"
        f"`headstart layers NAME` lists all of a backbone"
    )
