"""The backbones that the library knows by a short name."""

from typing import Any

_NARROW = {"base_width": 32}

STANDARD_ZOO: dict[str, dict[str, Any]] = {
    "bundled": {
        "architecture": "resnet14t",
        "model_args": _NARROW,
        "weights": "bundled",
        "input_size": 128,
        "interpolation": "bilinear",
        "mean": (0.4802, 0.4481, 0.3976),
        "std": (0.2764, 0.2689, 0.2816),
    },
    "random": {
        "architecture": "resnet14t",
        "model_args": _NARROW,
        "weights": "none",
        "input_size": 64,
    },
    "pixels": {"architecture": "pixels", "weights": "none"},
    "inception_v3": {
        "architecture": "inception_v3.tf_in1k",
        "weights": "hub",
        "interpolation": "bilinear",
    },
    "resnet18": {"architecture": "resnet18.tv_in1k", "weights": "hub"},
    "resnet50": {"architecture": "resnet50.a1_in1k", "weights": "hub"},
}
"""By name, the content of a `Backbone`: the same as params.yaml's entries of these names. They are
not validated here, because that reads the source of timm, and most users of this module need none
of them."""
