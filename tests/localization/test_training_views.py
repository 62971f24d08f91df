import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headstart.localization.training_views import LEAST_VISIBLE, SMALLEST_CROP, random_crop

SIDE = 20


@given(st.lists(st.tuples(*[st.integers(0, SIDE)] * 4), min_size=1, max_size=3), st.integers(0, 99))
def test_a_box_lies_where_its_pixels_go(corners, seed):
    boxes = np.array([[*sorted(c[:2]), *sorted(c[2:])] for c in corners], float)[:, [0, 2, 1, 3]]
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
    boxes = boxes.clip(0, SIDE)
    boxes[:, :2] = np.minimum(boxes[:, :2], SIDE - 1)
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    x0, y0, x1, y1 = boxes[0].astype(int)
    pixels[y0:y1, x0:x1] = 255
    crop, shown = random_crop(pixels, boxes, np.random.default_rng(seed))
    side = len(crop)
    assert crop.shape == (side, side, 3)
    assert SMALLEST_CROP * SIDE <= side <= SIDE
    expected = np.zeros_like(crop)
    x0, y0, x1, y1 = shown[0].astype(int)
    expected[y0:y1, x0:x1] = 255
    np.testing.assert_array_equal(crop, expected)
    areas, before = ((b[:, 2:] - b[:, :2]).prod(1) for b in (shown, boxes))
    assert (areas >= LEAST_VISIBLE * before).all()


def test_crops_differ_and_half_of_them_are_mirrored():
    pixels = np.tile(np.arange(SIDE, dtype=np.uint8)[:, None], (SIDE, 1, 3))
    rng = np.random.default_rng(0)
    crops = [random_crop(pixels, np.array([[8.0, 8, 12, 12]]), rng)[0] for _ in range(400)]
    assert {len(crop) for crop in crops} == set(range(14, 21))
    assert 150 < sum(int(crop[0, 0, 0]) > int(crop[0, -1, 0]) for crop in crops) < 250
