import socket
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_sample_image

from headstart.core.errors import UserError
from headstart.core.sample_photographs import PHOTOGRAPHS, photograph
from headstart.data.datasets import PhotoPatches
from headstart.data.datasets.photo_patches import SIDE, illumination, region
from headstart.data.decoding import decode

SECTION = PhotoPatches(path=Path("nowhere"))


def test_no_pixel_is_in_two_patches():
    used = {name: np.zeros(photograph(name).shape[:2], int) for name in PHOTOGRAPHS}
    for record in SECTION.load().records:
        name, x, y = region(record.id)
        assert x >= 0
        assert y >= 0
        patch = used[name][y : y + SIDE, x : x + SIDE]
        assert patch.shape == (SIDE, SIDE)
        patch += 1
    assert {int(count.max()) for count in used.values()} == {1}


def test_no_two_patches_look_the_same():
    dataset = SECTION.load()
    contents = [
        decode(dataset.read(record.id), SIDE * SIDE).tobytes() for record in dataset.records
    ]
    assert len(set(contents)) == len(contents)


def test_a_patch_is_what_the_photograph_shows_there():
    dataset = SECTION.load()
    china = load_sample_image("china.jpg")
    seen = 0
    for record in dataset.records:
        name, x, y = region(record.id)
        pixels = decode(dataset.read(record.id), SIDE * SIDE)
        assert pixels.shape == (SIDE, SIDE, 3)
        assert record.label is not None
        assert dataset.classes[record.label].id == name
        if name == "china":
            lit = np.clip(
                np.round(china[y : y + SIDE, x : x + SIDE] * illumination(record.id)), 0, 255
            )
            np.testing.assert_array_equal(pixels, lit)
            seen += 1
    assert seen == 58


def test_each_patch_has_a_light_of_its_own_within_bounds():
    stops = np.log2([illumination(record.id) for record in SECTION.load().records])
    exposure = stops.mean(axis=1)
    assert len(np.unique(stops, axis=0)) == len(stops)
    assert np.abs(stops).max() <= 1.6
    assert np.abs(stops - exposure[:, None]).max() <= 0.8
    assert np.abs(stops.mean(axis=0)).max() < 0.05
    np.testing.assert_allclose(stops.std(axis=0), np.sqrt((1 + 0.6**2) / 3), atol=0.03)


def test_sixteen_nearly_even_classes():
    records = SECTION.load().records
    counts = Counter((record.label, record.split) for record in records)
    small = {list(PHOTOGRAPHS).index(name) for name in ("coins", "chelsea")}
    assert len(PHOTOGRAPHS) == 16
    for label in set(range(16)) - small:
        assert 20 <= counts[label, "train"] <= 24
        assert 30 <= counts[label, "val"] <= 36
        assert counts[label, "test"] >= 3
    for label in small:
        assert counts[label, "train"] >= 8
        assert counts[label, "val"] >= 13
        assert counts[label, "test"] >= 1


def test_is_the_same_everywhere():
    ids = [record.id for record in SECTION.load().records if record.split == "test"]
    assert ids[:2] == ["astronaut/x0128_y0320.png", "astronaut/x0384_y0064.png"]


def test_needs_no_network(monkeypatch: pytest.MonkeyPatch):
    def refused(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "socket", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    photograph.cache_clear()
    dataset = SECTION.load()
    assert dataset.read(dataset.records[0].id)


def test_a_library_that_lost_a_photograph(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(PHOTOGRAPHS, "eagle", ("skimage", "data/eagle.png"))
    with pytest.raises(UserError, match=r"scikit-image .* has no data/eagle\.png; run `uv sync`"):
        SECTION.load()
