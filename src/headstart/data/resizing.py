"""Writes images.h5: every image of the manifest, square and of one size.

/pixels [N, S, S, 3] uint8    /digest [N, 32] uint8    /split [N] bytes
/box [N, K, 4] float32, where K is the largest number of boxes of an image, NaN behind its last one
and the examples (`store.examples`): /id, /label, /classes
"""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from headstart.core.errors import UserError
from headstart.core.hdf5_files import create_hdf5
from headstart.core.thread_map import thread_map
from headstart.data.decoding import UnreadableImageError, decode
from headstart.data.manifest import Entry, Manifest
from headstart.store.examples import SPLITS, UNLABELED, Examples, write_examples

BLOCK = 128
"""Number of images written at once: 34 MB at 299 px."""

Fit = Literal["crop", "stretch"]


def write_images(
    path: Path,
    manifest: Manifest,
    read: Callable[[str], bytes],
    max_side: int,
    fit: Fit,
    max_pixels: int,
    reads_at_once: int | None = None,
) -> int:
    """Writes the manifest's images in its order; returns their side in px.

    Memory doesn't grow with the number of images.
    read, reads_at_once: as those of `datasets.Dataset`. max_side: in px. fit: crop the center
    square or stretch the image. max_pixels: limit on an image's pixels.

    Raises:
        UserError: an image has changed since the manifest was made.
    """
    entries = manifest.entries
    side = stored_side(entries, max_side)

    def load_square(entry: Entry) -> np.ndarray:
        try:
            pixels = decode(read(entry.id), max_pixels)
        except UnreadableImageError as error:
            raise UserError(f"{entry.id}: {error}, since `prepare` ran; run it again") from None
        if pixels.shape[:2] != (entry.height, entry.width):
            raise UserError(f"{entry.id} has changed since `prepare` ran; run it again")
        return to_square(pixels, side, fit)

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
        file.create_dataset("split", data=np.array([e.split for e in entries], f"S{width}"))
        file.create_dataset("box", data=_stored_boxes(entries, side, fit))
        labels = [UNLABELED if entry.label is None else entry.label for entry in entries]
        write_examples(
            file, Examples([e.id for e in entries], np.array(labels, np.int64), manifest.classes)
        )
    return side


def stored_side(entries: list[Entry], max_side: int) -> int:
    """Returns `max_side`, or the largest short side if that is less: enlarging adds no detail."""
    return min(max_side, max(min(entry.width, entry.height) for entry in entries))


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


def _stored_boxes(entries: list[Entry], side: int, fit: Fit) -> np.ndarray:
    """Returns the boxes of all entries: [N, K, 4] float32, at least one column, NaN for none."""
    boxes = [stored_boxes(entry, side, fit) for entry in entries]
    padded = np.full((len(boxes), max(1, *map(len, boxes)), 4), np.nan, np.float32)
    for row, own in zip(padded, boxes, strict=True):
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
