"""finetune as a user meets it: images.h5 and a trained head in, a model and predictions out."""

from pathlib import Path

import numpy as np
import pytest

from headstart import backbones, h5, params, predictions
from headstart.heads import head
from headstart.heads.models import Affine
from tests import cases

SPLITS = ["train"] * 16 + ["tune"] * 8 + ["val"] * 8
ZOO = {"architecture": "resnet10t", "weights": "none", "input_size": 32}


def test_writes_model_curve_and_predictions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    of = cases.examples(len(SPLITS))
    with h5.create(tmp_path / "images.h5") as file:
        pixels = np.random.default_rng(0).integers(0, 256, (len(SPLITS), 24, 24, 3))
        file.create_dataset("pixels", data=pixels.astype(np.uint8))
        file.create_dataset("digest", data=np.zeros((len(SPLITS), 32), np.uint8))
        file.create_dataset("split", data=np.array(SPLITS, "S5"))
        file.create_dataset("box", data=np.full((len(SPLITS), 4), np.nan, np.float32))
        h5.write_examples(file, of)
    trained = head.Head(
        Affine(np.zeros((4, 512), np.float32), np.zeros(4, np.float32)),
        head.Standardization(np.zeros(512, np.float32), np.ones(512, np.float32)),
        of.classes,
        backbones.load(params.Backbone.model_validate(ZOO)).provenance,
        temperature=1.0,
    )
    head.save(tmp_path / "head" / "head.safetensors", trained)

    recipe = params.load(cases.ROOT / "params.yaml").recipes["finetune"].model_dump(mode="json")
    short = recipe | {"epochs": 2, "batch_size": 8}
    paths = ("--images", "images.h5", "--head", "head", "--model", "model")
    arguments = (*paths, "--predictions", "predictions", "--backbone", "tiny")
    changes = {"zoo": {"tiny": ZOO}, "recipes": {"finetune": short}}
    cases.run_stage(monkeypatch, tmp_path, "finetune", *arguments, **changes)
    assert capsys.readouterr().out.startswith("tiny: ")
    assert len((tmp_path / "model" / "curve.tsv").read_text().splitlines()) == 3
    assert predictions.load(tmp_path / "predictions" / "val.h5").logits.shape == (8, 1, 4)
    assert not (tmp_path / "predictions" / "test.h5").exists()
