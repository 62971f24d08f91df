"""A backbone that is loaded on its device, ready to extract rows."""

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Any, NamedTuple

import numpy as np

from headstart.backbones.first_layer_filters import NO_FILTERS, first_layer_filters
from headstart.backbones.layers import Layer
from headstart.backbones.loading import check_backbone, load_backbone
from headstart.config import Backbone, Extract
from headstart.core.devices import resolve_device
from headstart.core.errors import UserError
from headstart.core.memory_limits import machine_memory, require_memory
from headstart.runtime.runtimes import Runtime, check_runtime, start_runtime


class RowExtractor(NamedTuple):
    """A running backbone.

    name: of its progress bar. provenance, layers: as `backbones.loading.LoadedBackbone` describes
    them. alongside: how many of the last layers are computed for other backbones' caches and are
    not among this one's features. filters: as `first_layer_filters` returns them.
    """

    name: str
    runtime: Runtime
    provenance: dict[str, Any]
    layers: tuple[Layer, ...] = ()
    alongside: int = 0
    filters: np.ndarray = NO_FILTERS


BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}
"""Bytes of a number between two layers, by precision."""


def check(zoo: Mapping[str, Backbone], asked: Extract) -> None:
    """Checks within seconds, before any of these backbones starts hours of work, that all can run.

    Raises:
        UserError: a weights file doesn't fit, a network doesn't take images of its size, a batch
            doesn't fit the memory, or there is no such device; one line per problem.
    """
    # A GPU's memory is not checked: when it runs out, batches are split.
    has = machine_memory() if resolve_device(asked.device).type == "cpu" else inf
    problems = []
    for name, backbone in zoo.items():
        try:
            widest = check_backbone(backbone)
            check_runtime(asked.device, backbone.precision)
            need = asked.batch_size * widest * BYTES[backbone.precision]
            require_memory(f"extract.batch_size: {asked.batch_size:,} images", need, has)
        except UserError as error:
            problems.append(f"zoo.{name}: {error}")
    if problems:
        raise UserError("\n".join(problems))


def load_row_extractor(
    name: str, backbone: Backbone, asked: Extract, alongside: Sequence[str] = ()
) -> RowExtractor:
    """Loads a backbone and starts it on its device.

    alongside: layers of the network to compute besides the backbone's own.

    Raises:
        UserError: as `load_backbone` and `start_runtime`.
    """
    if alongside:
        layers = [*(backbone.layers or []), *alongside]
        backbone = _with_layers(backbone, layers)
    loaded = load_backbone(backbone)
    # Before the network is started, because a runtime may take it apart.
    filters = first_layer_filters(loaded.network)
    started = start_runtime(loaded, asked.device, asked.batch_size, backbone.precision)
    return RowExtractor(name, started, loaded.provenance, loaded.layers, len(alongside), filters)


def layers_alongside(backbone: Backbone, others: Iterable[Backbone]) -> list[str]:
    """Returns the layers that others need of the same network, so that one pass computes them too.

    None in int8, because quantization depends on the layers.
    """
    own = backbone.layers
    if not own or backbone.precision == "int8":
        return []
    same = [other for other in others if other.layers and _with_layers(other, own) == backbone]
    needed = dict.fromkeys(layer for other in same for layer in other.layers or [])
    return [layer for layer in needed if layer not in own]


def _with_layers(backbone: Backbone, layers: list[str]) -> Backbone:
    return backbone.model_copy(update={"layers": layers})
