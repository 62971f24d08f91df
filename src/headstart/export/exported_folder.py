"""Exports a model folder: the model's file, labels, card, JSON, an example, and the comparison."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import yaml

from headstart.core.atomic_files import atomic_path, write_text
from headstart.core.errors import UserError
from headstart.export.onnx_file import (
    INPUT,
    OUTPUTS,
    names_outside_networks,
    quantize_networks,
    require_onnx,
    torch_to_onnx,
)
from headstart.export.parity import (
    CALIBRATION_IMAGES,
    Exported,
    Parity,
    compare_with_ours,
    photograph_squares,
)
from headstart.export.prediction_graph import build_graph
from headstart.export.server_layouts import model_path, write_server_config
from headstart.inference.trained_model import (
    LoadedHead,
    LoadedMember,
    TrainedModel,
    load_model,
)
from headstart.packaging.model_card import CARD_FILE, CLASSIFY_COMMAND, model_card
from headstart.packaging.model_description import ModelDescription
from headstart.store.images import Images

EXPORT_FILE = "export.json"

EXAMPLES = Path(__file__).parent / "examples"

Target = Literal["onnx", "openvino", "timm"]


class ExportRequest(NamedTuple):
    """What to export, and to where.

    folder: to write. precision: `float32`, `float16` or `int8`, of the networks. layout: one of
    server_layouts.LAYOUTS.
    """

    to: Target
    folder: Path
    precision: str
    layout: str


def export_model(
    model_folder: Path, request: ExportRequest, images: Images | None, cache: Path | None
) -> str:
    """Writes the exported folder; returns what it holds and how it compares, for the user.

    images: those that the model was trained on, if they are at hand; images of tune calibrate int8.
    cache: the folder of all caches.

    Raises:
        UserError: the model can't be exported so, or a file can't be written.
    """
    check_request(request)
    model = load_model(model_folder)
    description = model.description
    if images is not None and images.examples.classes != description.labels:
        images = None  # of another dataset
    if request.to == "timm":
        from headstart.export.timm_folder import WEIGHTS_FILE, write_timm, zoo_entry

        exported = write_timm(request.folder, model_folder, description)
        # One of timm's models sees one view.
        description = description.model_copy(update={"views": description.views[:1]})
        model = TrainedModel(description, _one_view(model), model.batch_size)
        file = Path(WEIGHTS_FILE)
    else:
        file = model_path(request.layout, description.name, _file_name(request.to))
        exported = _write_graph(model, model_folder, request, file, images)
    parity = compare_with_ours(model, exported, images, cache)
    _write_rest(description, request, file, parity)
    lines = [
        f"{request.folder}: {description.name} as {request.to}, {request.precision}",
        f"{parity}",
    ]
    if request.to == "timm":
        entry = {description.name.replace("-", "_"): zoo_entry(request.folder)}
        lines.append("its entry of `zoo`, for features of another project:")
        lines.append(yaml.safe_dump(entry, sort_keys=False, default_flow_style=None).rstrip())
    return "\n".join(lines)


def check_request(request: ExportRequest) -> None:
    """Raises UserError if a format doesn't have this precision or layout, or a library is missing,
    before anything is computed."""
    if request.to == "timm":
        if request.precision != "float32" or request.layout != "plain":
            raise UserError(
                "--to timm writes weights in float32 and files side by side; leave --precision "
                "and --layout out, or export to onnx or openvino"
            )
        return
    if request.to == "onnx" and request.layout == "model-server" and request.precision == "int8":
        raise UserError("--layout model-server reads int8 as openvino; export --to openvino")
    require_onnx(request.precision)


def _file_name(to: Target) -> str:
    return {"onnx": "model.onnx", "openvino": "model.xml"}[to]


def _one_view(model: TrainedModel) -> Sequence[LoadedMember]:
    for member in model.members:
        if isinstance(member, LoadedHead):
            member.ten_crop = False
    return model.members


def _write_graph(
    model: TrainedModel,
    model_folder: Path,
    request: ExportRequest,
    file: Path,
    images: Images | None,
) -> Exported:
    """Writes the model's file and returns the model in it, as its runtime computes it."""
    description = model.description
    graph = build_graph(model_folder, description, half=request.precision == "float16")
    calibration = None
    if request.precision == "int8":
        squares = photograph_squares(model, CALIBRATION_IMAGES)
        if images is not None:
            squares = images.pixels[images.rows("tune")[:CALIBRATION_IMAGES]]
        calibration = list(squares)
    path = request.folder / file
    onnx_model = torch_to_onnx(graph, description.image.side)
    outside = names_outside_networks(onnx_model)
    if request.to == "onnx":
        import onnx
        import onnxruntime

        if calibration is not None:
            onnx_model = quantize_networks(onnx_model, outside, calibration, lambda x: {INPUT: x})
        with atomic_path(path) as unfinished:
            onnx.save(onnx_model, unfinished)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return lambda pixels: np.asarray(session.run([OUTPUTS[0]], {INPUT: pixels})[0])
    import openvino

    model_read = openvino.Core().read_model(onnx_model.SerializeToString())
    if calibration is not None:
        # As an OpenVINO graph, so that its weights are stored in int8.
        model_read = quantize_networks(model_read, outside, calibration, lambda x: x)
    path.parent.mkdir(parents=True, exist_ok=True)
    openvino.save_model(model_read, path, compress_to_fp16=False)
    # Otherwise OpenVINO computes in bfloat16 on machines that have it.
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.compile_model(path, "CPU", hint)
    return lambda pixels: compiled(pixels)[OUTPUTS[0]]


def _write_rest(
    description: ModelDescription, request: ExportRequest, file: Path, parity: Parity
) -> None:
    folder = request.folder
    write_server_config(request.layout, folder, description, request.to)
    write_text(folder / "labels.txt", "".join(f"{c.name}\n" for c in description.classes))
    content = {
        "name": description.name,
        "format": request.to,
        "precision": request.precision,
        "file": file.as_posix(),
        "input": {"name": INPUT, "shape": ["N", *[description.image.side] * 2, 3], "type": "uint8"},
        "outputs": {name: ["N", len(description.classes)] for name in OUTPUTS},
        "resize": {
            "side": description.image.side,
            "fit": description.image.fit,
            "rule": "RGB with the EXIF orientation applied; fit crop: the central square, of the "
            "image's shorter side, offsets rounded down; fit stretch: the whole image; then "
            "Pillow's Image.resize with BILINEAR (antialiased) to side x side",
        },
        "classes": [{"id": label.id, "name": label.name} for label in description.classes],
        "temperature": description.temperature,
        "conformal": description.conformal.model_dump(),
        "views": description.views,
        "parity": asdict(parity),
        "commit": description.commit,
        "versions": description.versions,
    }
    if request.to == "timm":
        # The weights' own transform resizes, and softmax and temperature are the caller's.
        for key in ("input", "outputs", "resize"):
            del content[key]
    write_text(folder / EXPORT_FILE, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    example = EXAMPLES / f"{request.to}_example.py"
    write_text(folder / "example.py", example.read_text(encoding="utf-8"))
    card = model_card(description).replace(CLASSIFY_COMMAND, "python example.py IMAGE ...")
    title = f"## Exported to {request.to}, {request.precision}"
    write_text(folder / CARD_FILE, f"{card}\n{title}\n\nCompared with the original: {parity}.\n")
