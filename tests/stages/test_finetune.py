"""finetune as a user meets it: images.h5 and a trained head in, a model and predictions out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart import config
from headstart.backbones.loading import load_backbone
from headstart.core.hdf5_files import create_hdf5
from headstart.heads.fitted_head import FittedHead, Standardization, save_head
from headstart.heads.head_models import Affine
from headstart.store.examples import write_examples
from headstart.store.predictions import load_predictions
from headstart.training import fine_tuning
from tests import cases

SPLITS = ["train"] * 16 + ["tune"] * 8 + ["val"] * 8
ZOO = {"architecture": "resnet10t", "weights": "none", "input_size": 32}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    with create_hdf5(tmp_path / "images.h5") as file:
        pixels = np.random.default_rng(0).integers(0, 256, (len(SPLITS), 24, 24, 3))
        file.create_dataset("pixels", data=pixels.astype(np.uint8))
        file.create_dataset("digest", data=np.zeros((len(SPLITS), 32), np.uint8))
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
    paths = ("--images", "images.h5", "--head", "head", "--model", "model")
    written = ("--predictions", "predictions", "--results", "results")
    arguments = (*paths, *written, "--backbone", "tiny")
    sections = {
        "zoo": {"tiny": ZOO, "other": ZOO},
        "extract": {"backbones": ["tiny", "other"]},
        "recipes": {"finetune": short},
    }
    cases.run_stage(monkeypatch, folder, "finetune", *arguments, **sections, finetune=changed)


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
        finetune(monkeypatch, folder, frozen_layers=1)
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
