"""Extraction of a dataset in shards: the rows of one file, and only what changed is done."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks.stand_in import StandIn, image_id, stand_in, write_shard
from headstart.core.errors import UserError
from headstart.extraction.cache_parts import is_intact
from headstart.extraction.extraction_stats import ExtractionStats
from headstart.extraction.feature_cache import OtherParts
from headstart.extraction.pipeline import extract_features
from headstart.extraction.shares import SINGLE_PROCESS, Share
from headstart.extraction.view_plan import ViewPlan
from headstart.store.features import load_features
from headstart.store.images import image_shards, open_images
from headstart.store.shards import remove_other_shards, shard_of, shard_path

ROWS = 2 * 90 + 10
"""Of 100 images: every tenth is of val, and the others have an augmented view."""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))


def store(folder: Path, numbers: Sequence[int], shards: int, renamed: Sequence[int] = ()) -> None:
    """Stores the images `numbers`; those of `renamed` bear the id of an image 1,000 higher."""
    remove_other_shards(folder / "images.h5", shards)
    names = np.array([number + 1000 * (number in renamed) for number in numbers])
    of = np.array([shard_of(image_id(name), shards) for name in names])
    for shard in range(shards):
        path = shard_path(folder / "images.h5", shard, shards)
        write_shard(path, np.array(numbers)[of == shard], names[of == shard])


def run(
    folder: Path, share: Share = SINGLE_PROCESS, out: str = "features", factor: float = 1.0
) -> ExtractionStats:
    class Scaled(StandIn):
        def submit(self, pixels: np.ndarray):
            rows = super().submit(pixels)()
            return lambda: factor * rows

    member = stand_in(8)._replace(runtime=Scaled(8, 16))
    shards = image_shards(folder / "images.h5")
    plan = ViewPlan(ten_crop=False, augmented_views=1)
    return extract_features(shards, folder / out, [lambda: member], plan, "float16", share)[0]


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """The bytes and the inode of each file."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_ino) for p in found}


def contents(folder: Path) -> dict[str, bytes]:
    return {name: content for name, (content, _) in files(folder).items()}


def by_id(folder: Path) -> dict[str, np.ndarray]:
    loaded = [load_features(folder / f"{split}.h5") for split in ("train", "val")]
    return {
        id_: values
        for features in loaded
        for id_, values in zip(features.examples.ids, features.values, strict=True)
    }


def test_shards_hold_the_rows_that_one_file_does(tmp_path: Path) -> None:
    store(tmp_path, range(100), 1)
    assert run(tmp_path).computed == ROWS
    assert sorted(files(tmp_path / "features")) == ["train.h5", "val.h5"]
    expected = by_id(tmp_path / "features")
    store(tmp_path, range(100), 4)
    # A change of the number of shards computes nothing, in either direction.
    assert run(tmp_path).computed == 0
    assert len(files(tmp_path / "features")) == 8
    found = by_id(tmp_path / "features")
    assert found.keys() == expected.keys()
    for id_, values in found.items():
        np.testing.assert_array_equal(values, expected[id_])
    for part in (tmp_path / "cache").rglob("*.npy"):
        part.unlink()
    assert run(tmp_path, out="again").computed == ROWS
    assert contents(tmp_path / "again") == contents(tmp_path / "features")
    store(tmp_path, range(100), 1)
    assert run(tmp_path).computed == 0
    assert sorted(files(tmp_path / "features")) == ["train.h5", "val.h5"]


def test_an_added_image_changes_its_own_shard_alone(tmp_path: Path) -> None:
    store(tmp_path, range(100), 4)
    run(tmp_path)
    before, parts = files(tmp_path / "features"), files(tmp_path / "cache")
    assert run(tmp_path).computed == 0
    assert files(tmp_path / "features") == before
    store(tmp_path, range(101), 4)  # the new one is of val
    counts = run(tmp_path)
    assert (counts.computed, counts.wanted) == (1, ROWS + 1)
    after, shard = files(tmp_path / "features"), shard_of(image_id(100), 4)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {f"val.h5/{shard:05d}-of-00004.h5"}
    new = {name for name in files(tmp_path / "cache") if name not in parts}
    assert len({Path(name).parent.name for name in new}) == 1


def test_a_renamed_image_may_fall_into_another_shard_and_is_not_computed_again(
    tmp_path: Path,
) -> None:
    store(tmp_path, range(100), 4)
    run(tmp_path)
    store(tmp_path, range(100), 4, renamed=range(0, 100, 3))
    assert run(tmp_path).computed == 0
    assert image_id(1003) in by_id(tmp_path / "features")


@pytest.mark.parametrize(("keys", "searches"), [(10**7, 1), (30, 2), (1, 4)])
def test_the_indices_of_other_shards_are_read_once_for_many_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: int, searches: int
) -> None:
    search, asked = OtherParts.search, []
    monkeypatch.setattr(
        OtherParts, "search", lambda *args: (asked.append(len(args[1])), search(*args))
    )
    monkeypatch.setattr("headstart.extraction.pipeline.SEARCHED_KEYS", keys)
    store(tmp_path, range(100), 4)
    run(tmp_path)
    assert not asked  # there were no parts yet
    store(tmp_path, range(140), 4)
    assert run(tmp_path).computed == 4 + 2 * 36
    assert len(asked) == searches
    assert sum(asked) == 4 + 2 * 36
    # Another number of shards: the rows of all are found in others' folders.
    store(tmp_path, range(140), 5)
    expected = by_id(tmp_path / "features")
    assert run(tmp_path).computed == 0
    found = by_id(tmp_path / "features")
    assert all((found[id_] == expected[id_]).all() for id_ in expected)


