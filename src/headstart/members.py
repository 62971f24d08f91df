"""A backbone on its device: one of those whose features stand side by side, or the only one."""

from typing import Any, NamedTuple

from headstart import backbones, runtime
from headstart.params import Backbone, Extract
from headstart.runtime import Runtime


class Member(NamedTuple):
    """name: of its bar. provenance: what determines its features (backbones.LoadedBackbone)."""

    name: str
    runtime: Runtime
    provenance: dict[str, Any]


def start(name: str, backbone: Backbone, asked: Extract) -> Member:
    """The backbone, loaded and put on its device.

    Raises:
        UserError: as `backbones.load` and `runtime.start`.
    """
    loaded = backbones.load(backbone)
    started = runtime.start(loaded, asked.device, asked.batch_size, backbone.precision)
    return Member(name, started, loaded.provenance)
