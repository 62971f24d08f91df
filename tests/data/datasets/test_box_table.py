from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.config import Prepare
from headstart.core.errors import UserError
from headstart.data.datasets import Dataset, ImageFolder
from headstart.data.preparation import PreparedDataset, prepare_dataset
from tests.data.datasets import layouts
from tests.pictures import encoded, noise, put

HEADER = "path\tx1\ty1\tx2\ty2\n"


def load(root: Path) -> Dataset:
    return ImageFolder(path=root).load()


def prepare(root: Path) -> PreparedDataset:
    section = Prepare(
        tune_fraction=0.2, seed=0, on_bad_image="stop", max_pixels=1000, exclude=Path("none.tsv")
    )
    return prepare_dataset(load(root), section)


def test_an_image_may_have_no_box_one_or_several(tmp_path: Path):
    root = layouts.image_folder(tmp_path)
    rows = "Kuh/0.png\t0\t0\t12\t9\nKatze/1.png\t1.5\t2\t3\t4\nKuh/0.png\t1\t1\t2\t2\n"
    (root / "boxes.tsv").write_text(HEADER + rows)
    dataset = load(root)
    boxes = {record.id: record.boxes for record in dataset.records if record.boxes}
    assert boxes == {
        "Kuh/0.png": ((0, 0, 12, 9), (1, 1, 2, 2)),
        "Katze/1.png": ((1.5, 2, 3, 4),),
    }
    assert dataset.ignored == 0
    prepared = {entry.id: entry.boxes for entry in prepare(root).manifest.entries if entry.boxes}
    assert prepared == boxes


def test_as_spreadsheets_write_it_in_a_zip_with_a_wrapping_folder(tmp_path: Path):
    root = layouts.image_folder(tmp_path / "photos", "train", "val")
    put(root / "train" / "Ku\u0308he" / "0.png")  # as macOS writes ü
    table = "label,path,x1,y1,x2,y2\r\ncow,train/K\u00fche/0.png,1,2,3,4\r\n"
    (root / "boxes.csv").write_text(table, encoding="utf-8-sig", newline="")
    layouts.zipped(root, tmp_path / "photos.zip", "photos/")
    records = load(tmp_path / "photos.zip").records
    assert [record.boxes for record in records if record.boxes] == [((1, 2, 3, 4),)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("Kuh/77.png\t0\t0\t1\t1", "there is no image 'Kuh/77.png'; paths are such as '"),
        ("Kuh/0.png\t0\t0\t1", "0, 0, 1, nothing are not four numbers"),
        ("Kuh/0.png\t0\t0\t1\tone", "0, 0, 1, one are not four numbers"),
        ("Kuh/0.png\t0\t0\tnan\t1", "0, 0, nan, 1 are not four numbers"),
        ("Kuh/0.png\t-1\t0\t1\t1", "-1, 0 is no corner; an edge is 0 or more"),
        ("Kuh/0.png\t3\t0\t3\t1", "x2 3 and y2 1 must be greater than x1 3 and y1 0"),
        ("Kuh/0.png\t3\t5\t4\t1", "must be greater"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, row: str, message: str):
    root = layouts.image_folder(tmp_path)
    (root / "boxes.tsv").write_text(f"{HEADER}Kuh/0.png\t0\t0\t1\t1\n{row}\n")
    with pytest.raises(UserError, match=rf"boxes\.tsv has 1 wrong lines:\n  line 3: .*{message}"):
        load(root)


def test_a_box_beyond_its_image_is_found_when_the_image_is_read(tmp_path: Path):
    root = layouts.image_folder(tmp_path)
    put(root / "Kuh" / "wide.png", encoded(noise(20, 5)))
    (root / "boxes.tsv").write_text(HEADER + "Kuh/wide.png\t0\t0\t5\t20\n")
    with pytest.raises(UserError, match="1 boxes don't lie within") as caught:
        prepare(root)
    assert "  Kuh/wide.png  0, 0, 5, 20 in 20 x 5 px\n" in str(caught.value)


def test_tables_that_are_none(tmp_path: Path):
    root = layouts.image_folder(tmp_path / "photos")
    (root / "boxes.csv").write_text(HEADER)
    with pytest.raises(UserError, match="first line doesn't name path, x1, y1, x2, y2; it should"):
        load(root)
    (root / "boxes.tsv").write_text(HEADER)
    with pytest.raises(UserError, match=r"has both boxes\.tsv and boxes\.csv; keep one"):
        load(root)


def test_a_table_outside_of_the_wrapping_folder_is_not_overlooked(tmp_path: Path):
    root = layouts.image_folder(tmp_path / "photos" / "inner")
    (root / "boxes.tsv").write_text(HEADER + "Kuh/0.png\t0\t0\t1\t1\n")
    assert any(record.boxes for record in load(root.parent).records)
    (root / "boxes.tsv").rename(root.parent / "boxes.tsv")
    with pytest.raises(UserError, match="is not beside the class folders; move it to inner/"):
        load(root.parent)


def test_boxes_are_given_in_the_image_as_it_is_shown(tmp_path: Path):
    """A photograph of 9 x 12 px that is stored lying on its side."""
    root = layouts.image_folder(tmp_path)
    image = Image.fromarray(noise(12, 9))
    exif = image.getexif()
    exif[0x0112] = 6
    put(root / "Kuh" / "turned.jpg", encoded(image, "JPEG", exif=exif))
    (root / "boxes.tsv").write_text(HEADER + "Kuh/turned.jpg\t0\t0\t9\t12\n")
    [entry] = [entry for entry in prepare(root).manifest.entries if entry.boxes]
    assert (entry.width, entry.height) == (9, 12)
    np.testing.assert_array_equal(entry.boxes, [[0, 0, 9, 12]])