def test_an_unchanged_shard_stays_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(tmp_path, range(100), 4)
    run(tmp_path)
    opened = []
    monkeypatch.setattr(
        "headstart.store.images.open_images",
        lambda path: (opened.append(path), open_images(path))[1],
    )
    assert run(tmp_path).wanted == ROWS
    assert len(opened) == 1  # for the rows that are computed again to check the cache
    store(tmp_path, range(101), 4)
    opened.clear()
    run(tmp_path)
    assert set(opened) == {
        shard_path(tmp_path / "images.h5", number, 4) for number in (0, shard_of(image_id(100), 4))
    }


def test_an_image_that_goes_takes_its_rows_and_its_split_with_it(tmp_path: Path) -> None:
    store(tmp_path, range(100), 3)
    run(tmp_path)
    store(tmp_path, [n for n in range(100) if n % 10], 3)
    assert run(tmp_path).computed == 0
    assert len(load_features(tmp_path / "features" / "val.h5").examples) == 0
    assert len(load_features(tmp_path / "features" / "train.h5").examples) == 90


@pytest.mark.parametrize("shards", [1, 3])
def test_damage_is_noticed_wherever_it_is_and_only_that_is_done_again(
    tmp_path: Path, shards: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headstart.extraction.row_filling.PART_ROWS", 16)
    store(tmp_path, range(100), shards)
    run(tmp_path)
    expected = contents(tmp_path / "features")
    flip(next(path for path in sorted((tmp_path / "features").rglob("*.h5")) if path.is_file()))
    part = max((tmp_path / "cache").rglob("*.npy"), key=lambda path: path.stat().st_size)
    flip(part)
    counts = run(tmp_path)
    # The file that was damaged is made again, for which its own parts are read.
    assert counts.dropped <= 1
    assert counts.computed <= 16
    assert contents(tmp_path / "features") == expected
    assert run(tmp_path, out="all").computed + counts.computed == 16
    assert contents(tmp_path / "all") == expected
    assert is_intact(part)


def flip(path: Path) -> None:
    """Changes a byte of a file's values, without a trace in its time or size."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2 if path.suffix == ".npy" else 2100] ^= 1
    path.write_bytes(content)


def test_the_canary_makes_features_of_all_shards_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store(tmp_path, range(100), 3)
    run(tmp_path)
    before = by_id(tmp_path / "features")
    assert run(tmp_path, factor=2.0).computed == ROWS
    assert "is dropped" in capsys.readouterr().out
    for id_, values in by_id(tmp_path / "features").items():
        np.testing.assert_array_equal(values, 2 * before[id_])


@pytest.mark.parametrize(("shards", "world"), [(4, 4), (5, 2), (1, 3), (2, 5)])
def test_shares_in_any_order_write_what_one_process_does(
    tmp_path: Path, shards: int, world: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path, range(100), shards)
    run(tmp_path, out="alone")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "another"))
    order = np.random.default_rng(shards).permutation([*range(world), 0])
    computed = [run(tmp_path, Share(int(rank), world)).computed for rank in order]
    assert sum(computed) == ROWS
    assert contents(tmp_path / "features") == contents(tmp_path / "alone")
    assert run(tmp_path).computed == 0
    assert contents(tmp_path / "features") == contents(tmp_path / "alone")


def test_the_process_that_completes_a_shard_finds_another_ones_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(tmp_path, range(100), 1)
    run(tmp_path, out="alone")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "another"))
    others = run(tmp_path, Share(0, 2)).computed
    flip(next((tmp_path / "another").rglob("*.npy")))
    monkeypatch.setattr("headstart.extraction.pipeline.check_cache", lambda *_: True)
    assert run(tmp_path, Share(1, 2)).computed == ROWS
    assert 0 < others < ROWS
    assert contents(tmp_path / "features") == contents(tmp_path / "alone")


@pytest.mark.parametrize("text", ["3", "4/4", "-1/4", "1/0", "a/b", "1/4/2", ""])
def test_a_share_that_is_none_is_said(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_SHARD", text)
    with pytest.raises(UserError, match=r"HEADSTART_SHARD: .* from 0/64 to 63/64"):
        Share.from_batch_system()


def test_shares_of_batch_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEADSTART_SHARD", "SLURM_ARRAY_TASK_ID", "DVC_STAGE"):
        monkeypatch.delenv(name, raising=False)
    assert Share.from_batch_system() == SINGLE_PROCESS
    for name, value in (("ID", "12"), ("COUNT", "8"), ("MIN", "10")):
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    assert Share.from_batch_system() == Share(2, 8)
    # DVC would take the share for the whole.
    monkeypatch.setenv("DVC_STAGE", "extract@bundled")
    assert Share.from_batch_system() == SINGLE_PROCESS
    monkeypatch.setenv("HEADSTART_SHARD", "3/64")
    with pytest.raises(UserError, match="run the stage's command from"):
        Share.from_batch_system()
    monkeypatch.delenv("DVC_STAGE")
    assert Share.from_batch_system() == Share(3, 64)
    assert Share(1, 2).within(Share(3, 64)) == Share(7, 128)
    monkeypatch.delenv("HEADSTART_SHARD")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "30")
    with pytest.raises(UserError, match="aren't numbered one by one"):
        Share.from_batch_system()
