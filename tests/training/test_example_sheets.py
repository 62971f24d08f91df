"""The sheets of pictures compared with Pillow and with the definition of contrast."""

import numpy as np
import pytest
from PIL import Image

from headstart import config
from headstart.core.errors import UserError
from headstart.store.image_sheets import ImageSheet, load_sheet, save_sheet
from headstart.store.images import Images
from headstart.training.example_sheets import (
    augmentation_sheet,
    class_sheet,
    example_sheets,
    rescaling_sheet,
)
from tests import cases


def images(count: int, split: str = "train", classes: int = 4, side: int = 16) -> Images:
    pixels = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)
    return Images(
        pixels,  # pyright: ignore[reportArgumentType]
        np.zeros((count, 32), np.uint8),
        np.full(count, split),
        np.full((count, 4), np.nan, np.float32),
        cases.examples(count, classes),
    )


def test_two_images_of_each_of_six_classes():
    of = images(40, classes=16)
    sheet = class_sheet(of)
    assert (len(sheet.images), sheet.columns) == (12, 6)
    shown = [of.examples.classes[label].name.split(",")[0] for label in (0, 3, 6, 9, 12, 15)]
    assert sheet.captions == shown * 2
    for column, label in enumerate((0, 3, 6, 9, 12, 15)):
        first, second = np.flatnonzero(of.examples.labels == label)[:2]
        assert np.array_equal(sheet.images[column], of.pixels[first])
        assert np.array_equal(sheet.images[6 + column], of.pixels[second])


def test_rescaling_is_pillows_bilinear():
    pixels = images(1).pixels[0]
    small, large = rescaling_sheet(pixels).images
    assert np.array_equal(small, pixels)
    expected = np.asarray(Image.fromarray(pixels).resize((299, 299), Image.Resampling.BILINEAR))
    assert np.abs(large.astype(int) - expected).max() <= 1


def test_each_step_of_the_augmentation_is_shown_alone():
    pixels = images(1).pixels[0]
    augmentation = config.Augmentation(flip=0.5, contrast=(0.5, 1.0), rotation=15)
    sheet = augmentation_sheet(pixels, augmentation)
    by_caption = dict(zip(sheet.captions, sheet.images, strict=True))
    assert list(by_caption) == [
        *("original", "contrast 0.5", "mirrored", "rotation up to 15°", "all, at random")
    ]
    assert np.array_equal(by_caption["original"], pixels)
    assert np.array_equal(by_caption["mirrored"], pixels[:, ::-1])
    mean = pixels.mean((0, 1))
    grayer = mean + 0.5 * (pixels - mean)
    assert np.abs(by_caption["contrast 0.5"] - grayer).max() <= 0.51
    again = augmentation_sheet(pixels, augmentation)
    assert all(map(np.array_equal, sheet.images, again.images))


def test_sheets_are_stored_and_large_images_need_no_rescaling(tmp_path):
    sheets = example_sheets(images(8), config.Augmentation())
    assert list(sheets) == ["classes", "augmentation", "rescaling"]
    assert list(example_sheets(images(8, side=300), config.Augmentation())) == [
        *("classes", "augmentation")
    ]
    assert sheets["augmentation"].captions == ["original"]
    save_sheet(tmp_path / "rescaling.h5", sheets["rescaling"])
    stored: ImageSheet = load_sheet(tmp_path / "rescaling.h5")
    assert (stored.captions, stored.columns) == (["16 px", "299 px"], 2)
    assert all(map(np.array_equal, stored.images, sheets["rescaling"].images))
    with pytest.raises(UserError, match="train has no images to show"):
        example_sheets(images(4, split="val"), config.Augmentation())
