from pathlib import Path

import pytest

from headstart.config import DatasetOutline
from headstart.data.split_changes import SplitChanges, record_splits


def section(path: Path) -> DatasetOutline:
    return DatasetOutline(name="image_folder", path=path)


def test_what_changed_since_the_last_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    flowers = section(tmp_path / "flowers")
    assert record_splits(flowers, ["a", "b", "c"], ["train", "tune", "val"]) is None
    assert record_splits(flowers, ["c", "b", "a"], ["val", "tune", "train"]) == SplitChanges(
        0, 0, 0
    )
    assert record_splits(flowers, ["a", "b", "d"], ["tune", "tune", "val"]) == SplitChanges(1, 1, 1)
    # A second copy is an image more; one of two copies that moves is one that moves.
    assert record_splits(flowers, ["a", "a", "b", "d"], ["tune", "val", "tune", "val"]) == (0, 1, 0)
    assert record_splits(flowers, ["a", "a", "b", "d"], ["tune", "tune", "tune", "val"]) == (
        1,
        0,
        0,
    )
    assert record_splits(flowers, [], []) == (0, 0, 4)


def test_each_dataset_has_its_own_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    record_splits(section(tmp_path / "flowers"), ["a"], ["train"])
    assert record_splits(section(tmp_path / "birds"), ["a"], ["val"]) is None
    assert record_splits(section(tmp_path / "flowers"), ["a"], ["val"]) == (1, 0, 0)


def test_a_damaged_record_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    flowers = section(tmp_path / "flowers")
    record_splits(flowers, ["a"], ["train"])
    (path,) = (tmp_path / "cache" / "splits").iterdir()
    path.write_bytes(b"\xff\0 \n\n")
    assert record_splits(flowers, ["a"], ["train"]) == (0, 1, 2)
    assert record_splits(flowers, ["a"], ["train"]) == (0, 0, 0)
