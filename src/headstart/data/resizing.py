"""Writes images.h5: every image of the manifest, square and of one size.

/pixels [N, S, S, 3] uint8    /digest [N, 32] uint8    /split [N] bytes
/box [N, K, 4] float32, where K is the largest number of boxes of an image, NaN behind its last one
/splits, the splits of the whole dataset    /source, a digest of what the file was made from
/contents, what the file holds of each split (`store.images.Contents`)
and the examples (`store.examples`): /id, /label, /classes
"""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from headstart.core.errors import UserError
from headstart.core.hdf5_files import (
    create_hdf5,
    get_dataset,
    open_hdf5,
    read_json,
    write_json,
)
from headstart.core.thread_map import thread_map
from headstart.data.decoding import UnreadableImageError, decode
from headstart.data.manifest import Entry, Manifest, load_manifest
from headstart.store.examples import SPLITS, UNLABELED, Examples, Split, write_examples
from headstart.store.images import describe_contents
from headstart.store.shards import find_shards, remove_other_shards, shard_path

BLOCK = 128
"""Number of images written at once: 34 MB at 299 px."""

Fit = Literal["crop", "stretch"]


@dataclass(frozen=True)
class StoredImages:
    """What `write_images` wrote.

    images: their number. side: in px. shards: their number. rewritten: how many of the shards.
    """

    images: int
    side: int
    shards: int
    rewritten: int


def write_images(
    path: Path,
    manifest: Path,
    read: Callable[[str], bytes],
    max_side: int,
    fit: Fit,
    max_pixels: int,
    reads_at_once: int | None = None,
) -> StoredImages:
    """Writes the images of a manifest, shard by shard, each in the order of its entries.

    A shard that would be the same stays as it is. Memory grows with the images of a shard only by
    their entries.
    manifest: the path that `save_manifest` wrote to. read, reads_at_once: as those of
    `datasets.Dataset`. max_side: in px. fit: crop the center square or stretch the image.
    max_pixels: limit on an image's pixels.

    Raises:
        UserError: an image has changed since the manifest was made.
    """
    manifests = find_shards(manifest)
    shape = _common_shape(manifests, max_side, fit)

    def load_square(entry: Entry) -> np.ndarray:
        try:
            pixels = decode(read(entry.id), max_pixels)
        except UnreadableImageError as error:
            raise UserError(f"{entry.id}: {error}, since `prepare` ran; run it again") from None
        if pixels.shape[:2] != (entry.height, entry.width):
            raise UserError(f"{entry.id} has changed since `prepare` ran; run it again")
        return to_square(pixels, shape.side, fit)

    remove_other_shards(path, len(manifests))
    images = rewritten = 0
    for number, file in enumerate(manifests):
        own, stored = load_manifest(file), shard_path(path, number, len(manifests))
        images += len(own.entries)
        source = sha256(f"{shape}".encode() + file.read_bytes()).hexdigest()
        if not _is_current(stored, source, own.entries, load_square):
            _write_shard(stored, own, shape, load_square, source, reads_at_once)
            rewritten += 1
    return StoredImages(images, shape.side, len(manifests), rewritten)


@dataclass(frozen=True)
class _Shape:
    """What the shards have in common: side in px, most boxes of an image, splits of the dataset."""

    side: int
    fit: Fit
    boxes: int
    splits: tuple[Split, ...]


def _common_shape(manifests: list[Path], max_side: int, fit: Fit) -> _Shape:
    short_side, boxes, splits = 0, 1, set()
    for file in manifests:
        for entry in load_manifest(file).entries:
            short_side = max(short_side, min(entry.width, entry.height))
            boxes = max(boxes, len(entry.boxes))
            splits.add(entry.split)
    side = min(max_side, short_side)  # enlarging adds no detail
    return _Shape(side, fit, boxes, tuple(split for split in SPLITS if split in splits))


def _is_current(
    path: Path, source: str, entries: list[Entry], load_square: Callable[[Entry], np.ndarray]
) -> bool:
    """Returns whether the shard at `path` was made from `source`, and its pixels are undamaged.

    One image is resized again, because the code may have changed.
    """
    if not path.is_file():
        return False
    try:
        with open_hdf5(path) as file:
            if read_json(file, "source") != source:
                return False
            pixels, digests = get_dataset(file, "pixels"), get_dataset(file, "digest")[:]
            if pixel_digest(load_square(entries[0])) != digests[0].tobytes():
                return False
            return all(
                pixel_digest(image) == digests[start + row].tobytes()
                for start in range(0, len(entries), BLOCK)
                for row, image in enumerate(pixels[start : start + BLOCK])
            )
    except UserError:  # it is no such file, or damaged
        return False


