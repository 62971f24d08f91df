"""From a torch module to an ONNX graph, and networks in int8."""

import logging
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from headstart.core.errors import UserError, first_line
from headstart.export.prediction_graph import PredictionGraph

if TYPE_CHECKING:
    import onnx

INPUT, OUTPUTS = "pixels", ("logits", "probabilities")

Model = TypeVar("Model")


def require_onnx(precision: str) -> None:
    """Raises UserError if libraries of the extra `export` are missing; int8 needs `int8` too."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"exporting needs {error.name}; install it with `pip install headstart[export]` or "
            f"`uv sync --extra export`"
        ) from None
    if precision == "int8" and find_spec("nncf") is None:
        raise UserError("--precision int8 needs NNCF; install it with `uv sync --extra int8`")


def torch_to_onnx(graph: PredictionGraph, side: int) -> "onnx.ModelProto":
    """Returns the graph for any batch size.

    side: S of the pixels, in px.

    Raises:
        UserError: torch can't export a network.
    """
    example = torch.zeros((2, side, side, 3), dtype=torch.uint8)
    try:
        program = torch.onnx.export(
            graph,
            (example,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            verbose=False,
        )
    except Exception as error:  # any error of a network's own code
        raise UserError(f"torch can't export this model to ONNX ({first_line(error)})") from error
    assert program is not None
    model = program.model_proto
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model


def names_outside_networks(model: "onnx.ModelProto") -> set[str]:
    """Returns the names of the nodes that resize, normalize, classify or average, and of their
    outputs: by the path of modules that torch writes beside each node."""
    names = set()
    for node in model.graph.node:
        namespaces = [own.value for own in node.metadata_props if own.key == "namespace"]
        if not any("networks.0" in namespace for namespace in namespaces):
            names |= {node.name, *node.output}
    return names


def quantize_networks(
    model: Model,
    outside: set[str],
    images: Sequence[np.ndarray],
    feed: Callable[[np.ndarray], Any],
) -> Model:
    """Returns a model of ONNX or OpenVINO whose networks compute in int8.

    outside: as `names_outside_networks`; what these name is left as it is. images: [S, S, 3] uint8
    each, to calibrate with. feed: from a batch [1, S, S, 3] to what the model's runtime takes.
    """
    import nncf  # an optional dependency, and importing it takes seconds

    nncf.set_log_level(logging.WARNING)
    return nncf.quantize(
        model,
        nncf.Dataset(images, lambda image: feed(image[None])),
        subset_size=len(images),
        ignored_scope=nncf.IgnoredScope(names=sorted(outside), validate=False),
    )
