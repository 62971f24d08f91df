"""From a torch module to an ONNX file, in float32, float16 or int8."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from headstart.core.atomic_files import atomic_path
from headstart.core.errors import UserError
from headstart.export.prediction_graph import PredictionGraph

INPUT, OUTPUTS = "pixels", ("logits", "probabilities")


def require_onnx() -> None:
    """Raises UserError if the libraries of the extra `export` are missing."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"exporting needs {error.name}; install it with `pip install headstart[export]` or "
            f"`uv sync --extra export`"
        ) from None


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
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(images)

        def get_next(self) -> dict[str, np.ndarray]:
            image = next(self.left, None)
            return {} if image is None else {INPUT: image[None]}

    kept = [node.name for node in model.graph.node if not _in_network(node)]
    with TemporaryDirectory(prefix="headstart-") as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        quantize_static(
            source,
            target,
            Images(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            nodes_to_exclude=kept,
        )
        return onnx.load(target)


def _in_network(node: "onnx.NodeProto") -> bool:  # noqa: F821
    """Whether a node belongs to a network, by the path of modules that torch writes beside it."""
    namespaces = [own.value for own in node.metadata_props if own.key == "namespace"]
    return any("networks.0" in namespace for namespace in namespaces)
