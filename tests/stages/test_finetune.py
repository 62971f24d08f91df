"""finetune as a user meets it: images.h5 and a trained head in, a model and predictions out."""

import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from textwrap import dedent
from typing import Any

import numpy as np
import pytest
import torch

from headstart import config
from headstart.backbones.loading import load_backbone
from headstart.core.hdf5_files import create_hdf5
from headstart.heads.fitted_head import FittedHead, Standardization, save_head
from headstart.heads.head_models import Affine
from headstart.inference.network_runtime import NetworkRuntime
from headstart.store.examples import write_examples
from headstart.store.images import open_images
from headstart.store.predictions import load_predictions
from headstart.training import fine_tuning
from headstart.training.saved_models import load_model
from headstart.training.untrained_networks import build_untrained
from tests import cases

SPLITS = ["train"] * 16 + ["tune"] * 8 + ["val"] * 8
ZOO = {"architecture": "resnet10t", "weights": "none", "input_size": 32}


ARGUMENTS = (
    *("--images", "images.h5", "--head", "head", "--model", "model"),
    *("--predictions", "predictions", "--results", "results", "--backbone", "tiny"),
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    with create_hdf5(tmp_path / "images.h5") as file:
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (len(SPLITS), 24, 24, 3)).astype(np.uint8)
        digests = [np.frombuffer(sha256(image.tobytes()).digest(), np.uint8) for image in pixels]
        file.create_dataset("pixels", data=pixels)
        file.create_dataset("digest", data=np.stack(digests))
        file.create_dataset("split", data=np.array(SPLITS, "S5"))
        file.create_dataset("box", data=np.full((len(SPLITS), 4), np.nan, np.float32))
        write_examples(file, cases.examples(len(SPLITS)))
    save_biased_head(tmp_path, bias=0.0)
    return tmp_path


def save_biased_head(folder: Path, bias: float) -> None:
    trained = FittedHead(
        Affine(np.zeros((4, 512), np.float32), np.full(4, bias, np.float32)),
        Standardization(np.zeros(512, np.float32), np.ones(512, np.float32)),
        cases.examples(4).classes,
        # extract says more of the features than the backbone does.
        load_backbone(config.Backbone.model_validate(ZOO)).provenance
        | {"extraction": 1, "precision": "float32"},
        passes=24,
    )
    save_head(folder / "head" / "head.safetensors", trained)


def finetune(monkeypatch: pytest.MonkeyPatch, folder: Path, **changed: Any) -> None:
    """The stage, for two epochs, with keys of params.yaml's `finetune` changed."""
    recipe = (
        config.load_params(cases.ROOT / "params.yaml").recipes["finetune"].model_dump(mode="json")
    )
    short = recipe | {"epochs": 2, "batch_size": 8}
    sections = {
        "zoo": {"tiny": ZOO, "other": ZOO},
        "extract": {"backbones": ["tiny", "other"]},
        "recipes": {"finetune": short},
    }
    cases.run_stage(monkeypatch, folder, "finetune", *ARGUMENTS, **sections, finetune=changed)


