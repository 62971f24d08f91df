from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.core.errors import UserError
from headstart.core.hdf5_files import get_dataset
from headstart.data.manifest import Entry, Manifest, save_manifest
from headstart.data.resizing import (
    BLOCK,
    StoredImages,
    pixel_digest,
    stored_boxes,
    to_square,
    write_images,
)
from headstart.store.examples import ClassLabel
from headstart.store.images import load_file_sizes, open_images
from headstart.store.shards import shard_of
from tests.pictures import encoded, noise

CLASSES = [ClassLabel("a", "a"), ClassLabel("b", "b")]


def triangle_filtered(pixels: np.ndarray, side: int) -> np.ndarray:
    """[S, S, 3] to [side, side, 3] by a triangle as wide as the reduction, from its definition."""
    size = len(pixels)
    scale = max(size / side, 1)
    centers = (np.arange(side) + 0.5) * size / side
    weights = np.maximum(0, 1 - np.abs(np.arange(size) + 0.5 - centers[:, None]) / scale)
    weights /= weights.sum(1, keepdims=True)
    return np.einsum("ih,jw,hwc->ijc", weights, weights, pixels)


@pytest.mark.parametrize(("size", "side"), [(64, 32), (50, 17), (20, 33), (9, 8)])
def test_resizing_is_the_antialiased_triangle_filter(size: int, side: int):
    pixels = noise(size, size)
    resized = to_square(pixels, side, "crop")
    np.testing.assert_allclose(resized, triangle_filtered(pixels, side), atol=1)


def test_the_center_square_is_cropped_before_resizing():
    pixels = noise(31, 20)
    center = to_square(pixels[:, 5:25], 8, "crop")
    np.testing.assert_array_equal(to_square(pixels, 8, "crop"), center)
    assert not np.array_equal(to_square(pixels, 8, "stretch"), center)


def test_an_image_of_that_side_is_untouched():
    pixels = noise(16, 16)
    for fit in ("crop", "stretch"):
        np.testing.assert_array_equal(to_square(pixels, 16, fit), pixels)
    wide = noise(19, 16)
    np.testing.assert_array_equal(to_square(wide, 16, "crop"), wide[:, 1:17])


def test_small_images_are_stored_as_they_are(tmp_path: Path):
    sizes = {"a": (64, 64), "b": (50, 640), "c": (90, 80)}
    files = {name: encoded(noise(*size)) for name, size in sizes.items()}
    entries = [Entry(name, "train", 0, *size) for name, size in sizes.items()]
    for count, max_side, side in ((2, 299, 64), (2, 32, 32), (3, 299, 80)):
        save_manifest(tmp_path / "manifest.jsonl", Manifest(CLASSES, entries[:count]))
        stored = write_images(
            tmp_path / "images.h5",
            tmp_path / "manifest.jsonl",
            files.__getitem__,
            max_side,
            "crop",
            10**6,
        )
        assert stored.side == side


@given(
    size=st.tuples(st.integers(20, 90), st.integers(20, 90)),
    corners=st.tuples(*[st.floats(0, 1)] * 4),
    fit=st.sampled_from(["crop", "stretch"]),
)
def test_a_box_lies_where_its_pixels_go(size, corners, fit):
    width, height = size
    x0, x1 = sorted(round(c * width) for c in corners[:2])
    y0, y1 = sorted(round(c * height) for c in corners[2:])
    mask = np.zeros((height, width, 3), np.uint8)
    mask[y0:y1, x0:x1] = 255
    side = 40
    stored = to_square(mask, side, fit)[..., 0]
    whole = (0, 0, width, height)
    entry = Entry("", "val", 0, width, height, (whole, (x0, y0, x1, y1)))
    first, *others = stored_boxes(entry, side, fit)
    np.testing.assert_array_equal(first, [0, 0, side, side])
    if not others:
        assert stored.max() == 0
        return
    [box] = others
    assert (box >= 0).all()
    assert (box <= side).all()
    # The filter reaches one pixel of the coarser of the two grids.
    blur = 1 + max(1, side / min(size))
    ys, xs = np.nonzero(stored)
    for found, low, high in ((xs, box[0], box[2]), (ys, box[1], box[3])):
        assert found.min(initial=side) + 1 >= low - blur
        assert found.max(initial=0) <= high + blur
    left, top = np.ceil(box[:2] + blur * (box[:2] > 0)).astype(int)
    right, bottom = np.floor(box[2:] - blur * (box[2:] < side)).astype(int)
    assert (stored[top : max(top, bottom), left : max(left, right)] == 255).all()


def case(count: int) -> tuple[Manifest, dict[str, bytes]]:
    pixels = [noise(10, 8, seed) for seed in range(count)]
    splits = ("train", "tune", "val", "test")
    entries = [
        Entry(
            f"ö/{i}",
            splits[i % 4],
            None if i % 4 == 3 else i % 2,
            10,
            8,
            ((1, 2, 9, 8), (1, 1, 3, 3))[: i % 3],
        )
        for i in range(count)
    ]
    return Manifest(CLASSES, entries), {f"ö/{i}": encoded(p) for i, p in enumerate(pixels)}


