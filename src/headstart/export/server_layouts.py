"""The folders and configurations that model servers read."""

import json
from pathlib import Path

from headstart.core.atomic_files import write_text
from headstart.packaging.model_description import ModelDescription

LAYOUTS = ("plain", "model-server", "triton")
"""Files side by side; OpenVINO Model Server's; NVIDIA Triton's."""

MAX_BATCH_SIZE = 64


def model_path(layout: str, name: str, file: str) -> Path:
    """Returns where a layout keeps the model's file, relative to the exported folder.

    Both servers want `<name>/<version>/model.*`.
    """
    return Path(file) if layout == "plain" else Path(name) / "1" / file


def write_server_config(layout: str, folder: Path, description: ModelDescription, to: str) -> None:
    """Writes the configuration that the server of a layout needs.

    to: `onnx` or `openvino`. Raises what `atomic_path` raises.
    """
    name = description.name
    if layout == "model-server":
        # docker run -v <folder>:/models openvino/model_server --config_path /models/config.json
        content = {
            "model_config_list": [{"config": {"name": name, "base_path": f"/models/{name}"}}]
        }
        write_text(folder / "config.json", json.dumps(content, indent=2) + "\n")
    elif layout == "triton":
        # docker run -v <folder>:/models nvcr.io/nvidia/tritonserver:… tritonserver
        # --model-repository /models
        write_text(folder / name / "config.pbtxt", triton_config(description, to))
        labels = "".join(f"{label.name}\n" for label in description.classes)
        write_text(folder / name / "labels.txt", labels)


def triton_config(description: ModelDescription, to: str) -> str:
    """Returns Triton's model configuration, for requests of any number of images."""
    side, classes = description.image.side, len(description.classes)
    backend = {"onnx": "onnxruntime", "openvino": "openvino"}[to]
    file = {"onnx": "model.onnx", "openvino": "model.xml"}[to]
    return f"""name: "{description.name}"
backend: "{backend}"
default_model_filename: "{file}"
max_batch_size: {MAX_BATCH_SIZE}
input [ {{ name: "pixels", data_type: TYPE_UINT8, dims: [ {side}, {side}, 3 ] }} ]
output [
  {{ name: "logits", data_type: TYPE_FP32, dims: [ {classes} ] }},
  {{
    name: "probabilities", data_type: TYPE_FP32, dims: [ {classes} ]
    label_filename: "labels.txt"
  }}
]
dynamic_batching {{ }}
"""
