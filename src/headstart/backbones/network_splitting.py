"""Splits a network into a trunk that stays as it is and the upper part that is trained.

torch.fx records the steps of the network's own forward function. The modules that it calls are
single steps, whatever they do inside; only modules around a named one are recorded step by step
too. The split is exact: it is the last place before everything trainable at which a single tensor
passes from the steps before to the steps after it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from timm.layers import get_notrace_functions  # pyright: ignore[reportPrivateImportUsage]
from timm.layers.norm_act import freeze_batch_norm_2d
from torch import fx, nn
from torch.fx.node import map_arg
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from headstart.backbones.loading import build_on_meta
from headstart.config import Backbone
from headstart.core.errors import UserError, did_you_mean, first_line


@dataclass(frozen=True)
class SplitNetwork:
    """A network in two parts, whose modules are those of the network itself.

    trunk: normalized images [B, 3, S, S] to activations [B, *shape]. upper: from these to the
    network's output; the names of its weights are those in the network, and only trainable weights
    require gradients. upper_share: of the floating-point operations of a forward pass.
    """

    trunk: fx.GraphModule
    upper: fx.GraphModule
    shape: tuple[int, ...]
    upper_share: float


def split_network(
    network: nn.Module,
    input_size: int,
    trainable_from: str | None = None,
    trainable_only: Sequence[str] = (),
) -> SplitNetwork:
    """Splits a network below its trainable modules, in evaluation mode.

    network: with its classifier, as `named_modules` names its modules. input_size: side of its
    images in px. trainable_from: the module from which on, in the order of computation, everything
    is trainable. trainable_only: the only trainable modules, if it isn't given.

    Raises:
        UserError: there is no such module, it has no weights to train or takes no part in a forward
            pass, nothing is computed before it, or torch.fx can't record the network.
    """
    key = "trainable_from" if trainable_from else "trainable_only"
    names = [trainable_from] if trainable_from else list(trainable_only)
    known = {name for name, _ in network.named_modules() if name}
    for name in names:
        if name not in known:
            raise UserError(
                f"finetune.{key}: {type(network).__name__} has no module '{name}'; "
                f"{did_you_mean(name, known)} `headstart layers` with the backbone's name lists "
                f"them"
            )
    network.eval()
    steps = _record(network, names, key)
    uses = [[name for name in names if _is_within(step, name)] for step in steps]
    for name in names:
        if not any(name in used for used in uses):
            raise UserError(
                f"finetune.{key}: '{name}' takes no part in a forward pass; name another module"
            )
    first = next(i for i, used in enumerate(uses) if used)
    trained = [s for i, s in enumerate(steps) if uses[i] or (trainable_from and i > first)]
    trainable = {id(p) for step in trained for p in _parameters(network, step)}
    if not trainable:
        raise UserError(f"finetune.{key}: {', '.join(names)} has no weights to train")
    # A module may run twice; then it must not be in the trunk.
    first = next(
        i
        for i, step in enumerate(steps)
        if any(id(p) in trainable for p in _parameters(network, step))
    )
    split = _split_before(network, steps, first, input_size)
    if split is None:
        raise UserError(
            f"finetune.{key}: no module computes anything that could be kept before "
            f"'{names[0]}'; name a later module, or none to train the whole network"
        )
    for parameter in split.upper.parameters():
        parameter.requires_grad_(id(parameter) in trainable)
    return split


def split_untrained(
    backbone: Backbone, trainable_from: str | None, trainable_only: Sequence[str]
) -> SplitNetwork:
    """Splits a backbone with a classifier on torch's meta device, without weights, in a second.

    Raises:
        UserError: as `split_network`; or the architecture doesn't take `model_args`.
    """
    network, input_size = build_on_meta(backbone)
    with torch.device("meta"):
        network.reset_classifier(2)  # pyright: ignore[reportCallIssue]
        network = freeze_batch_norm_2d(network)
    return split_network(network, input_size, trainable_from, trainable_only)


class _Recorder(fx.Tracer):
    """Records what `opened` modules do, and takes all others as single steps."""

    def __init__(self, opened: set[str]) -> None:
        super().__init__(autowrap_functions=tuple(get_notrace_functions()))
        self.opened = opened

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name not in self.opened


def _record(network: nn.Module, names: list[str], key: str) -> list[fx.Node]:
    """Returns the steps of a forward pass in their order."""
    opened = {name[:i] for name in names for i, letter in enumerate(name) if letter == "."}
    _, *options = signature(network.forward).parameters.values()
    defaults = {option.name: option.default for option in options}
    try:
        graph = _Recorder(opened).trace(network, defaults)
    except Exception as error:  # any error of the network's own code
        raise UserError(
            f"finetune.{key}: {type(network).__name__} can't be split at {', '.join(names)} "
            f"({first_line(error)}); name a module around it, or none to train the whole network"
        ) from error
    if any(node.target is F.dropout for node in graph.nodes):
        raise UserError(
            f"zoo: the drop_rate of {type(network).__name__} can't be set in model_args when only "
            f"a part of the network is trained; remove it"
        )
    return list(graph.nodes)


def _is_within(step: fx.Node, name: str) -> bool:
    """Returns whether a step calls the module `name`, one inside of it, or reads its weights."""
    return step.op in ("call_module", "get_attr") and f"{step.target}.".startswith(f"{name}.")


def _parameters(network: nn.Module, step: fx.Node) -> list[nn.Parameter]:
    """Returns the parameters that a step uses."""
    if step.op == "call_module":
        return list(network.get_submodule(str(step.target)).parameters())
    value: Any = network
    for part in str(step.target).split(".") if step.op == "get_attr" else ():
        value = getattr(value, part)
    return [value] if isinstance(value, nn.Parameter) else []


def _split_before(
    network: nn.Module, steps: list[fx.Node], first: int, input_size: int
) -> SplitNetwork | None:
    """Splits at the last place up to step number `first` at which one tensor passes.

    Returns None if there is none but the images themselves.
    """
    number = {step: i for i, step in enumerate(steps)}
    last_use = [max((number[user] for user in step.users), default=-1) for step in steps]
    weights = [step for step in steps if step.op == "get_attr"]
    like = next(network.parameters())
    images = torch.zeros(2, 3, input_size, input_size, device=like.device, dtype=like.dtype)
    for cut in range(first, 1, -1):
        passing = [s for s in steps[:cut] if last_use[number[s]] >= cut and s not in weights]
        if len(passing) != 1 or passing[0] is steps[0]:
            continue
        trunk = _part(network, steps[0], steps[1:cut], passing[0])
        activations, trunk_flops = _count_flops(trunk, images)
        if not isinstance(activations, torch.Tensor) or len(activations) != len(images):
            continue
        upper = _part(network, passing[0], [*weights, *steps[cut:-1]], steps[-1].args[0])
        _, upper_flops = _count_flops(upper, activations)
        # timm's parameter groups count the network's layers by this.
        upper.group_matcher = network.group_matcher  # pyright: ignore[reportAttributeAccessIssue]
        share = upper_flops / (trunk_flops + upper_flops)
        return SplitNetwork(trunk, upper, tuple(activations.shape[1:]), share)
    return None


def _part(
    network: nn.Module, start: fx.Node, steps: Sequence[fx.Node], result: Any
) -> fx.GraphModule:
    """Returns those of `steps` that lead from the value of `start` to `result` as a module."""
    needed = {start}
    map_arg(result, needed.add)
    for step in reversed(steps):
        if step in needed:
            needed.update(step.all_input_nodes)
    graph = fx.Graph()
    copies = {start: graph.placeholder("x")}
    for step in steps:
        if step in needed and step is not start:
            copies[step] = graph.node_copy(step, copies.__getitem__)
    graph.output(map_arg(result, copies.__getitem__))
    return fx.GraphModule(network, graph)


@torch.no_grad()
def _count_flops(part: nn.Module, x: torch.Tensor) -> tuple[Any, int]:
    """Returns a part's output and its number of floating-point operations."""
    with FlopCounterMode(display=False) as counter:
        output = part(x)
    return output, counter.get_total_flops()
