from pathlib import Path

import numpy as np
import pytest

from headstart.core.hdf5_files import create_hdf5, write_json
from headstart.store.embeddings import load_embedding
from headstart.store.examples import write_examples
from tests import cases

PATHS = ("--features", "features", "--results", "results")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    of = cases.examples(48)
    values = np.random.default_rng(0).normal(size=(48, 1, 32)).astype(np.float16)
    with create_hdf5(tmp_path / "features" / "val.h5") as file:
        file.create_dataset("features", data=values)
        write_json(file, "views", ["whole"])
        write_json(file, "provenance", {})
        write_examples(file, of)
    return tmp_path


def test_projects_chosen_classes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    chosen = {"classes": ["plunger", "n00000000"], "images_per_class": 10, "perplexity": 5}
    cases.run_stage(monkeypatch, folder, "tsne", *PATHS, tsne=chosen)
    assert capsys.readouterr().out == "projected 20 val images of 2 classes\n"
    embedding = load_embedding(folder / "results" / "tsne" / "features.tsv")
    names = {label.name.split(",")[0] for label in embedding.labels}
    assert names == {"plunger", "convertible"}
    assert embedding.points.shape == (20, 2)


def test_a_typo_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(SystemExit, match=r"^error: tsne\.classes: no class 'plungr'; did you mean"):
        cases.run_stage(monkeypatch, folder, "tsne", *PATHS, tsne={"classes": ["plungr"]})
