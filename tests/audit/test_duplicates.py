import numpy as np

from headstart.audit.duplicates import Pair, duplicate_groups, find_duplicates
from headstart.audit.neighbors import find_neighbors


def pictures(n: int, seed: int = 0) -> np.ndarray:
    """Smooth random gray pictures [n, 32, 32]."""
    coarse = np.random.default_rng(seed).uniform(0, 200, size=(n, 4, 4))
    return coarse.repeat(8, axis=1).repeat(8, axis=2).astype(np.uint8)


def rows_of(thumbnails: np.ndarray, seed: int = 0) -> np.ndarray:
    """Directions that hardly change with brightness or mirroring, as a network's features."""
    gray = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    both = gray + thumbnails[:, :, ::-1].reshape(len(thumbnails), -1)
    both -= both.mean(axis=1, keepdims=True)
    return both / np.linalg.norm(both, axis=1, keepdims=True)


def digests(thumbnails: np.ndarray) -> np.ndarray:
    """Equal where the pictures are equal, [N, 32]."""
    return thumbnails[:, ::8, ::8].reshape(len(thumbnails), -1)[:, :32]


def test_finds_brightened_mirrored_and_identical_pictures_and_no_others():
    originals = pictures(300)
    brightened = (originals[10] * 1.2).clip(0, 255).astype(np.uint8)
    planted = np.stack([brightened, originals[20, :, ::-1], originals[30]])
    thumbnails = np.concatenate([originals, planted])
    neighbors = find_neighbors(rows_of(thumbnails), 5)
    found = find_duplicates(neighbors, thumbnails, digests(thumbnails))
    assert [pair[:2] for pair in found.pairs] == [(10, 300), (20, 301), (30, 302)]
    assert [pair.identical for pair in found.pairs] == [False, False, True]


def test_similar_features_of_different_pictures_are_no_duplicates():
    thumbnails = pictures(300)
    rows = rows_of(thumbnails)
    rows[1] = rows[0]
    found = find_duplicates(find_neighbors(rows, 5), thumbnails, digests(thumbnails))
    assert found.pairs == []
    assert found.threshold < 0.999


def test_landscapes_that_share_a_gradient_of_light_are_no_duplicates():
    thumbnails = pictures(300)
    haze = np.linspace(220, 80, 32)[None, :, None].repeat(2, axis=0).repeat(32, axis=2)
    haze += np.random.default_rng(1).normal(0, 5, haze.shape)
    thumbnails[:2] = haze.astype(np.uint8)
    gray = thumbnails[:2].reshape(2, -1).astype(float)
    assert np.corrcoef(gray)[0, 1] > 0.95
    rows = rows_of(thumbnails)
    rows[1] = rows[0]
    found = find_duplicates(find_neighbors(rows, 5), thumbnails, digests(thumbnails))
    assert found.pairs == []


def test_many_identical_images_are_paired_with_the_first():
    thumbnails = pictures(50)
    thumbnails[[7, 8, 40]] = thumbnails[3]
    found = find_duplicates(find_neighbors(rows_of(thumbnails), 5), thumbnails, digests(thumbnails))
    identical = [pair[:2] for pair in found.pairs if pair.identical]
    assert identical == [(3, 7), (3, 8), (3, 40)]


def test_groups_are_connected():
    pairs = [Pair(0, 2, 1.0, True), Pair(2, 4, 0.9, False), Pair(1, 3, 0.9, False)]
    groups = duplicate_groups(pairs, 6)
    assert groups[0] == groups[2] == groups[4]
    assert groups[1] == groups[3]
    assert len(set(groups)) == 3
    assert len(set(duplicate_groups([], 3))) == 3
