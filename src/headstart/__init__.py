"""Frozen pretrained networks turn images into cached features; all later questions are cheap.

The names below are the library for notebooks and scripts. They are imported when they are first
used, because torch and timm take seconds.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headstart.api.classifier import Classifier, Evaluation
    from headstart.api.extractor import Extractor
    from headstart.api.head_estimators import (
        LDAHead,
        LinearHead,
        LogisticRegressionHead,
        MLPHead,
        NearestNeighborsHead,
        RidgeHead,
        SweepHead,
    )
    from headstart.api.model_folders import ModelFolder, load
    from headstart.core.errors import UserError
    from headstart.store.features import Features

    __version__: str

# OpenVINO and NNCF report their use to their makers where this package can be imported; without it
# they are silent. Nothing of a user's data leaves the machine.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

__all__ = [
    "Classifier",
    "Evaluation",
    "Extractor",
    "Features",
    "LDAHead",
    "LinearHead",
    "LogisticRegressionHead",
    "MLPHead",
    "ModelFolder",
    "NearestNeighborsHead",
    "RidgeHead",
    "SweepHead",
    "UserError",
    "__version__",
    "load",
]

_MODULES = {
    "Extractor": "headstart.api.extractor",
    **dict.fromkeys(("Classifier", "Evaluation"), "headstart.api.classifier"),
    **dict.fromkeys(("ModelFolder", "load"), "headstart.api.model_folders"),
    "UserError": "headstart.core.errors",
    "Features": "headstart.store.features",
    **{name: "headstart.api.head_estimators" for name in __all__ if name.endswith("Head")},
}
"""Where each public name is defined."""


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("headstart")
    if name not in _MODULES:
        raise AttributeError(f"module 'headstart' has no attribute '{name}'")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
