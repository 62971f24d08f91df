from pathlib import Path

import pytest

from headstart.store.images import open_images
from tests import cases
from tests.data.datasets import layouts
from tests.pictures import encoded, noise

ARGUMENTS = ("--manifest", "data/manifest.jsonl", "--images", "data/images.h5")
DATASET = {"name": "image_folder", "path": "raw"}


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    layouts.image_folder(tmp_path / "raw", "train", "val")
    cases.run_stage(monkeypatch, tmp_path, "prepare", *ARGUMENTS[:2], dataset=DATASET)
    return tmp_path


@pytest.mark.parametrize(("size", "side"), [(299, 9), (5, 5)])
def test_stores_the_images_at_one_size(prepared: Path, monkeypatch, capsys, size: int, side: int):
    cases.run_stage(
        monkeypatch, prepared, "resize", *ARGUMENTS, dataset=DATASET, resize={"side": size}
    )
    assert capsys.readouterr().out.endswith(f"stored 30 images of {side} x {side} px\n")
    with open_images(prepared / "data" / "images.h5") as stored:
        assert stored.pixels.shape == (30, side, side, 3)
        assert len(stored.rows("tune")) == 3


def test_an_image_that_changed_since(prepared: Path, monkeypatch: pytest.MonkeyPatch):
    (prepared / "raw" / "val" / "Kuh" / "2.png").write_bytes(encoded(noise(30, 30)))
    with pytest.raises(SystemExit, match=r"error: val/Kuh/2\.png has changed since `prepare` ran"):
        cases.run_stage(monkeypatch, prepared, "resize", *ARGUMENTS, dataset=DATASET)
    assert not (prepared / "data" / "images.h5").exists()


def test_without_a_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    layouts.image_folder(tmp_path / "raw")
    with pytest.raises(SystemExit, match=r"manifest\.jsonl is missing; `dvc repro` makes it"):
        cases.run_stage(monkeypatch, tmp_path, "resize", *ARGUMENTS, dataset=DATASET)