def _write_shard(
    path: Path,
    manifest: Manifest,
    shape: _Shape,
    load_square: Callable[[Entry], np.ndarray],
    source: str,
    reads_at_once: int | None,
) -> None:
    entries, side = manifest.entries, shape.side
    with create_hdf5(path) as file:
        pixels = file.create_dataset("pixels", (len(entries), side, side, 3), np.uint8)
        digests = np.empty((len(entries), 32), np.uint8)
        block = np.empty((BLOCK, side, side, 3), np.uint8)
        squares = thread_map(load_square, entries, f"resizing to {side} px", reads_at_once)
        for row, image in enumerate(squares):
            block[row % BLOCK] = image
            digests[row] = np.frombuffer(pixel_digest(image), np.uint8)
            if row % BLOCK == BLOCK - 1 or row == len(entries) - 1:
                first = row - row % BLOCK
                pixels[first : row + 1] = block[: row + 1 - first]
        file.create_dataset("digest", data=digests)
        sizes = np.array([(entry.width, entry.height) for entry in entries], np.int64)
        file.create_dataset("size", data=sizes.reshape(-1, 2))
        width = max(map(len, SPLITS))
        splits = np.array([entry.split for entry in entries], f"S{width}")
        file.create_dataset("split", data=splits)
        file.create_dataset("box", data=_padded_boxes(entries, shape))
        labels = [UNLABELED if entry.label is None else entry.label for entry in entries]
        examples = Examples(
            [entry.id for entry in entries], np.array(labels, np.int64), manifest.classes
        )
        write_examples(file, examples)
        contents = describe_contents(examples, splits.astype(str), digests, shape.splits)
        write_json(file, "contents", contents)
        write_json(file, "splits", shape.splits)
        write_json(file, "source", source)


def to_square(pixels: np.ndarray, side: int, fit: Fit) -> np.ndarray:
    """Resizes [H, W, 3] uint8 to [side, side, 3] with antialiased bilinear interpolation.

    The pixels of an image of that size stay as they are.
    """
    height, width, _ = pixels.shape
    left, top, right, bottom = _region(width, height, fit)
    region = np.ascontiguousarray(pixels[top:bottom, left:right])
    if region.shape[:2] == (side, side):
        return region
    return np.asarray(Image.fromarray(region).resize((side, side), Image.Resampling.BILINEAR))


def shrink_to_square(pixels: np.ndarray, max_side: int) -> np.ndarray:
    """Cuts the central square of [H, W, 3] uint8 and scales it down to at most `max_side` px.

    A smaller image keeps its size, as in the pipeline: the runtime enlarges it.
    """
    return to_square(pixels, min(max_side, *pixels.shape[:2]), "crop")


def stored_boxes(entry: Entry, side: int, fit: Fit) -> np.ndarray:
    """Returns the entry's boxes in the stored image, clipped to it: [K, 4] float32.

    Boxes of which nothing is left are left out.
    """
    left, top, right, bottom = _region(entry.width, entry.height, fit)
    boxes = np.array(entry.boxes, np.float64).reshape(-1, 4)
    boxes[:, 0::2] = (boxes[:, 0::2] - left) * side / (right - left)
    boxes[:, 1::2] = (boxes[:, 1::2] - top) * side / (bottom - top)
    boxes = boxes.clip(0, side).astype(np.float32)
    return boxes[(boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])]


def _padded_boxes(entries: list[Entry], shape: _Shape) -> np.ndarray:
    """Returns the boxes of all entries: [N, K, 4] float32, NaN for none."""
    padded = np.full((len(entries), shape.boxes, 4), np.nan, np.float32)
    for row, entry in zip(padded, entries, strict=True):
        own = stored_boxes(entry, shape.side, shape.fit)
        row[: len(own)] = own
    return padded


def _region(width: int, height: int, fit: Fit) -> tuple[int, int, int, int]:
    """Returns the part of an image that is stored: left, top, right, bottom in px."""
    if fit == "stretch":
        return 0, 0, width, height
    short = min(width, height)
    left, top = (width - short) // 2, (height - short) // 2
    return left, top, left + short, top + short


def pixel_digest(pixels: np.ndarray) -> bytes:
    """Returns the SHA-256 of an image's shape and bytes, which identifies it in feature caches."""
    return sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
