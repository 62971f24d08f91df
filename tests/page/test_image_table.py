from pathlib import Path

import numpy as np

from headstart.page.image_table import ImageTable
from headstart.store.examples import ClassLabel, Examples
from headstart.store.images import open_images
from tests.page.made_results import write_images

CLASSES = [ClassLabel("a", "a"), ClassLabel("b", "b")]


def test_a_sample_of_val_and_as_many_others(tmp_path: Path):
    splits = {
        split: Examples([f"{split}{i}" for i in range(20)], np.arange(20) % 2, CLASSES)
        for split in ("train", "val")
    }
    write_images(tmp_path / "images.h5", splits, 4)
    val = splits["val"].ids
    with open_images(tmp_path / "images.h5") as images:
        everything = ImageTable.sample_val(images, val, 20)
        assert everything.val_positions.tolist() == list(range(20))
        table = ImageTable.sample_val(images, val, 5)
        again = ImageTable.sample_val(images, val, 5)
        assert table.val_positions.tolist() == again.val_positions.tolist()
        assert np.all(np.diff(table.val_positions) > 0)
        held = [val[position] for position in table.val_positions]
        left_out = next(id_ for id_ in val if id_ not in held)
        places = table.add([held[3], left_out, "train7", "train7", "unknown"])
        assert places.tolist() == [3, -1, 5, 5, -1]
        assert table.add([f"train{i}" for i in range(20)]).tolist().count(-1) == 15
        ids, labels, splits_of = table.describe({"train": 0, "tune": 1, "val": 2, "test": 3})
    assert ids[:5] == held
    assert ids[5] == "train7"
    assert labels[5] == 1
    assert splits_of.tolist() == [2] * 5 + [0] * 5
