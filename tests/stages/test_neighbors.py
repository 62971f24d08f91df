from pathlib import Path

import numpy as np
import pytest

from headstart.core.hdf5_files import create_hdf5, write_json
from headstart.store.examples import write_examples
from headstart.store.nearest_images import load_nearest_images
from tests import cases


def test_an_image_is_nearest_to_its_own_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    rng = np.random.default_rng(0)
    train = rng.normal(size=(40, 1, 16)).astype(np.float16)
    for split, values in (("train", train), ("val", 2 * train[10:20])):
        with create_hdf5(tmp_path / "features" / f"{split}.h5") as file:
            file.create_dataset("features", data=values)
            write_json(file, "views", ["whole"])
            write_json(file, "provenance", {})
            write_examples(file, cases.examples(len(values), split=split))
    paths = ("--features", "features", "--results", "results")
    cases.run_stage(monkeypatch, tmp_path, "neighbors", *paths)
    assert capsys.readouterr().out == "features: the 5 nearest of 40 train images for 10 of val\n"
    found = load_nearest_images(tmp_path / "results" / "neighbors" / "features-train.tsv")
    expected = cases.examples(40, split="train").ids[10:20]
    assert found.nearest[:, 0].tolist() == expected
    assert found.similarity[:, 0] == pytest.approx(1, abs=1e-3)
