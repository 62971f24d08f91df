"""Extraction: nothing twice, nothing lost, and always the same bytes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from headstart.core.errors import UserError
from headstart.data.resizing import pixel_digest
from headstart.extraction import feature_files
from headstart.extraction.extraction_stats import ExtractionStats
from headstart.extraction.feature_files import FeatureFiles
from headstart.extraction.pipeline import extract_features
from headstart.extraction.row_extractor import RowExtractor
from headstart.extraction.shares import SINGLE_PROCESS, Share
from headstart.extraction.view_plan import ViewPlan
from headstart.extraction.view_rendering import render_view
from headstart.runtime.cuda_gpu import compute_in_chunks
from headstart.runtime.runtimes import Future, pad_batch
from headstart.store.examples import ClassLabel, Examples
from headstart.store.features import load_features, split_provenance
from headstart.store.images import Images, ImageShard
from headstart.store.views import TEN_CROP, WHOLE, random_view

PROVENANCE = {"architecture": "stand-in", "weights": "0"}


class Averages:
    """A stand-in for a network: quick, and it tells any two views apart."""

    batch_size = 8
    width = 12
    provenance = {"precision": "float32"}  # noqa: RUF012

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def submit(self, pixels: np.ndarray) -> Future:
        rows = self.rows(pixels)
        return lambda: rows

    def rows(self, pixels: np.ndarray) -> np.ndarray:
        assert pixels.shape[0] == self.batch_size
        side = pixels.shape[1]
        quarters = pixels.astype(np.float32)[:, : side // 4 * 4, : side // 4 * 4]
        averages = quarters.reshape(8, 2, side // 4 * 2, 2, side // 4 * 2, 3).mean(axis=(2, 4))
        return self.factor * averages.reshape(8, 12)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))


def dataset(
    path: Path, numbers: list[int], splits: list[str], labels: list[int] | None = None
) -> Images:
    """Stored images, each made from its number alone."""
    pixels = np.stack(
        [np.random.default_rng(n).integers(0, 256, (16, 16, 3), np.uint8) for n in numbers]
    )
    file = h5py.File(path, "w")
    classes = [ClassLabel("a", "a"), ClassLabel("b", "b")]
    labels = labels or [n % 2 for n in numbers]
    return Images(
        pixels=file.create_dataset("pixels", data=pixels),
        digests=np.array([np.frombuffer(pixel_digest(image), np.uint8) for image in pixels]),
        splits=np.array(splits),
        boxes=np.full((len(numbers), 4), np.nan, np.float32),
        examples=Examples([f"image {n}" for n in numbers], np.array(labels), classes),
    )


def run(
    images: Images,
    folder: Path,
    plan: ViewPlan = ViewPlan(True, 0),  # noqa: B008
    factor: float = 1.0,
    share: Share = SINGLE_PROCESS,
) -> ExtractionStats:
    member = RowExtractor("test", Averages(factor), PROVENANCE)
    return extracted(images, folder, [member], plan, share=share)[0]


def extracted(
    images: Images,
    folder: Path,
    members: Sequence[RowExtractor],
    plan: ViewPlan,
    *,
    share: Share = SINGLE_PROCESS,
) -> list[ExtractionStats]:
    loaded = [partial(lambda member: member, member) for member in members]
    return extract_features([ImageShard.in_memory(images)], folder, loaded, plan, "float16", share)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize(("block", "part"), [(256, 1024), (4, 1024), (4, 10)])
def test_every_row_is_its_images_view_in_the_splits_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, part: int
) -> None:
    monkeypatch.setattr("headstart.extraction.view_plan.BLOCK", block)
    monkeypatch.setattr("headstart.extraction.row_filling.PART_ROWS", part)
    numbers = list(range(30))
    images = dataset(tmp_path / "i.h5", numbers, ["train", "val", "tune"] * 10)
    counts = run(images, tmp_path / "f", ViewPlan(ten_crop=True, augmented_views=2))
    assert counts.computed == counts.wanted == 10 * 3 + 20 * 10
    parts = [np.load(path) for path in (tmp_path / "cache").rglob("*.npy")]
    assert sum(map(len, parts)) == counts.computed
    assert max(map(len, parts)) < part + Averages.batch_size

    for split in ("train", "val", "tune"):
        found = load_features(tmp_path / "f" / f"{split}.h5")
        rows = images.rows(split)
        assert found.examples.ids == [f"image {n}" for n in rows]
        np.testing.assert_array_equal(found.examples.labels, rows % 2)
        for values, row in zip(found.values, rows, strict=True):
            views = TEN_CROP
            if split == "train":
                of = images.digests[row].tobytes()
                views = (WHOLE, random_view(of, 0), random_view(of, 1))
            for value, view in zip(values, views, strict=True):
                # All of a batch is this one image: what stands beside it must not matter.
                alone = Averages().rows(np.stack([render_view(images.pixels[row], view)] * 8))[0]
                np.testing.assert_array_equal(value, alone.astype(np.float16))
    assert found.views == [view.name for view in TEN_CROP]
    assert load_features(tmp_path / "f" / "train.h5").views == [
        "whole",
        "augmented_0",
        "augmented_1",
    ]


def test_a_second_run_computes_nothing_and_writes_the_same_bytes(tmp_path: Path) -> None:
    images = dataset(tmp_path / "i.h5", list(range(20)), ["train", "val"] * 10)
    run(images, tmp_path / "one")
    counts = run(images, tmp_path / "two")
    assert counts.computed == 0
    assert counts.checked > 0
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_only_rows_that_were_never_computed_are_computed(tmp_path: Path) -> None:
    numbers = list(range(100))
    images = dataset(tmp_path / "0.h5", numbers, ["train"] * 80 + ["val"] * 20)
    assert run(images, tmp_path / "f").computed == 80 + 200

    relabeled = dataset(tmp_path / "1.h5", numbers, ["train"] * 80 + ["val"] * 20, [1, 0] * 50)
    assert run(relabeled, tmp_path / "f").computed == 0
    shuffled = dataset(tmp_path / "2.h5", numbers[::-1], ["val"] * 20 + ["train"] * 80)
    assert run(shuffled, tmp_path / "f").computed == 0
    grown = dataset(tmp_path / "3.h5", [*numbers, 100], ["train"] * 80 + ["val"] * 20 + ["train"])
    assert run(grown, tmp_path / "f").computed == 1
    # An image that moves from train to val has its whole view already.
    moved = dataset(tmp_path / "4.h5", numbers, ["train"] * 79 + ["val"] * 21)
    assert run(moved, tmp_path / "f").computed == 9
    # The ten crops serve one view too, and more augmented views leave the others as they are.
    assert run(images, tmp_path / "f", ViewPlan(ten_crop=False, augmented_views=0)).computed == 0
    assert run(images, tmp_path / "f", ViewPlan(ten_crop=True, augmented_views=1)).computed == 80
    assert run(images, tmp_path / "f", ViewPlan(ten_crop=True, augmented_views=3)).computed == 160


def test_the_same_pixels_twice_are_computed_once(tmp_path: Path) -> None:
    images = dataset(tmp_path / "i.h5", [1, 2, 1, 2, 1], ["train", "train", "train", "val", "val"])
    assert run(images, tmp_path / "f").computed == 2 * 10


def test_one_images_rows_do_not_depend_on_the_others(tmp_path: Path) -> None:
    few = dataset(tmp_path / "0.h5", [5, 6], ["val", "val"])
    run(few, tmp_path / "few")
    many = dataset(tmp_path / "1.h5", list(range(40)), ["val"] * 40)
    run(many, tmp_path / "many")
    np.testing.assert_array_equal(
        load_features(tmp_path / "few" / "val.h5").values,
        load_features(tmp_path / "many" / "val.h5").values[5:7],
    )


@pytest.mark.parametrize("new_views", [0, 1])
def test_the_canary_finds_a_change_that_the_address_does_not_cover(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], new_views: int
) -> None:
    images = dataset(tmp_path / "i.h5", list(range(20)), ["train"] * 20)
    run(images, tmp_path / "f")
    counts = run(images, tmp_path / "f", ViewPlan(True, new_views), factor=1.1)
    assert counts.computed == 20 * (1 + new_views)
    assert "the cache of 20 rows is dropped" in capsys.readouterr().out
    expected = 1.1 * Averages().rows(images.pixels[:8])
    found = load_features(tmp_path / "f" / "train.h5").values[:8, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (1e6, r"set dtype to float32"),
        (np.nan, r"test gives features that are not finite numbers; look at its mean, std"),
        (1e-12, r"test gives different images the same features; look at its mean"),
    ],
)
def test_features_that_are_no_use_are_an_error_and_are_not_cached(
    tmp_path: Path, factor: float, message: str
) -> None:
    images = dataset(tmp_path / "i.h5", list(range(12)), ["train"] * 12)
    with pytest.raises(UserError, match=message):
        run(images, tmp_path / "f", factor=factor)
    assert run(images, tmp_path / "f").computed == 12


def test_one_image_and_images_that_look_alike_may_have_the_same_features(tmp_path: Path) -> None:
    alone = dataset(tmp_path / "0.h5", [1], ["train"])
    assert run(alone, tmp_path / "f", factor=0).computed == 1
    black = dataset(tmp_path / "1.h5", list(range(2, 42)), ["val"] * 40)
    dark = np.asarray(black.pixels) // 32  # of 255 levels at most 7
    assert run(replace(black, pixels=dark), tmp_path / "f", factor=0).computed == 400


def test_a_cache_that_cannot_be_made_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "file"))
    images = dataset(tmp_path / "i.h5", [1], ["train"])
    with pytest.raises(UserError, match="set HEADSTART_CACHE to a folder that can be written to"):
        run(images, tmp_path / "f")


def test_features_are_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = dataset(tmp_path / "i.h5", list(range(9)), ["train"] * 9)

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(feature_files, "write_examples", fail)
    with pytest.raises(KeyboardInterrupt):
        run(images, tmp_path / "f")
    assert not any((tmp_path / "f").iterdir())


@pytest.mark.parametrize("world", [2, 4])
def test_several_processes_share_the_rows_and_write_the_same_bytes(
    tmp_path: Path, world: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = dataset(tmp_path / "i.h5", list(range(60)), ["train", "val", "val"] * 20)
    alone = run(images, tmp_path / "alone")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "shared"))

    def part(rank: int, folder: str) -> ExtractionStats:
        member = RowExtractor("test", Averages(), PROVENANCE)
        plan, share = ViewPlan(True, 0), Share(rank, world)
        return extracted(images, tmp_path / folder, [member], plan, share=share)[0]

    # The first process waits for the others' rows, and the last comes much later.
    others = [part(rank, "none") for rank in range(1, world)]
    first = part(0, "together")
    assert sum(counts.computed for counts in [first, *others]) == alone.computed
    assert min(counts.computed for counts in [first, *others]) > alone.computed / world / 2
    assert files(tmp_path / "alone") == files(tmp_path / "together")
    assert not (tmp_path / "none").exists()


SLOW_RUN = """
import sys, time
from pathlib import Path
from headstart.extraction import row_filling
from headstart.extraction.shares import Share
from tests.extraction.test_pipeline import Averages, dataset, run

