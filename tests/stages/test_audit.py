from pathlib import Path

import numpy as np
import pytest

from headstart.core.hdf5_files import create_hdf5, write_json
from headstart.data.resizing import pixel_digest
from headstart.store.audit_findings import Finding, load_findings
from headstart.store.examples import ClassLabel, Examples, write_examples
from tests import cases

PATHS = ("--images", "images.h5", "--features", "features", "--results", "results")
SPLITS = np.array(["train"] * 120 + ["tune"] * 40 + ["val"] * 40)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four classes that the features tell apart, with one problem of several kinds."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 200, size=(200, 4, 4, 3), dtype=np.uint8)
    pixels = coarse.repeat(8, axis=1).repeat(8, axis=2)
    labels = np.arange(200) % 4
    rows = rng.normal(size=(200, 16)) + 6 * np.eye(4, 16)[labels]
    pixels[170], rows[170], labels[170] = pixels[10, :, ::-1], rows[10] + 0.01, labels[10]
    pixels[180], rows[180], labels[180] = pixels[20], rows[20], labels[20]
    pixels[30] = 2
    labels[[5, 130]] = (labels[[5, 130]] + 1) % 4
    examples = Examples(
        [f"image {i}" for i in range(200)], labels, [ClassLabel(c, c) for c in "abcd"]
    )
    with create_hdf5(tmp_path / "images.h5") as file:
        file["pixels"] = pixels
        file["digest"] = np.array([np.frombuffer(pixel_digest(p), np.uint8) for p in pixels])
        sizes = np.tile([[100, 80]], (200, 1))
        sizes[40] = [400, 80]
        file["size"] = sizes
        file["split"] = SPLITS.astype("S5")
        file["box"] = np.full((200, 4), np.nan, np.float32)
        write_examples(file, examples)
    for split in ("train", "tune", "val"):
        with create_hdf5(tmp_path / "features" / f"{split}.h5") as file:
            file.create_dataset(
                "features", data=rows[np.flatnonzero(split == SPLITS), None].astype(np.float16)
            )
            write_json(file, "views", ["whole"])
            write_json(file, "provenance", {})
            write_examples(file, examples[np.flatnonzero(split == SPLITS)])
    return tmp_path


def findings(folder: Path, problem: str) -> list[Finding]:
    table = load_findings(folder / "results" / "audit" / "features-findings.tsv")
    return [finding for finding in table if finding.problem == problem]


def test_finds_one_of_each_and_writes_the_same_bytes_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    cases.run_stage(monkeypatch, folder, "audit", *PATHS)
    assert "200 images: 1 identical, 1 near_duplicate, 2 wrong_label" in capsys.readouterr().out
    [identical] = findings(folder, "identical")
    assert (identical.id, identical.split) == ("image 180", "val")
    assert (identical.evidence, identical.evidence_split) == ("image 20", "train")
    [near] = findings(folder, "near_duplicate")
    assert (near.id, near.evidence, near.class_id) == ("image 170", "image 10", "c")
    wrong = {finding.id: finding.evidence for finding in findings(folder, "wrong_label")}
    assert wrong == {"image 5": "b", "image 130": "c"}
    assert [finding.id for finding in findings(folder, "dark")] == ["image 30"]
    [odd] = findings(folder, "odd_shape")
    assert (odd.id, odd.score) == ("image 40", 5.0)

    written = (folder / "results" / "audit" / "features-findings.tsv").read_bytes()
    cases.run_stage(monkeypatch, folder, "audit", *PATHS)
    assert (folder / "results" / "audit" / "features-findings.tsv").read_bytes() == written


def test_images_of_another_dataset_are_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch):
    with create_hdf5(folder / "images.h5") as file:
        file["pixels"] = np.zeros((1, 8, 8, 3), np.uint8)
        file["digest"] = np.zeros((1, 32), np.uint8)
        file["size"] = np.full((1, 2), 8)
        file["split"] = np.array(["train"], "S5")
        file["box"] = np.full((1, 4), np.nan, np.float32)
        write_examples(file, Examples(["other"], np.zeros(1, np.int64), [ClassLabel("a", "a")]))
    with pytest.raises(SystemExit, match=r"^error: images\.h5 lacks 'image 0'; run `dvc repro`$"):
        cases.run_stage(monkeypatch, folder, "audit", *PATHS)
