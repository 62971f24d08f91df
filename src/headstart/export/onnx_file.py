"""From a torch module to an ONNX file, in float32, float16 or int8."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from headstart.core.atomic_files import atomic_path
from headstart.core.errors import UserError
from headstart.export.prediction_graph import PredictionGraph

INPUT, OUTPUTS = "pixels", ("logits", "probabilities")


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


def write_onnx(
    path: Path, graph: PredictionGraph, side: int, calibration: Sequence[np.ndarray] | None
) -> None:
    """Writes the graph, for any batch size, to `path`.

    side: S of the pixels, in px. calibration: images [S, S, 3] uint8 to quantize the networks to
    int8 with; None leaves them as they are.

    Raises:
        UserError: torch can't export a network.
    """
    import onnx

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
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"torch can't export this model to ONNX ({reason})") from error
    assert program is not None
    model = program.model_proto
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    if calibration is not None:
        model = _quantize(model, calibration)
    with atomic_path(path) as unfinished:
        onnx.save(model, unfinished)


def _quantize(model: "onnx.ModelProto", images: Sequence[np.ndarray]) -> "onnx.ModelProto":  # noqa: F821
    """Returns the model with its networks in int8; resizing and heads stay as they are."""
    import nncf  # an optional dependency, and importing it takes seconds

    others = [node.name for node in model.graph.node if not _in_network(node)]
    return nncf.quantize(
        model,
        nncf.Dataset(images, lambda image: {INPUT: image[None]}),
        subset_size=len(images),
        ignored_scope=nncf.IgnoredScope(names=others, validate=False),
    )


def _in_network(node: "onnx.NodeProto") -> bool:  # noqa: F821
    """Whether a node belongs to a network, by the path of modules that torch writes beside it."""
    namespaces = [own.value for own in node.metadata_props if own.key == "namespace"]
    return any("networks.0" in namespace for namespace in namespaces)
