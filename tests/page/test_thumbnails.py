import io
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from headstart.page.thumbnails import SHEET_SIDE, encode_sheets, lay_out_sheets, thumbnail_side


def test_every_image_stands_where_the_layout_says(tmp_path: Path):
    count, side = 1100, 64
    pixels = np.empty((count, 64, 64, 3), np.uint8)
    pixels[:] = np.random.default_rng(0).integers(0, 256, (count, 1, 1, 3))
    rows = np.random.default_rng(1).permutation(count).tolist()
    sheets = lay_out_sheets(0, count, side)
    assert [sheet.count for sheet in sheets] == [1024, 76]
    with h5py.File(tmp_path / "pixels.h5", "w") as file:
        stored = file.create_dataset("pixels", data=pixels)
        encoded = list(encode_sheets(stored, rows, sheets))
        again = list(encode_sheets(stored, rows, sheets))
    assert encoded == again
    for sheet, data in zip(sheets, encoded, strict=True):
        picture = np.asarray(Image.open(io.BytesIO(data)))
        assert max(picture.shape) <= SHEET_SIDE < 8192
        for i in range(sheet.count):
            y, x = (side * (i // sheet.columns), side * (i % sheet.columns))
            mean = picture[y : y + side, x : x + side].mean((0, 1))
            assert np.abs(mean - pixels[rows[sheet.first + i], 0, 0]).mean() < 6  # JPEG's error


def test_larger_images_are_reduced(tmp_path: Path):
    gradient = np.arange(256, dtype=np.uint8)[:, None, None]
    pixels = np.broadcast_to(gradient, (1, 256, 256, 3)).copy()
    with h5py.File(tmp_path / "pixels.h5", "w") as file:
        stored = file.create_dataset("pixels", data=pixels)
        [data] = encode_sheets(stored, [0], lay_out_sheets(0, 1, 64))
    small = np.asarray(Image.open(io.BytesIO(data))).astype(int)
    assert small.shape == (64, 64, 3)
    expected = pixels[0].astype(float).reshape(64, 4, 64, 4, 3).mean((1, 3))
    assert np.abs(small - expected).mean() < 3


@pytest.mark.parametrize(
    ("count", "stored", "side"),
    [
        (1, 299, 192),
        (519, 96, 96),
        (10_000, 299, 64),
        (5_000, 64, 64),
        (40_000, 299, 32),
        (9, 7, 7),
    ],
)
def test_many_thumbnails_are_smaller(count: int, stored: int, side: int):
    assert thumbnail_side(count, stored, 192, 10_000 * 64**2) == side


def test_no_image_has_no_sheet():
    assert lay_out_sheets(3, 0, 64) == []
