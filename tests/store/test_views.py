"""Views: the ten crops against torchvision, and properties of every view."""

import numpy as np
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torchvision.transforms import v2

from headstart.extraction.view_rendering import crop_box, render_view
from headstart.store.views import CROPS, TEN_CROP, WHOLE, Crop, View, random_view

image_64 = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)

views = st.builds(
    View,
    crop=st.sampled_from(CROPS),
    mirrored=st.booleans(),
    brightness=st.floats(-0.2, 0.2),
    contrast=st.floats(0.5, 1.5),
)


def test_the_ten_crops_are_torchvisions_but_for_the_whole_image_as_the_center() -> None:
    torch_image = torch.from_numpy(image_64).permute(2, 0, 1)
    # torchvision: four corners and the center, then the same of the mirrored image.
    expected = [crop.permute(1, 2, 0).numpy() for crop in v2.TenCrop(56)(torch_image)]
    ours = {view.name: render_view(image_64, view) for view in TEN_CROP}
    corners = ["top_left", "top_right", "bottom_left", "bottom_right"]
    # Mirroring swaps left and right: the mirror of our left crop is the mirrored image's right one.
    mirrored = ["top_right+mirror", "top_left+mirror", "bottom_right+mirror", "bottom_left+mirror"]
    for name, crop in zip(corners, expected[:4], strict=True):
        np.testing.assert_array_equal(ours[name], crop)
    for name, crop in zip(mirrored, expected[5:9], strict=True):
        np.testing.assert_array_equal(ours[name], crop)
    np.testing.assert_array_equal(ours["whole"], image_64)
    np.testing.assert_array_equal(ours["whole+mirror"], image_64[:, ::-1])


def test_the_first_view_is_the_whole_image_and_all_ten_differ() -> None:
    assert TEN_CROP[0] == WHOLE
    assert len({view.name for view in TEN_CROP}) == 10


@given(st.sampled_from(CROPS), st.integers(8, 400))
def test_a_crop_lies_inside_and_a_corner_crop_touches_its_corner(crop: Crop, side: int) -> None:
    top, left, cut = crop_box(crop, side)
    assert 0 <= top <= top + cut <= side
    assert 0 <= left <= left + cut <= side
    assert cut == (side if crop == "whole" else round(side * 7 / 8))
    assert (top == 0) == (crop != "bottom_left" and crop != "bottom_right")
    assert (left == 0) == (crop != "top_right" and crop != "bottom_right")


@given(views)
@example(View("top_right", False, 0.0080948625899801, 1.4645329917343504))
def test_mirroring_commutes_with_brightness_and_contrast(view: View) -> None:
    mirror = View(view.crop, not view.mirrored, view.brightness, view.contrast)
    np.testing.assert_array_equal(
        render_view(image_64, mirror), render_view(image_64, view)[:, ::-1]
    )


@given(views, views)
def test_names_are_equal_exactly_for_equal_views(one: View, other: View) -> None:
    assert (one.name == other.name) == (one == other)


def test_brightness_then_contrast_about_each_channels_mean() -> None:
    gray = np.full((4, 4, 3), 100, np.uint8)
    gray[0, 0] = 150
    rendered = render_view(gray, View(brightness=51 / 255, contrast=0.5))
    mean = (15 * 151 + 201) / 16
    assert rendered[0, 0, 0] == round(mean + 0.5 * (201 - mean))
    assert rendered[1, 1, 0] == round(mean + 0.5 * (151 - mean))


@given(st.binary(min_size=32, max_size=32), st.integers(0, 50))
def test_augmented_views_are_the_same_everywhere_and_within_their_ranges(
    digest: bytes, index: int
) -> None:
    view = random_view(digest, index)
    assert view == random_view(digest, index)
    assert abs(view.brightness) <= 32 / 255 + 1e-4
    assert 0.5 <= view.contrast <= 1.5


def test_augmented_views_vary_over_images_and_indices() -> None:
    distinct = {random_view(bytes([i]) * 32, k) for i in range(20) for k in range(5)}
    assert len(distinct) == 100
    assert {view.crop for view in distinct} == set(CROPS)
    assert {view.mirrored for view in distinct} == {True, False}


def test_one_recorded_augmented_view() -> None:
    """Cached rows are addressed by views: a change here would silently make them all unused."""
    assert random_view(bytes(32), 0).name == "bottom_right+b-0.0683c1.1945"
