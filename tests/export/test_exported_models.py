"""An exported model computes what the pipeline computed."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import openvino
import pytest
import timm
import torch
import yaml
from scipy.special import softmax

from headstart.backbones.loading import load_backbone
from headstart.config import Backbone
from headstart.core.errors import UserError
from headstart.evaluation.run_results import protocol_probabilities
from headstart.export import prediction_graph
from headstart.export.prediction_graph import build_graph
from headstart.export.timm_folder import write_timm
from headstart.packaging.model_description import DESCRIPTION_FILE, load_description
from headstart.store.images import open_images
from headstart.store.predictions import load_predictions
from tests import cases
from tests.packaged import RUNS


@pytest.fixture(scope="module")
def pixels(packaged: Path) -> np.ndarray:
    """The images of val, [16, S, S, 3] uint8."""
    with open_images(packaged / "data/images.h5") as images:
        return images.pixels[images.rows("val")]


@pytest.mark.parametrize("run", RUNS)
def test_the_graph_of_each_kind_is_the_pipelines(
    packaged: Path, pixels: np.ndarray, run: str
) -> None:
    kind = "ensembles" if run == "team" else "predictions"
    protocols = protocol_probabilities(load_predictions(packaged / f"data/{kind}/{run}/val.h5"))
    expected = protocols.get("ten_crop", protocols["whole"])
    folder = packaged / "data/models" / run
    description = load_description(folder)
    with torch.inference_mode():
        logits, probabilities = build_graph(folder, description, False)(torch.from_numpy(pixels))
    # Networks were evaluated in bfloat16 where the hardware has it; LDA's weights are large here,
    # so that a feature that rounds to another float16 shows.
    rough = run in ("small", "tiny-finetune", "team") or run.endswith("lda")
    np.testing.assert_allclose(logits.softmax(1), expected, atol=0.02 if rough else 1e-4)
    scaled = softmax(logits.numpy().astype(np.float64) / description.temperature, axis=1)
    np.testing.assert_allclose(probabilities, scaled, atol=1e-5)


def export(packaged: Path, run: str, to: str, out: Path, *more: str) -> str:
    folder = packaged / "data/models" / run
    cases.run_command("export", str(folder), "--to", to, "--out", str(out), *more)
    return (out / "README.md").read_text(encoding="utf-8")


def test_onnx_and_its_example(
    packaged: Path, pixels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    card = export(packaged, "tiny-nearest_neighbors", "onnx", tmp_path / "out")
    assert "top-1 on val (n = 16)" in card
    content = json.loads((tmp_path / "out/export.json").read_text())
    assert content["parity"]["largest_difference"] < 1e-3
    assert content["parity"]["other_classes"] == 0
    folder = packaged / "data/models/tiny-nearest_neighbors"
    with torch.inference_mode():
        graph = build_graph(folder, load_description(folder), half=False)
        expected = [own.numpy() for own in graph(torch.from_numpy(pixels))]
    session = onnxruntime.InferenceSession(tmp_path / "out/model.onnx")
    read = openvino.Core().read_model(tmp_path / "out/model.onnx")
    compiled = openvino.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for count in (1, 3):
        for found in (session.run(None, {"pixels": pixels[:count]}), compiled(pixels[:count])):
            for name, position in (("logits", 0), ("probabilities", 1)):
                np.testing.assert_allclose(
                    np.asarray(found[position]), expected[position][:count], atol=1e-3
                )
                assert name in content["outputs"]

    blocked = "import sys; sys.modules.update(torch=None, headstart=None, timm=None)\n"
    script = (tmp_path / "out/example.py").read_text()
    assert len(script.splitlines()) <= 30
    alone = shutil.copytree(tmp_path / "out", tmp_path / "alone")
    (alone / "example.py").write_text(blocked + script)
    images = [str(packaged / "new" / f"{number:02d}.png") for number in range(4)]
    ran = subprocess.run(
        [sys.executable, alone / "example.py", *images], capture_output=True, text=True, check=True
    )
    rows = list(csv.reader(ran.stdout.splitlines(), "excel-tab"))
    ids = [label["id"] for label in content["classes"]]
    assert [row[1] for row in rows] == [ids[i] for i in expected[1][:4].argmax(1)]


def test_openvino_for_a_model_server_in_int8(
    packaged: Path, pixels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    more = ("--layout", "model-server", "--precision", "int8")
    export(packaged, "tiny-finetune", "openvino", tmp_path / "out", *more)
    [model] = json.loads((tmp_path / "out/config.json").read_text())["model_config_list"]
    assert model == {"config": {"name": "tiny-finetune", "base_path": "/models/tiny-finetune"}}
    path = tmp_path / "out/tiny-finetune/1/model.xml"
    compiled = openvino.compile_model(path, "CPU")
    assert compiled(pixels[:5])["probabilities"].shape == (5, 4)
    assert path.with_suffix(".bin").stat().st_size < 0.4 * (
        (packaged / "data/models/tiny-finetune/model.safetensors").stat().st_size
    )
    content = json.loads((tmp_path / "out/export.json").read_text())
    assert content["file"] == "tiny-finetune/1/model.xml"
    assert content["parity"]["exported"]["n"] == 16


def test_timm_opens_a_finetuned_model_and_the_zoo_takes_it(
    packaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    export(packaged, "tiny-finetune", "timm", tmp_path / "out")
    said = capsys.readouterr().out
    entry = yaml.safe_load(said[said.index("tiny_finetune:") :])["tiny_finetune"]
    loaded = load_backbone(Backbone.model_validate(entry))
    network: Any = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert network(x).shape == (2, 4)
        features = network.forward_head(network.forward_features(x), pre_logits=True)
        torch.testing.assert_close(loaded.network(x), features)
    content = json.loads((tmp_path / "out/export.json").read_text())
    assert content["parity"]["largest_difference"] < 1e-3
    assert network.pretrained_cfg["input_size"] == (3, 32, 32)


def test_timm_resizes_for_a_finetuned_model_as_its_backbone_does(
    packaged: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(packaged / "data/models/tiny-finetune", tmp_path / "model")
    description = json.loads((folder / DESCRIPTION_FILE).read_text())
    description["members"][0]["input"]["interpolation"] = "bicubic"
    (folder / DESCRIPTION_FILE).write_text(json.dumps(description))
    write_timm(tmp_path / "out", folder, load_description(folder))
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["pretrained_cfg"]["interpolation"] == "bicubic"


@pytest.mark.parametrize(
    ("run", "more", "said"),
    [
        ("team", ["--to", "timm"], "team averages 3 models, and one of timm's is a single network"),
        ("small", ["--to", "timm"], "small is no network of timm's; export it to onnx or openvino"),
        ("both-lda", ["--to", "timm"], "both-lda has several backbones"),
        ("tiny-mlp", ["--to", "timm"], "tiny-mlp has a head of mlp"),
        ("tiny-lda", ["--to", "timm", "--precision", "int8"], "--to timm writes weights in flo"),
    ],
)
def test_what_a_format_does_not_allow(
    packaged: Path, tmp_path: Path, run: str, more: list[str], said: str
) -> None:
    folder = packaged / "data/models" / run
    with pytest.raises(SystemExit, match=said):
        cases.run_command("export", str(folder), "--out", str(tmp_path / "out"), *more)
    assert not (tmp_path / "out/export.json").exists()


@pytest.mark.parametrize(
    ("run", "limit", "said"),
    [
        ("tiny-nearest_neighbors", "MAX_BANK_BYTES", "a k-NN head compares each image with 32 tr"),
        ("team", "MAX_BYTES", "team has .* GB of weights in 3 members"),
    ],
)
def test_what_is_too_large(
    packaged: Path, monkeypatch: pytest.MonkeyPatch, run: str, limit: str, said: str
) -> None:
    monkeypatch.setattr(prediction_graph, limit, 1000)
    folder = packaged / "data/models" / run
    with pytest.raises(UserError, match=said):
        build_graph(folder, load_description(folder), half=False)