class Slow(Averages):
    def submit(self, pixels):
        time.sleep(0.002)
        return super().submit(pixels)

row_filling.PART_ROWS = 16
import tests.extraction.test_pipeline
tests.extraction.test_pipeline.Averages = Slow
folder = Path(sys.argv[1])
images = dataset(folder / f"{sys.argv[2]}.h5", list(range(120)), ["train", "val"] * 60)
run(images, folder / "f", share=Share(int(sys.argv[3]), int(sys.argv[4])))
"""


def parts(folder: Path) -> int:
    return sum(1 for _ in (folder / "cache").glob("rows/*/*.npy"))


def run_and_kill(
    folder: Path,
    number: int,
    at_parts: int,
    after: float,
    share: Share = SINGLE_PROCESS,
) -> None:
    """Starts an extraction and kills it `after` seconds from when `at_parts` parts are there."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", SLOW_RUN, str(folder), str(number)),
            *(str(share.rank), str(share.world)),
        ],
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(["src", "."])},
    )
    while parts(folder) < at_parts:
        assert process.poll() is None, "it should not have finished"
        time.sleep(0.001)
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_killed_at_any_moment_it_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    for number, (at_parts, after) in enumerate([(2, 0.0), (9, 0.004), (17, 0.007)]):
        run_and_kill(tmp_path, number, at_parts, after)

    images = dataset(tmp_path / "i.h5", list(range(120)), ["train", "val"] * 60)
    counts = run(images, tmp_path / "f")
    assert counts.dropped == 0
    # 16 rows a part: what the killed runs finished is not computed again.
    assert 0 < counts.computed <= counts.wanted - 17 * 16
    resumed = files(tmp_path / "f")
    shutil.rmtree(tmp_path / "cache")
    assert run(images, tmp_path / "g").computed == counts.wanted
    assert resumed == files(tmp_path / "g")


