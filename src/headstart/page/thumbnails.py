"""Thumbnails of many images, side by side in a few large pictures (sprite sheets)."""

import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import h5py
from PIL import Image

from headstart.core.thread_map import thread_map
from headstart.store.shards import ShardedRows

SHEET_SIDE = 2048
"""The greatest width and height of a sheet in px: a browser decodes it, 16 MB, when it is seen."""

FINE, COARSE = 80, 50
"""Qualities of JPEG for few and for many images. COARSE takes 1.0 KB for a photograph of 64 px.

WebP takes ten times as long at this size, and its filter lets neighbors bleed into each other."""

MANY_PIXELS = 10_000_000
"""The number of px of all sheets from which on they are COARSE."""

BLOCK = 16
"""The side of JPEG's blocks in px, at half the resolution for colors."""


class Sheet(NamedTuple):
    """A sheet of square thumbnails of `side` px, line by line, `columns` in a line.

    first, count: the positions of its images in the list of all images.
    """

    first: int
    count: int
    side: int
    columns: int


def thumbnail_side(count: int, stored_side: int, largest: int, total_pixels: int) -> int:
    """The side in px so that `count` thumbnails have `total_pixels` at most.

    Images are not enlarged, and no thumbnail is larger than `largest`. The side is a multiple of
    BLOCK where the images are as large as that, so that no block holds two images.
    """
    side = min(stored_side, largest, int((total_pixels / max(count, 1)) ** 0.5))
    return max(1, side - side % BLOCK if side >= BLOCK else side)


def lay_out_sheets(first: int, count: int, side: int) -> list[Sheet]:
    """The sheets of the `count` images from position `first` on."""
    per_line = SHEET_SIDE // side
    sheets = []
    for start in range(0, count, per_line**2):
        held = min(per_line**2, count - start)
        sheets.append(Sheet(first + start, held, side, min(per_line, held)))
    return sheets


def encode_sheets(
    pixels: h5py.Dataset | ShardedRows, rows: Sequence[int], sheets: Sequence[Sheet]
) -> Iterator[bytes]:
    """Yields each sheet as JPEG.

    pixels: [N, S, S, 3] uint8. rows: the positions in `pixels` of all images of the list.
    """

    many = sum(sheet.count * sheet.side**2 for sheet in sheets) >= MANY_PIXELS
    quality = COARSE if many else FINE

    def encode(sheet: Sheet) -> bytes:
        _, count, side, columns = sheet
        canvas = Image.new("RGB", (columns * side, -(-count // columns) * side))
        for i, row in enumerate(rows[sheet.first : sheet.first + count]):
            picture = Image.fromarray(pixels[row])
            if picture.width != side:
                picture = picture.resize((side, side), Image.Resampling.LANCZOS)
            canvas.paste(picture, (i % columns * side, i // columns * side))
        file = io.BytesIO()
        canvas.save(file, "JPEG", quality=quality, optimize=True)
        return file.getvalue()

    return thread_map(encode, sheets, "thumbnails")
