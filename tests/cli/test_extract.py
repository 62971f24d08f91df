"""`headstart extract`: a Parquet file of the features that the library's Extractor computes."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from headstart.api.extractor import Extractor
from headstart.cli import extract
from headstart.cli.feature_table import class_folders
from headstart.cli.main import main
from headstart.runtime.openvino_cpu import CPURuntime
from tests import cases

BUNDLED = ("--backbone", "bundled", "--device", "cpu", "-o", "out.parquet")


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Seven images in the class folders `cat` and `dog`, outside of any project."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "images"
    rng = np.random.default_rng(0)
    for i in range(7):
        path = folder / ("cat", "dog")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(coarse).resize((80 + i, 70)).save(path)
    return folder


def test_shares_fill_the_cache_and_a_last_run_writes_the_file(
    images: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = ""
    for rank in (1, 0, 1):
        monkeypatch.setenv("HEADSTART_SHARD", f"{rank}/2")
        assert main(["extract", str(images), *BUNDLED]) == 0
        told += capsys.readouterr().out
        assert not Path("out.parquet").exists()
    counts = [int(line.split("features of ")[1].split()[0]) for line in told.splitlines()]
    assert counts[0] == counts[2]
    assert counts[0] + counts[1] == 7
    monkeypatch.delenv("HEADSTART_SHARD")
    submitted: list[object] = []
    submit = CPURuntime.submit
    monkeypatch.setattr(CPURuntime, "submit", lambda *args: submitted.append(args) or submit(*args))
    assert main(["extract", str(images), *BUNDLED]) == 0
    assert pq.read_table("out.parquet").num_rows == 7
    assert len(submitted) == 1  # to check what is cached


def test_a_row_per_image_with_its_label_and_its_features(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["extract", str(images), *BUNDLED]) == 0
    shown = capsys.readouterr()
    assert shown.out == (
        "out.parquet: 7 images with 2048 features each, float16; unreadable images: 0\n"
    )
    assert "left out" not in shown.err
    table = pq.read_table("out.parquet")
    names = sorted(path.relative_to(images).as_posix() for path in images.glob("*/*.png"))
    assert table["path"].to_pylist() == names
    assert table["label"].to_pylist() == [name.split("/")[0] for name in names]
    vectors = np.stack(table["vector"].to_numpy())
    assert vectors.dtype == np.float16
    extractor = Extractor("bundled", device="cpu")
    expected = extractor([images / name for name in names])
    np.testing.assert_array_equal(vectors, expected.values[:, 0])
    assert extractor.stats.computed == 0
    about = json.loads(pq.read_schema("out.parquet").metadata[b"headstart"])
    assert about == extractor.provenance
    assert about["architecture"] == "resnet14t"
    assert len(about["weights"]) == 64
    assert about["preprocessing"]["input_size"] == 128


def test_images_that_cannot_be_read_are_listed_and_left_out(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "dog/1.png").write_bytes(b"none")
    (images / "loose.png").write_bytes((images / "cat/0.png").read_bytes())
    (images / "notes.txt").write_bytes(b"none")
    assert main(["extract", str(images), *BUNDLED, "--dtype", "float32"]) == 0
    shown = capsys.readouterr()
    assert shown.out.endswith("7 images with 2048 features each, float32; unreadable images: 1\n")
    assert "left out because they can't be read:\n  dog/1.png: not an image of a kn" in shown.err
    table = pq.read_table("out.parquet")
    assert table.num_rows == 7
    labels = dict(zip(table["path"].to_pylist(), table["label"].to_pylist(), strict=True))
    assert labels["loose.png"] is None
    assert labels["dog/3.png"] == "dog"
    assert table.schema.field("vector").type.value_type == "float"


def test_nothing_to_extract_is_an_error(images: Path) -> None:
    for path in images.glob("*/*.png"):
        path.write_bytes(b"none")
    with pytest.raises(SystemExit, match=r"none of the images in .* can be read:\n  cat/0\.png: "):
        cases.run_command("extract", str(images), *BUNDLED)
    (images / "empty").mkdir()
    with pytest.raises(SystemExit, match=r"FOLDER: .*empty holds no images"):
        cases.run_command("extract", str(images / "empty"), *BUNDLED)
    assert not Path("out.parquet").exists()
    assert not list(Path().glob(".*.tmp"))


def test_an_interrupted_run_goes_on_from_the_cache(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(extract, "BLOCK", 3)
    submit = CPURuntime.submit
    submitted: list[int] = []

    def interrupted(self: CPURuntime, pixels: np.ndarray):
        submitted.append(len(pixels))
        if len(submitted) == 2:
            raise KeyboardInterrupt
        return submit(self, pixels)

    command = ["extract", str(images), *BUNDLED, "--batch-size", "3"]
    with monkeypatch.context() as patch:
        patch.setattr(CPURuntime, "submit", interrupted)
        assert main(command) == 1
    assert capsys.readouterr().err.endswith("interrupted; run again to go on\n")
    assert not Path("out.parquet").exists()
    [first] = (Path("cache") / "rows").glob("*/*.npy")
    written = first.stat().st_mtime_ns
    assert main(command) == 0
    assert first.stat().st_mtime_ns == written
    file = pq.ParquetFile("out.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [3, 3, 1]


def test_a_project_gives_its_zoo_and_its_cache(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEADSTART_CACHE")
    project = images.parent / "project"
    (project / "deeper").mkdir(parents=True)
    tiny = {"architecture": "resnet10t", "weights": "none", "input_size": 32}
    both = {"concatenate": ["tiny", "bundled"]}
    cases.write_project(project, zoo={"tiny": tiny, "both": both})
    monkeypatch.chdir(project / "deeper")
    out = ("--device", "cpu", "-o", "out.parquet")
    cases.run_command("extract", "../../images", "--backbone", "tiny", *out)
    assert pq.read_metadata("out.parquet").num_rows == 7
    assert len(list((project / ".cache/headstart/rows").glob("resnet10t-*"))) == 1
    with pytest.raises(SystemExit, match=r"'both' is a concatenation; .*: tiny, bundled"):
        cases.run_command("extract", "../../images", "--backbone", "both", *out)


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["a.png", "b.png"], [None, None]),
        (["cat/a.png", "dog/x/b.png", "c.png"], ["cat", "dog", None]),
        (["cat/a.png", "cat/b.png"], ["cat", "cat"]),
        (["set/cat/a.png", "set/dog/b.png"], ["cat", "dog"]),
        (["set/train/cat/a.png", "set/test/b.png", "set/val/dog/c.png"], ["cat", None, "dog"]),
        (["train/cat/a.png", "train/dog/b.png"], ["cat", "dog"]),
        (["cafe\u0301/a.png"], ["café"]),
    ],
)
def test_class_folders(names: list[str], labels: list[str | None]) -> None:
    assert class_folders(names) == labels