class Brightest(Averages):
    """Another stand-in, of another width."""

    width = 3

    def rows(self, pixels: np.ndarray) -> np.ndarray:
        return pixels.max(axis=(1, 2)).astype(np.float32)


ONE = RowExtractor("one", Averages(), PROVENANCE)
OTHER = RowExtractor("other", Brightest(), {**PROVENANCE, "weights": "1"})


def together(images: Images, folder: Path, share: Share = SINGLE_PROCESS) -> list[ExtractionStats]:
    return extracted(images, folder, [ONE, OTHER], ViewPlan(True, 1), share=share)


@pytest.mark.parametrize("alone_first", [True, False])
def test_a_concatenations_columns_are_its_members_features_computed_once(
    tmp_path: Path, alone_first: bool
) -> None:
    splits = ["train", "tune", "val", "test"] * 150
    images = dataset(tmp_path / "i.h5", list(range(600)), splits)  # blocks of 256 within a split

    def alone() -> list[ExtractionStats]:
        return [
            extracted(images, tmp_path / m.name, [m], ViewPlan(True, 1))[0] for m in (ONE, OTHER)
        ]

    before = alone() if alone_first else []
    both = together(images, tmp_path / "both")
    after = [] if alone_first else alone()
    assert [c.computed for c in both] == [0 if alone_first else c.wanted for c in both]
    assert all(c.computed == (c.wanted if alone_first else 0) for c in [*before, *after])
    for split in set(splits):
        one, other, found = (
            load_features(tmp_path / name / f"{split}.h5") for name in ("one", "other", "both")
        )
        np.testing.assert_array_equal(found.values[..., :12], one.values)
        np.testing.assert_array_equal(found.values[..., 12:], other.values)
        assert found.values.dtype == np.float16
        assert found.views == one.views
        assert found.examples.ids == one.examples.ids
        assert split_provenance(found.provenance) == [one.provenance, other.provenance]


