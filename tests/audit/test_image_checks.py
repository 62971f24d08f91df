import numpy as np

from headstart.audit.image_checks import (
    dark_images,
    flat_images,
    odd_shapes,
    small_classes,
    tiny_images,
)


def test_dark_and_flat_images_are_told_apart():
    rng = np.random.default_rng(0)
    thumbnails = rng.integers(0, 256, size=(6, 32, 32), dtype=np.uint8)
    thumbnails[1] = rng.integers(0, 12, size=(32, 32))
    thumbnails[2] = 200
    thumbnails[3] = 3
    thumbnails[4, :16] = 0  # half black is neither
    assert [image.position for image in dark_images(thumbnails)] == [1, 3]
    assert [image.position for image in flat_images(thumbnails)] == [2]
    assert flat_images(thumbnails)[0].score == 1


def test_tiny_images_are_small_and_unusual():
    sizes = np.array([[500, 333]] * 9 + [[30, 400]])
    assert [image.position for image in tiny_images(sizes)] == [9]
    assert tiny_images(np.full((10, 2), 20)) == []


def test_odd_shapes():
    found = odd_shapes(np.array([[300, 300], [900, 300], [901, 300], [300, 1200]]))
    assert [(image.position, round(image.score, 2)) for image in found] == [(2, 3.0), (3, 4.0)]


def test_classes_with_few_training_images():
    labels = np.repeat([0, 1, 2], [1000, 900, 40])
    assert small_classes(labels, 4) == [(2, 40), (3, 0)]
    assert small_classes(np.repeat([0, 1], 25), 2) == []
