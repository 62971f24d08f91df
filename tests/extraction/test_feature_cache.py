"""The row cache: what went in comes out, whatever happened in between."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.core.cache_folders import cache_name, cache_root
from headstart.core.errors import UserError
from headstart.extraction import cache_parts
from headstart.extraction.feature_cache import (
    FeatureCache,
    OtherParts,
    remove_temporary_parts,
    row_key,
    writer_lock,
)

WIDTH = 5


def keys(numbers: list[int]) -> np.ndarray:
    return np.array([row_key(bytes([n]), "whole") for n in numbers], "S16")


def rows(numbers: list[int]) -> np.ndarray:
    return np.array([[n] * WIDTH for n in numbers], np.float16).reshape(-1, WIDTH)


def opened(folder: Path) -> FeatureCache:
    return FeatureCache(folder, WIDTH, "float16")


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 255), min_size=1, max_size=6), max_size=6),
    st.lists(st.integers(0, 255), max_size=20),
)
def test_rows_come_back_in_the_order_asked_for_from_any_parts(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[int]], asked: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("cache")
    cache = opened(folder)
    for part in parts:
        cache.add(keys(part), rows(part))
    stored = {number for part in parts for number in part}
    for seen in (cache, opened(folder)):
        assert len(seen) == len(stored)
        np.testing.assert_array_equal(seen.has(keys(asked)), [n in stored for n in asked])
        known = [n for n in asked if n in stored]
        np.testing.assert_array_equal(seen.get(keys(known)), rows(known))


def test_a_key_that_ends_in_zero_bytes_is_still_its_own(tmp_path: Path) -> None:
    # numpy's S type drops trailing zeros from what it returns.
    zeros = np.array([b"a" * 15 + b"\0", b"a" * 14 + b"\0\0"], "S16")
    opened(tmp_path).add(zeros, rows([1, 2]))
    cache = opened(tmp_path)
    np.testing.assert_array_equal(cache.get(zeros[::-1]), rows([2, 1]))
    assert not cache.has(np.array([b"a" * 15 + b"b"], "S16")).any()


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "foreign"])
def test_a_damaged_part_is_dropped_and_the_others_stay(tmp_path: Path, damage: str) -> None:
    cache = opened(tmp_path)
    cache.add(keys([1, 2]), rows([1, 2]))
    cache.add(keys([3]), rows([3]))
    part = next(p for p in tmp_path.glob("*.npy") if p.stat().st_size == _size_of(2))
    content = part.read_bytes()
    if damage == "truncated":
        part.write_bytes(content[:-7])
    elif damage == "flipped":
        part.write_bytes(content[:-7] + bytes([content[-7] ^ 1]) + content[-6:])
    elif damage == "empty":
        part.write_bytes(b"")
    else:
        FeatureCache(tmp_path / "other", 9, "float32").add(keys([1]), np.ones((1, 9), np.float32))
        part.unlink()
        foreign = next((tmp_path / "other").glob("*.npy"))
        foreign.rename(tmp_path / foreign.name)

    reopened = opened(tmp_path)
    reopened.verify(keys([1, 2, 3]))
    assert reopened.dropped == 1
    np.testing.assert_array_equal(reopened.has(keys([1, 2, 3])), [False, False, True])
    np.testing.assert_array_equal(reopened.get(keys([3])), rows([3]))
    assert len(list(tmp_path.glob("*.npy"))) == 1


def test_a_damaged_part_is_never_read_even_if_nobody_verified_it(tmp_path: Path) -> None:
    opened(tmp_path).add(keys([1]), rows([1]))
    [part] = tmp_path.glob("*.npy")
    cache = opened(tmp_path)
    part.write_bytes(part.read_bytes()[:-1] + b"!")
    with pytest.raises(UserError, match="removed or damaged while they were in use; run again"):
        cache.get(keys([1]))
    assert not opened(tmp_path).has(keys([1])).any()


def test_what_is_cached_is_known_without_reading_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(tmp_path).add(keys([1, 2]), rows([1, 2]))
    with monkeypatch.context() as patched:
        patched.setattr(cache_parts, "is_intact", lambda _: pytest.fail("a part was read"))
        patched.setattr(np, "load", lambda *_, **__: pytest.fail("a part was opened"))
        cache = opened(tmp_path)
        np.testing.assert_array_equal(cache.has(keys([1, 2, 3])), [True, True, False])
    reads = []
    read = cache_parts.is_intact
    monkeypatch.setattr(cache_parts, "is_intact", lambda part: reads.append(part) or read(part))
    for _ in range(2):
        np.testing.assert_array_equal(cache.get(keys([2])), rows([2]))
    assert len(reads) == 1  # when it is first used


@pytest.mark.parametrize("damage", ["missing", "cut", "empty", "flipped", "another's"])
def test_an_index_that_is_missing_or_damaged_is_made_again(tmp_path: Path, damage: str) -> None:
    cache = opened(tmp_path)
    cache.add(keys([1, 2]), rows([1, 2]))
    [index] = tmp_path.glob("*.keys")
    content = index.read_bytes()
    if damage == "missing":  # as in a cache of before, or after a kill between part and index
        index.unlink()
    elif damage == "another's":
        opened(tmp_path / "other").add(keys([2, 1]), rows([2, 1]))
        index.write_bytes(next((tmp_path / "other").glob("*.keys")).read_bytes())
    else:
        flipped = content[:-1] + bytes([content[-1] ^ 1])
        index.write_bytes({"cut": content[:-16], "empty": b"", "flipped": flipped}[damage])
    np.testing.assert_array_equal(opened(tmp_path).get(keys([2, 1])), rows([2, 1]))
    assert index.read_bytes() == content
    assert opened(tmp_path).dropped == 0


def test_rows_of_other_shards_are_found_once_they_are_asked_for(tmp_path: Path) -> None:
    one, two, whole = (tmp_path / name for name in ("00000-of-00002", "00001-of-00002", ""))
    opened(one).add(keys([1, 2]), rows([1, 2]))
    opened(whole).add(keys([3, 4]), rows([3, 4]))
    cache = FeatureCache(two, WIDTH, "float16", others=OtherParts.find(tmp_path))
    assert len(cache) == 0  # a shard holds no index of another
    cache.borrow(keys([2, 3, 5]))
    np.testing.assert_array_equal(cache.has(keys([1, 2, 3, 4, 5])), [0, 1, 1, 0, 0])
    np.testing.assert_array_equal(cache.get(keys([3, 2])), rows([3, 2]))
    [part] = one.glob("*.npy")
    part.write_bytes(b"damaged")
    cache = FeatureCache(two, WIDTH, "float16", others=OtherParts.find(tmp_path))
    cache.borrow(keys([2, 3]))
    cache.verify(keys([2, 3]))
    np.testing.assert_array_equal(cache.has(keys([2, 3])), [False, True])
    cache.clear()
    assert not list(tmp_path.rglob("*.npy"))


def _size_of(count: int) -> int:
    return 128 + count * (16 + 2 * WIDTH)


def test_an_unfinished_part_of_a_killed_process_is_no_part(tmp_path: Path) -> None:
    opened(tmp_path).add(keys([1]), rows([1]))
    (tmp_path / ".0.1234.tmp").write_bytes(b"half a part")
    assert len(opened(tmp_path)) == 1


def test_unfinished_parts_are_removed_once_their_writer_is_dead(tmp_path: Path) -> None:
    dead, alive = tmp_path / ".0.1234.tmp", tmp_path / ".1.1234.tmp"
    dead.write_bytes(b"half a part")
    alive.write_bytes(b"half a part")
    with writer_lock(tmp_path, 1):
        remove_temporary_parts(tmp_path)
        assert alive.exists()
        assert not dead.exists()
    remove_temporary_parts(tmp_path)
    assert not alive.exists()


def test_two_writers_see_each_others_rows(tmp_path: Path) -> None:
    one, other = opened(tmp_path), opened(tmp_path)
    one.add(keys([1, 2]), rows([1, 2]))
    other.add(keys([2, 3]), rows([2, 3]))
    one.refresh()
    assert one.has(keys([1, 2, 3])).all()
    assert len(one) == 3


def test_cleared_means_gone_from_disk_too(tmp_path: Path) -> None:
    cache = opened(tmp_path)
    cache.add(keys([1]), rows([1]))
    cache.clear()
    assert not cache.has(keys([1])).any()
    assert len(opened(tmp_path)) == 0


def test_a_cache_is_named_after_all_that_determines_its_rows() -> None:
    provenance = {"architecture": "resnet50", "weights": "aa"}
    names = {
        cache_name(provenance, "float16"),
        cache_name(provenance, "float32"),
        cache_name({**provenance, "weights": "ab"}, "float16"),
    }
    assert len(names) == 3
    assert all(name.startswith("resnet50-") for name in names)


def test_where_caches_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADSTART_CACHE", raising=False)
    monkeypatch.setenv("DVC_ROOT", "/project")
    assert cache_root() == Path("/project/.cache/headstart")
    monkeypatch.setenv("HEADSTART_CACHE", "/fast")
    assert cache_root() == Path("/fast")


def test_a_part_is_synced_whole_before_it_bears_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []

    def sync(descriptor: int) -> None:
        assert not list(tmp_path.glob("*.npy"))
        synced.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(os, "fsync", sync)
    opened(tmp_path).add(keys([1, 2]), rows([1, 2]))
    [part] = tmp_path.glob("*.npy")
    assert synced == [part.stat().st_size]


def test_a_full_disk_is_said_and_costs_nothing_that_was_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = opened(tmp_path)
    cache.add(keys([1]), rows([1]))

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(UserError, match=r"No space left on device.*run again to go on"):
            cache.add(keys([2]), rows([2]))
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".keys", ".npy"]
    np.testing.assert_array_equal(opened(tmp_path).has(keys([1, 2])), [True, False])
    cache.add(keys([2]), rows([2]))
    assert len(opened(tmp_path)) == 2


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match="set HEADSTART_CACHE to another folder"):
        opened(tmp_path / "file" / "cache").add(keys([1]), rows([1]))


def test_what_is_no_part_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "x.npy").mkdir()
    cache = opened(tmp_path)
    cache.add(keys([1]), rows([1]))
    assert len(opened(tmp_path)) == 1
    assert opened(tmp_path).dropped == 0
    assert (tmp_path / "x.npy").is_dir()


def test_a_part_that_is_removed_while_it_is_looked_at_is_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(tmp_path).add(keys([1]), rows([1]))
    next(tmp_path.glob("*.keys")).unlink()

    def intact(path: Path) -> bool:
        path.unlink()
        return True

    monkeypatch.setattr(cache_parts, "is_intact", intact)
    cache = opened(tmp_path)
    assert not cache.has(keys([1])).any()
    assert cache.dropped == 0


@pytest.mark.parametrize("indexed", [True, False])
def test_a_part_that_is_removed_while_it_is_in_use_is_said(tmp_path: Path, indexed: bool) -> None:
    cache = opened(tmp_path)
    cache.add(keys([1]), rows([1]))
    if indexed:
        assert cache.has(keys([1])).all()
    next(tmp_path.glob("*.npy")).unlink()
    with pytest.raises(UserError, match="removed or damaged while they were in use; run again"):
        cache.get(keys([1]))