def test_a_concatenation_goes_on_where_it_stopped(tmp_path: Path) -> None:
    images = dataset(tmp_path / "i.h5", list(range(40)), ["train", "val"] * 20)

    def interrupted() -> RowExtractor:
        raise KeyboardInterrupt

    members = [lambda: ONE, interrupted]
    with pytest.raises(KeyboardInterrupt):
        extract_features(
            [ImageShard.in_memory(images)],
            tmp_path / "both",
            members,
            ViewPlan(True, 1),
            "float16",
        )
    assert not (tmp_path / "both").exists()
    one, other = together(images, tmp_path / "both")
    assert (one.computed, other.computed) == (0, other.wanted)


def test_several_processes_share_a_concatenation(tmp_path: Path) -> None:
    images = dataset(tmp_path / "i.h5", list(range(60)), ["train", "val", "val"] * 20)
    second = together(images, tmp_path / "none", Share(1, 2))
    first = together(images, tmp_path / "together", Share(0, 2))
    for mine, others in zip(first, second, strict=True):
        assert mine.computed > 0
        assert others.computed > 0
    assert not (tmp_path / "none").exists()
    together(images, tmp_path / "again")
    assert files(tmp_path / "again") == files(tmp_path / "together")


def test_one_backbone_under_two_names_is_no_concatenation(tmp_path: Path) -> None:
    images = dataset(tmp_path / "i.h5", [1], ["train"])
    with pytest.raises(UserError, match="'same' is the same backbone as another"):
        extracted(images, tmp_path, [ONE, ONE._replace(name="same")], ViewPlan(True, 1))