@pytest.mark.parametrize("count", [1, BLOCK, BLOCK + 1, 2 * BLOCK + 7])
def test_every_row_is_its_image(tmp_path: Path, count: int):
    manifest, files = case(count)
    path, listed = tmp_path / "images.h5", tmp_path / "manifest.jsonl"
    save_manifest(listed, manifest)
    assert write_images(path, listed, files.__getitem__, 299, "crop", 1000).side == 8
    with open_images(path) as stored:
        assert len(stored) == count
        assert stored.pixels.shape == (count, 8, 8, 3)
        for i, entry in enumerate(manifest.entries):
            pixels = noise(10, 8, i)[:, 1:9]
            np.testing.assert_array_equal(stored.pixels[i], pixels)
            assert stored.digests[i].tobytes() == pixel_digest(pixels)
            assert stored.examples.labels[i] == (-1 if entry.label is None else entry.label)
        assert stored.examples.ids == [entry.id for entry in manifest.entries]
        assert stored.examples.classes == CLASSES
        np.testing.assert_array_equal(stored.rows("tune"), np.arange(1, count, 4))
        most = min(count, 3) - 1 or 1  # the second entry has one box, the third two
        own = [[[0, 2, 8, 8], [0, 1, 2, 3]][: i % 3] for i in range(count)]
        boxes = [(boxes + [[np.nan] * 4] * most)[:most] for boxes in own]
        np.testing.assert_array_equal(stored.boxes, np.array(boxes, np.float32))


def test_equal_images_give_equal_bytes(tmp_path: Path):
    manifest, files = case(9)
    listed = tmp_path / "manifest.jsonl"
    save_manifest(listed, manifest)
    for name in ("one.h5", "two.h5"):
        write_images(tmp_path / name, listed, files.__getitem__, 6, "stretch", 1000)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "ö/2: the file is empty, since `prepare` ran; run it again"),
        (encoded(noise(8, 10)), "ö/2 has changed since `prepare` ran; run it again"),
    ],
)
def test_an_image_that_changed_stops_it_and_leaves_nothing(
    tmp_path: Path, data: bytes, message: str
):
    manifest, files = case(9)
    files["ö/2"] = data
    listed = tmp_path / "manifest.jsonl"
    save_manifest(listed, manifest)
    with pytest.raises(UserError, match=message):
        write_images(tmp_path / "images.h5", listed, files.__getitem__, 6, "crop", 1000)
    assert list(tmp_path.iterdir()) == [listed]


def sharded(folder: Path, manifest: Manifest, files: dict[str, bytes], shards: int) -> StoredImages:
    save_manifest(folder / "manifest.jsonl", manifest, shards)
    listed, images = folder / "manifest.jsonl", folder / "images.h5"
    return write_images(images, listed, files.__getitem__, 6, "crop", 1000)


def written(folder: Path) -> dict[str, tuple[bytes, int]]:
    """The bytes and the inode of each file."""
    files = sorted(path for path in folder.rglob("*.h5") if path.is_file())
    return {path.name: (path.read_bytes(), path.stat().st_ino) for path in files}


def test_shards_hold_the_images_of_one_file(tmp_path: Path):
    manifest, files = case(20)
    assert sharded(tmp_path, manifest, files, 1) == StoredImages(20, 6, 1, 1)
    with open_images(tmp_path / "images.h5") as stored:
        expected = dict(zip(stored.examples.ids, stored.pixels[:], strict=True))
    assert sharded(tmp_path, manifest, files, 3) == StoredImages(20, 6, 3, 3)
    with open_images(tmp_path / "images.h5") as stored:
        assert stored.existing_splits == ["train", "tune", "val", "test"]
        of = {entry.id: entry for entry in manifest.entries}
        for position, id_ in enumerate(stored.examples.ids):
            np.testing.assert_array_equal(stored.pixels[position], expected.pop(id_))
            assert stored.splits[position] == of[id_].split
            assert np.isfinite(stored.boxes[position, :, 0]).sum() == len(of[id_].boxes)
        assert not expected
        sizes = load_file_sizes(tmp_path / "images.h5")
        np.testing.assert_array_equal(sizes, [[10, 8]] * 20)
    assert sharded(tmp_path, manifest, files, 1).rewritten == 1
    assert list(written(tmp_path)) == ["images.h5"]


def test_an_added_image_rewrites_its_own_shard_alone(tmp_path: Path):
    manifest, files = case(20)
    sharded(tmp_path, manifest, files, 3)
    before = written(tmp_path)
    assert sharded(tmp_path, manifest, files, 3).rewritten == 0
    assert written(tmp_path) == before
    more, files = case(21)
    assert sharded(tmp_path, more, files, 3).rewritten == 1
    after = written(tmp_path)
    own = f"{shard_of('ö/20', 3):05d}-of-00003.h5"
    assert {name for name in after if after[name] != before[name]} == {own}


@pytest.mark.parametrize("change", ["the code", "a pixel", "a file", "no HDF5"])
def test_a_shard_that_would_be_another_or_is_damaged_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
):
    manifest, files = case(9)
    sharded(tmp_path, manifest, files, 1)
    path = tmp_path / "images.h5"
    before = path.read_bytes()
    if change == "the code":
        monkeypatch.setattr(
            "headstart.data.resizing.to_square", lambda *_: np.zeros((6, 6, 3), "u1")
        )
    elif change == "a pixel":
        with h5py.File(path, "r+") as file:
            pixels = get_dataset(file, "pixels")
            pixels[4, 0, 0, 0] = pixels[4, 0, 0, 0] ^ 1
    elif change == "a file":
        files["ö/3"] = encoded(noise(10, 8, 99))
        content = sha256(files["ö/3"]).hexdigest()
        entries = [replace(e, content=content) if e.id == "ö/3" else e for e in manifest.entries]
        manifest = Manifest(CLASSES, entries)
    else:
        path.write_bytes(b"none")
    assert sharded(tmp_path, manifest, files, 1).rewritten == 1
    if change in ("a pixel", "no HDF5"):
        assert path.read_bytes() == before