def test_writes_model_curve_and_predictions(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    finetune(monkeypatch, folder)
    assert capsys.readouterr().out.startswith("tiny: ")
    assert len((folder / "results/training/tiny-finetune.tsv").read_text().splitlines()) == 3
    assert load_predictions(folder / "predictions" / "val.h5").logits.shape == (8, 1, 4)
    assert not (folder / "predictions" / "test.h5").exists()
    # The head's, and of each epoch 16 images three times and 8 once.
    assert load_predictions(folder / "predictions" / "val.h5").passes == 24 + 2 * (3 * 16 + 8)


class Trained(BaseException):
    """What no handler of ours catches."""


def test_what_decides_the_result_and_nothing_else_trains_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    def stop(*_: object) -> None:
        raise Trained

    finetune(monkeypatch, folder)
    monkeypatch.setattr("headstart.training.training_loop.train_step", stop)
    finetune(monkeypatch, folder, backbones=["tiny", "other"], device="cpu")
    with pytest.raises(Trained):
        finetune(monkeypatch, folder, crop=0.9)
    code = Path(fine_tuning.__file__)
    with monkeypatch.context() as patched:
        edited = folder / "finetuning.py"
        edited.write_text(code.read_text() + "# edited")
        patched.setattr(fine_tuning, "__file__", str(edited))
        with pytest.raises(Trained):
            finetune(monkeypatch, folder)
    save_biased_head(folder, bias=1.0)
    with pytest.raises(Trained):
        finetune(monkeypatch, folder)


def files(folder: Path) -> dict[str, bytes]:
    """What the stage wrote, by path."""
    written = [p for out in ("model", "predictions") for p in (folder / out).rglob("*.*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in written}


def test_of_a_network_only_the_upper_part_is_trained(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finetune(monkeypatch, folder, trainable_from="layer4", augmented_views=2)
    # 16 training images in 3 views, and 8 of tune and of val each.
    assert "64 rows, 64 computed" in capsys.readouterr().out
    saved = load_model(folder / "model" / "model.safetensors")
    before = load_backbone(config.Backbone.model_validate(ZOO)).network.state_dict()
    changed = {
        name
        for name, value in before.items()
        if name in saved.weights and not torch.equal(value, saved.weights[name])
    }
    assert changed == {
        *("layer4.0.conv1.weight", "layer4.0.conv2.weight", "layer4.0.downsample.1.weight"),
    }
    # Trunk and upper part gave the predictions; the saved network gives the same.
    network = build_untrained(saved.identity, len(saved.classes))
    network.load_state_dict(saved.weights)
    predictions = load_predictions(folder / "predictions" / "tune.h5")
    with open_images(folder / "images.h5") as images:
        pixels = images.pixels[16:24]
    runtime = NetworkRuntime(network.eval(), saved.input_spec, pixels.shape[1], "cpu", 8)
    logits = runtime.submit(pixels)()
    np.testing.assert_allclose(logits, predictions.logits[:, 0], rtol=0.02, atol=0.02)
    # The model's file can be the weights of a backbone.
    path = str(folder / "model" / "model.safetensors")
    learned = config.Backbone.model_validate(ZOO | {"weights": path})
    weights = load_backbone(learned).network.state_dict()
    assert torch.equal(weights["layer4.0.conv1.weight"], saved.weights["layer4.0.conv1.weight"])
    # In passes through the whole network, this costs less than training all of it.
    assert 24 + 56 // 2 < predictions.passes < 24 + 2 * (3 * 16 + 8)

    finetune(monkeypatch, folder, trainable_only=["layer4.0.conv2", "fc"], augmented_views=2)
    assert "64 rows, 0 computed" in capsys.readouterr().out
    finetune(monkeypatch, folder, trainable_from="layer4", augmented_views=3)
    assert "80 rows, 16 computed" in capsys.readouterr().out


KILLED = """
    import os, runpy, signal
    from headstart.training.train_state import TrainState

    save = TrainState.save
    def save_and_die(state, folder):
        save(state, folder)
        os.kill(os.getpid(), signal.SIGKILL)

    TrainState.save = save_and_die
    runpy.run_module("stages.finetune", run_name="__main__")
"""


def test_killed_after_an_epoch_it_resumes_to_the_same_bytes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = {"trainable_from": "layer4", "augmented_views": 2}
    finetune(monkeypatch, folder, **changed)
    uninterrupted = files(folder)
    for out in ("model", "predictions", "cache"):
        shutil.rmtree(folder / out)

    command = [sys.executable, "-c", dedent(KILLED), *ARGUMENTS]
    environment = os.environ | {"PYTHONPATH": f"{cases.ROOT / 'src'}:{cases.ROOT}"}
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == -9, ended.stderr
    assert not (folder / "model").exists()
    capsys.readouterr()
    finetune(monkeypatch, folder, **changed)
    assert "64 rows, 0 computed" in capsys.readouterr().out
    assert files(folder) == uninterrupted


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"trainable_from": "layr4"}, "trainable_from: ResNet has no module 'layr4'; did you mean"),
        ({"trainable_only": ["layer4", "fd"]}, "trainable_only: ResNet has no module 'fd'; did"),
        (
            {"trainable_from": "layer4", "augmented_views": 2, "trunk_limit": "50kB"},
            r"trunk_limit: the activations before the trained part of the network would take "
            r"0\.000131 GB \(64 views of 256 x 2 x 2 values in float16\), and the limit is 5e-05",
        ),
    ],
)
def test_what_is_wrong_is_said_before_any_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], message: str
) -> None:
    def stop(*_: object) -> None:
        raise Trained

    monkeypatch.setattr("headstart.extraction.trunk_activations.fill_cache", stop)
    monkeypatch.setattr("headstart.extraction.trunk_activations.start_runtime", stop)
    with pytest.raises(SystemExit, match=message):
        finetune(monkeypatch, folder, **changed)
    # And before the features are extracted that the head is trained on.
    sections = {
        "zoo": {"tiny": ZOO},
        "extract": {"backbones": ["tiny"]},
        "finetune": {"backbones": ["tiny"], **changed},
    }
    with pytest.raises(SystemExit, match=f"tiny: finetune.{message}"):
        cases.run_stage(
            monkeypatch,
            folder,
            "extract",
            *("--images", "images.h5", "--backbone", "tiny"),
            *("--features", "features", "--results", "results"),
            **sections,
        )