def test_a_killed_rank_loses_its_last_part_and_no_other_ranks_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_and_kill(tmp_path, 0, 5, 0.003, Share(1, 2))
    (cache,) = (tmp_path / "cache").glob("rows/*")
    (cache / ".1.0123.tmp").write_bytes(b"half a part")
    images = dataset(tmp_path / "i.h5", list(range(120)), ["train", "val"] * 60)
    again = run(images, tmp_path / "f", share=Share(1, 2))
    first = run(images, tmp_path / "f", share=Share(0, 2))
    rows = 60 + 60 * 10
    assert 0 < again.computed <= rows - first.computed - 5 * 16
    assert not list(cache.glob("*.tmp"))
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "other"))
    assert run(images, tmp_path / "alone").computed == rows
    assert files(tmp_path / "f") == files(tmp_path / "alone")


def test_the_next_batch_is_submitted_before_one_is_asked_for(tmp_path: Path) -> None:
    done: list[str] = []

    class Recorded(Averages):
        def submit(self, pixels: np.ndarray) -> Future:
            rows, number = self.rows(pixels), sum(step.startswith("submit") for step in done)
            done.append(f"submit {number}")

            def collect() -> np.ndarray:
                done.append(f"collect {number}")
                return rows

            return collect

    images = dataset(tmp_path / "i.h5", list(range(30)), ["train"] * 30)
    member = RowExtractor("t", Recorded(), PROVENANCE)
    extracted(images, tmp_path / "f", [member], ViewPlan(False, 0))
    assert done == [
        *("submit 0", "submit 1", "collect 0", "submit 2", "collect 1", "submit 3"),
        *("collect 2", "collect 3"),
    ]


def test_memory_that_runs_out_midway_changes_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Small(Averages):
        """The memory left holds 8 images, then 3."""

        chunk = batch_size = Averages.batch_size
        batches = 0

        def submit(self, pixels: np.ndarray) -> Future:
            self.batches += 1
            rows, self.chunk = compute_in_chunks(self.chunk_rows, pixels, self.chunk)
            return rows.numpy

        def chunk_rows(self, pixels: np.ndarray) -> torch.Tensor:
            if self.batches > 3 and len(pixels) > 3:
                raise torch.OutOfMemoryError
            return torch.from_numpy(self.rows(pad_batch(pixels, 8))[: len(pixels)])

    images = dataset(tmp_path / "i.h5", list(range(60)), ["train"] * 60)
    run(images, tmp_path / "ample")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "other"))
    runtime = Small()
    member = RowExtractor("t", runtime, PROVENANCE)
    extracted(images, tmp_path / "small", [member], ViewPlan(True, 0))
    assert runtime.chunk == 2
    assert files(tmp_path / "ample") == files(tmp_path / "small")


def test_after_a_part_was_removed_meanwhile_the_next_run_computes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = dataset(tmp_path / "i.h5", list(range(30)), ["train", "val", "tune"] * 10)
    run(images, tmp_path / "expected")
    written = FeatureFiles.write

    def removing(*arguments: Any) -> None:
        for part in (tmp_path / "cache").rglob("*.npy"):
            part.unlink()
        written(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(FeatureFiles, "write", removing)
        with pytest.raises(UserError, match="while they were in use; run again"):
            run(images, tmp_path / "f")
    assert run(images, tmp_path / "f").computed == 10 + 20 * 10
    assert files(tmp_path / "f") == files(tmp_path / "expected")
