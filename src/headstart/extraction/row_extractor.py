"""A backbone on its device: one of those whose features stand side by side, or the only one."""

from collections.abc import Mapping
from math import inf
from typing import Any, NamedTuple

from headstart.backbones.loading import check_backbone, load_backbone
from headstart.config import Backbone, Extract
from headstart.core.devices import resolve_device
from headstart.core.errors import UserError
from headstart.core.memory_limits import machine_memory, require_memory
from headstart.runtime.runtimes import Runtime, check_runtime, start_runtime


class RowExtractor(NamedTuple):
    """name: of its bar. provenance: what determines its features (backbones.LoadedBackbone)."""

    name: str
    runtime: Runtime
    provenance: dict[str, Any]


BYTES = {"float32": 4, "bfloat16": 2, "int8": 1}
"""By precision, of a number between two layers."""


def check(zoo: Mapping[str, Backbone], asked: Extract) -> None:
    """Finds out in seconds, before the first of these backbones' hours of work, what would stop the
    last one.

    Raises:
        UserError: a weights file doesn't fit, a network takes no images of its size, a batch
            doesn't fit the memory, or there is no such device. A line each.
    """
    # A GPU's memory is no limit: where it runs out, a batch is cut.
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


def load_row_extractor(name: str, backbone: Backbone, asked: Extract) -> RowExtractor:
    """The backbone, loaded and put on its device.

    Raises:
        UserError: as `backbones.load` and `runtime.start`.
    """
    loaded = load_backbone(backbone)
    started = start_runtime(loaded, asked.device, asked.batch_size, backbone.precision)
    return RowExtractor(name, started, loaded.provenance)
