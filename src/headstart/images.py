"""images.h5: every image once, square and of one size, as the backbones will see it.

/pixels [N, S, S, 3] uint8    /digest [N, 32] uint8    /split [N] bytes    /box [N, 4] float32
and the columns of headstart.h5: /id, /label, /classes
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
from PIL import Image

from headstart import h5
from headstart.decode import BadImage, decode
from headstart.errors import UserError
from headstart.h5 import UNLABELLED, Examples
from headstart.manifest import SPLITS, Entry, Manifest, Split
from headstart.parallel import mapped

BLOCK = 128
"""Images written at once: 34 MB of 299 px."""

Fit = Literal["crop", "stretch"]


@dataclass(frozen=True)
class Images:
    """An open images.h5.

    pixels: [N, S, S, 3] uint8, on disk: slice it. digests: [N, 32] uint8. splits: [N] names.
    boxes: [N, 4] float32, x0, y0, x1, y1 in stored px, NaN where there is none.
    """

    pixels: h5py.Dataset
    digests: np.ndarray
    splits: np.ndarray
    boxes: np.ndarray
    examples: Examples

    def __len__(self) -> int:
        return len(self.examples)

    def rows(self, split: Split) -> np.ndarray:
        """The positions of a split's images, ascending: [M] int64."""
        return np.flatnonzero(self.splits == split)


@contextmanager
def open_images(path: Path) -> Iterator[Images]:
    """The images at `path`, as long as the block lasts.

    Raises:
        UserError: the file is missing or was not written by `resize`.
    """
    with h5.open_existing(path) as file:
        yield Images(
            pixels=h5.dataset(file, "pixels"),
            digests=h5.dataset(file, "digest")[:],
            splits=h5.dataset(file, "split")[:].astype(str),
            boxes=h5.dataset(file, "box")[:],
            examples=h5.read_examples(file),
        )


def write(
    path: Path,
    manifest: Manifest,
    read: Callable[[str], bytes],
    size: int,
    fit: Fit,
    max_pixels: int,
) -> int:
    """Stores the manifest's images, in its order; returns their side in px.

    read: an id to the encoded image, as `datasets.Dataset.read`. Memory doesn't grow with N.

    Raises:
        UserError: an image isn't any more what it was when the manifest was made.
    """
    entries = manifest.entries
    side = stored_side(entries, size)

    def stored(entry: Entry) -> np.ndarray:
        try:
            pixels = decode(read(entry.id), max_pixels)
        except BadImage as bad:
            raise UserError(f"{entry.id}: {bad}, since `prepare` ran; run it again") from None
        if pixels.shape[:2] != (entry.height, entry.width):
            raise UserError(f"{entry.id} has changed since `prepare` ran; run it again")
        return to_square(pixels, side, fit)

    with h5.create(path) as file:
        pixels = file.create_dataset("pixels", (len(entries), side, side, 3), np.uint8)
        digests = np.empty((len(entries), 32), np.uint8)
        block = np.empty((BLOCK, side, side, 3), np.uint8)
        for row, image in enumerate(mapped(stored, entries, f"resizing to {side} px")):
            block[row % BLOCK] = image
            digests[row] = np.frombuffer(digest(image), np.uint8)
            if row % BLOCK == BLOCK - 1 or row == len(entries) - 1:
                first = row - row % BLOCK
                pixels[first : row + 1] = block[: row + 1 - first]
        file.create_dataset("digest", data=digests)
        width = max(map(len, SPLITS))
        file.create_dataset("split", data=np.array([e.split for e in entries], f"S{width}"))
        boxes = np.array([stored_box(entry, side, fit) for entry in entries], np.float32)
        file.create_dataset("box", data=boxes.reshape(-1, 4))
        labels = [UNLABELLED if entry.label is None else entry.label for entry in entries]
        h5.write_examples(
            file, Examples([e.id for e in entries], np.array(labels, np.int64), manifest.classes)
        )
    return side


def stored_side(entries: list[Entry], size: int) -> int:
    """`size`, or the largest short side if that is less: nobody stores interpolated pixels."""
    return min(size, max(min(entry.width, entry.height) for entry in entries))


def to_square(pixels: np.ndarray, side: int, fit: Fit) -> np.ndarray:
    """[H, W, 3] uint8 to [side, side, 3]: bilinear, with a support that grows as the image shrinks.

    What has that side already stays untouched.
    """
    height, width, _ = pixels.shape
    left, top, right, bottom = _region(width, height, fit)
    kept = np.ascontiguousarray(pixels[top:bottom, left:right])
    if kept.shape[:2] == (side, side):
        return kept
    return np.asarray(Image.fromarray(kept).resize((side, side), Image.Resampling.BILINEAR))


def stored_box(entry: Entry, side: int, fit: Fit) -> np.ndarray:
    """The entry's box where `to_square` puts it, cut at the edges: [4], NaN if nothing is left."""
    if entry.box is None:
        return np.full(4, np.nan)
    left, top, right, bottom = _region(entry.width, entry.height, fit)
    x0, y0, x1, y1 = entry.box
    x = np.clip((np.array([x0, x1]) - left) * side / (right - left), 0, side)
    y = np.clip((np.array([y0, y1]) - top) * side / (bottom - top), 0, side)
    if x[0] >= x[1] or y[0] >= y[1]:
        return np.full(4, np.nan)
    return np.array([x[0], y[0], x[1], y[1]])


def _region(width: int, height: int, fit: Fit) -> tuple[int, int, int, int]:
    """What of an image is kept: left, top, right, bottom in px."""
    if fit == "stretch":
        return 0, 0, width, height
    short = min(width, height)
    left, top = (width - short) // 2, (height - short) // 2
    return left, top, left + short, top + short


def digest(pixels: np.ndarray) -> bytes:
    """SHA-256 of an image's shape and bytes: the content that features are cached under."""
    return sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
