from pathlib import Path

import numpy as np
import pytest

from headstart.core.hdf5_files import create_hdf5, write_json
from headstart.store.examples import write_examples
from tests import cases

PATHS = ("--features", "features", "--figure", "report/tsne.svg")


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


def test_draws_chosen_classes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    chosen = {"classes": ["plunger", "n00000000"], "images_per_class": 10, "perplexity": 5}
    cases.run_stage(monkeypatch, folder, "tsne", *PATHS, tsne=chosen)
    assert capsys.readouterr().out == "drew 20 val images of 2 classes\n"
    drawn = (folder / "report" / "tsne.svg").read_text()
    assert ">plunger<" in drawn
    assert ">convertible<" in drawn
    assert ">Egyptian cat<" not in drawn


def test_a_typo_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(SystemExit, match=r"^error: tsne\.classes: no class 'plungr'; did you mean"):
        cases.run_stage(monkeypatch, folder, "tsne", *PATHS, tsne={"classes": ["plungr"]})
