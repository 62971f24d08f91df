"""Files in shards, read as one."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.errors import UserError
from headstart.store.features import FeaturesOnDisk, open_features
from headstart.store.shards import find_shards, open_rows, remove_other_shards, shard_of, shard_path
from tests.heads import blobs


def write(path: Path, rows: np.ndarray, lengths: list[int]) -> None:
    starts = np.cumsum([0, *lengths])
    for number, start in enumerate(starts[:-1]):
        own = shard_path(path, number, len(lengths))
        own.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(own, "w") as file:
            file["rows"] = rows[start : starts[number + 1]]


@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=4),
    asked=st.lists(st.integers(-100, 100), max_size=12),
    bounds=st.tuples(st.integers(-50, 50), st.integers(-50, 50)),
)
def test_rows_of_several_files_are_those_of_one_array(
    tmp_path_factory: pytest.TempPathFactory,
    lengths: list[int],
    asked: list[int],
    bounds: tuple[int, int],
) -> None:
    path, n = tmp_path_factory.mktemp("shards") / "x.h5", sum(lengths)
    expected = np.arange(n * 6).reshape(n, 3, 2)
    write(path, expected, lengths)
    with open_rows(path, "rows") as rows:
        assert (rows.shape, rows.dtype, rows.nbytes) == (expected.shape, expected.dtype, n * 48)
        assert len(rows) == n
        start, stop = bounds
        np.testing.assert_array_equal(rows[start:stop], expected[start:stop])
        np.testing.assert_array_equal(rows[::3, :2], expected[::3, :2])
        positions = np.array([i % n for i in asked], int) if n else np.empty(0, int)
        np.testing.assert_array_equal(rows[positions], expected[positions])
        np.testing.assert_array_equal(rows[positions, :1], expected[positions, :1])
        if n:
            np.testing.assert_array_equal(rows[n - 1], expected[n - 1])
            np.testing.assert_array_equal(rows[-1], expected[-1])
            np.testing.assert_array_equal(rows[expected[:, 0, 0] % 4 == 0], expected[::2])
        with pytest.raises(IndexError):
            rows[[n]]


def test_a_shard_depends_on_the_id_alone_and_shards_are_even() -> None:
    ids = [f"train/{n}.png" for n in range(5000)]
    shards = np.array([shard_of(id_, 8) for id_ in ids])
    assert np.bincount(shards).min() > 0.8 * 5000 / 8
    assert shard_of("train/7.png", 8) == shards[7]
    assert shard_of("ö", 1) == 0


def test_a_missing_shard_is_said(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    write(path, np.zeros((4, 1)), [1, 2, 1])
    assert [file.name for file in find_shards(path)][1] == "00001-of-00003.h5"
    shard_path(path, 1, 3).unlink()
    with pytest.raises(UserError, match=r"x\.h5/00001-of-00003\.h5 is missing"):
        find_shards(path)


@pytest.mark.parametrize(("before", "now"), [(1, 3), (3, 1), (2, 3), (3, 2), (1, 0), (3, 0)])
def test_what_another_number_of_shards_left_is_removed(
    tmp_path: Path, before: int, now: int
) -> None:
    path = tmp_path / "x.h5"
    write(path, np.zeros((before, 1)), [1] * before)
    unfinished = shard_path(path, 0, before).with_name(".x.h5.0123.tmp")
    unfinished.touch()
    remove_other_shards(path, before, alone=False)
    assert unfinished.exists()
    remove_other_shards(path, before)
    assert not unfinished.exists()
    assert len(find_shards(path)) == before
    remove_other_shards(path, now)
    assert not path.is_file()
    assert not list(tmp_path.rglob("*.h5/*"))
    if now:
        write(path, np.zeros((now, 1)), [1] * now)
        assert len(find_shards(path)) == now


def test_features_of_shards_that_were_extracted_differently_are_no_features(tmp_path: Path) -> None:
    features = blobs.features(10)
    for number, provenance in enumerate(({}, {"weights": "b"})):
        own = shard_path(tmp_path / "train.h5", number, 2)
        blobs.save(
            own, features.__class__(features.values, features.views, features.examples, provenance)
        )
    with (
        pytest.raises(UserError, match=r"00001-of-00002\.h5 was extracted differently"),
        open_features(tmp_path / "train.h5"),
    ):
        pass


def test_features_of_shards_are_those_of_one_file_in_memory_and_streamed(tmp_path: Path) -> None:
    features = blobs.features(30, views=2)
    for number, rows in enumerate(np.split(np.arange(30), [7, 19])):
        own = shard_path(tmp_path / "train.h5", number, 3)
        blobs.save(
            own,
            replace(features, values=features.values[rows], examples=features.examples[rows]),
        )
    for limit in (None, 0):
        with open_features(tmp_path / "train.h5", limit) as found:
            assert isinstance(found.values, FeaturesOnDisk) == (limit == 0)
            np.testing.assert_array_equal(found.values[:], features.values)
            assert found.examples.ids == features.examples.ids
            np.testing.assert_array_equal(found.examples.labels, features.examples.labels)
