import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from headstart.core.errors import UserError
from headstart.data.datasets import Dataset, Record, TinyImageNet, tiny_imagenet
from headstart.data.decoding import UnreadableImageError, decode
from tests.data.datasets import layouts
from tests.pictures import put

REAL = Path("../shared/data/tiny-imagenet-200-subset.zip")


def load(path: Path) -> Dataset:
    return TinyImageNet(path=path).load()


def test_reads_the_official_layout(tmp_path: Path):
    dataset = load(layouts.tiny_imagenet(tmp_path))
    assert [(c.id, c.name) for c in dataset.classes] == [
        ("n02124075", "Egyptian cat"),
        ("n03126707", "crane (n03126707)"),
        ("n02012849", "crane (n02012849)"),
    ]
    assert Counter(record.split for record in dataset.records) == {"train": 12, "val": 6, "test": 5}
    by_id = {record.id: record for record in dataset.records}
    train, val = "train/n03126707/images/n03126707_2.JPEG", "val/images/val_5.JPEG"
    assert by_id[train] == Record(train, 1, "train", ((2, 1, 10, 9),))
    assert by_id[val] == Record(val, 2, "val", ((0, 5, 8, 9),))
    assert by_id["test/images/test_0.JPEG"] == Record("test/images/test_0.JPEG", None, "test")


def test_every_place_that_path_may_name_gives_the_same(tmp_path: Path):
    unpacked = layouts.tiny_imagenet(tmp_path / "unpacked" / "tiny-imagenet-200")
    (tmp_path / "packed").mkdir()
    packed = layouts.zipped(
        unpacked, tmp_path / "packed" / "tiny-imagenet-200.zip", "tiny-imagenet-200/"
    )
    places = [unpacked, unpacked.parent, packed, packed.parent]
    first, *others = [load(place) for place in places]
    for other in others:
        assert (other.classes, other.records) == (first.classes, first.records)
        for record in first.records:
            assert other.read(record.id) == first.read(record.id)
    assert [file.name for file in packed.parent.iterdir()] == ["tiny-imagenet-200.zip"]


def test_an_annotated_image_that_is_absent_is_a_bad_image(tmp_path: Path):
    root = layouts.tiny_imagenet(tmp_path)
    absent = ["train/n02124075/images/n02124075_0.JPEG", "val/images/val_3.JPEG"]
    for name in absent:
        (root / name).unlink()
    for dataset in (load(root), load(layouts.zipped(root, tmp_path / "all.zip"))):
        assert len(dataset.records) == 23
        for name in absent:
            with pytest.raises(UnreadableImageError, match="the file is missing"):
                dataset.read(name)


def test_text_files_that_do_not_fit_the_images(tmp_path: Path):
    root = layouts.tiny_imagenet(tmp_path)
    put(root / "val" / "images" / "val_99.JPEG")
    with pytest.raises(
        UserError, match=r"val_annotations.txt doesn't name val/images/val_99\.JPEG"
    ):
        load(root)
    (root / "val" / "images" / "val_99.JPEG").unlink()
    put(root / "train" / "n7" / "images" / "n7_0.JPEG")
    with pytest.raises(
        UserError, match=r"wnids.txt doesn't name the class of train/n7/images/n7_0"
    ):
        load(root)


@pytest.mark.parametrize(
    ("file", "row"),
    [
        ("train/n03126707/n03126707_boxes.txt", "n03126707_1.JPEG\t1\t2\t3"),
        ("train/n03126707/n03126707_boxes.txt", "n03126707_1.JPEG\t1\t2\t3\tfour"),
        ("val/val_annotations.txt", "val_1.JPEG"),
        ("val/val_annotations.txt", "val_1.JPEG\tn03126707\t1\t2\t3\t4\t5"),
    ],
)
def test_a_row_of_other_columns_is_named(tmp_path: Path, file: str, row: str):
    root = layouts.tiny_imagenet(tmp_path)
    lines = (root / file).read_text().splitlines()
    (root / file).write_text("\n".join([lines[0], row, *lines[2:]]))
    with pytest.raises(UserError, match=rf"{file}, line 2: .* should end in four whole numbers"):
        load(root)


def test_what_is_not_tiny_imagenet(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("cat/1.jpg", b"")
    with pytest.raises(UserError, match=r"has no tiny-imagenet-200/wnids\.txt"):
        load(tmp_path / "other.zip")
    (tmp_path / "list.csv").write_text("a,b")
    with pytest.raises(UserError, match=r"is neither a folder nor a \.zip"):
        load(tmp_path / "list.csv")
    with pytest.raises(UserError, match=r"doesn't exist; name your folder or \.zip"):
        load(tmp_path / "nowhere")


def test_a_folder_without_it_gets_the_official_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made = layouts.tiny_imagenet(tmp_path / "made")

    def fake(url: str, path: Path, size: int, digest: str) -> None:
        assert url == "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
        assert (size, digest) == (248_100_043, "md5:90528d7ca1a48142e341f4ef8d21d0de")
        layouts.zipped(made, path, "tiny-imagenet-200/")

    monkeypatch.setattr(tiny_imagenet, "download", fake)
    (tmp_path / "raw").mkdir()
    assert len(load(tmp_path / "raw").records) == 23


@pytest.mark.skipif(not REAL.exists(), reason=f"{REAL} is absent")
def test_the_real_one():
    dataset = load(REAL)
    counts = Counter(record.split for record in dataset.records)
    assert counts == {"train": 16_000, "val": 5_000, "test": 500}
    assert len({label.name for label in dataset.classes}) == 200
    labeled = [record for record in dataset.records if record.split != "test"]
    boxes = np.array([box for record in labeled for box in record.boxes])
    assert boxes.min() >= 0
    assert boxes.max() <= 64
    assert (boxes[:, :2] < boxes[:, 2:]).all()
    assert len(boxes) == len(labeled)
    per_class = Counter((record.split, record.label) for record in labeled)
    assert set(per_class.values()) == {80, 25}

    sample = [decode(dataset.read(record.id), 64 * 64) for record in dataset.records[::10]]
    assert {pixels.shape for pixels in sample} == {(64, 64, 3)}
    gray = np.mean([(pixels == pixels[..., :1]).all() for pixels in sample])
    assert 0.01 < gray < 0.03
