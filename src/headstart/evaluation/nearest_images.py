"""The nearest training images of an image: those whose features point in the same direction."""

import numpy as np
from tqdm import tqdm

from headstart.store.features import Features
from headstart.store.nearest_images import NearestImages
from headstart.store.views import WHOLE

NEIGHBORS = 5

TRAIN_BLOCK, VAL_BLOCK = 4096, 1024
"""Images whose similarities are computed at a time: 16 MB of float32."""


def nearest_images(train: Features, val: Features, count: int = NEIGHBORS) -> NearestImages:
    """Returns the `count` training images with the highest cosine similarity to each image of val.

    Only whole views are compared. The values may be on disk: two blocks of them are in memory at a
    time.
    """
    count = min(count, len(train.examples))
    n = len(val.examples)
    nearest = np.zeros((n, count), np.int64)
    similarity = np.full((n, count), -np.inf, np.float32)
    starts = range(0, len(train.examples), TRAIN_BLOCK)
    for start in tqdm(starts, "nearest images", mininterval=1, delay=1, leave=None):
        bank = _unit_rows(train, slice(start, start + TRAIN_BLOCK))
        for first in range(0, n, VAL_BLOCK):
            rows = slice(first, first + VAL_BLOCK)
            cosine = _unit_rows(val, rows) @ bank.T  # [B, b]
            every = np.hstack([similarity[rows], cosine])
            positions = np.broadcast_to(np.arange(start, start + len(bank)), cosine.shape)
            candidates = np.hstack([nearest[rows], positions])
            # Only the few that are kept are sorted.
            kept = np.argpartition(-every, count - 1, axis=1)[:, :count]
            order = np.argsort(-np.take_along_axis(every, kept, axis=1), axis=1)
            kept = np.take_along_axis(kept, order, axis=1)
            similarity[rows] = np.take_along_axis(every, kept, axis=1)
            nearest[rows] = np.take_along_axis(candidates, kept, axis=1)
    return NearestImages(val.examples.ids, np.array(train.examples.ids)[nearest], similarity)


def _unit_rows(features: Features, rows: slice) -> np.ndarray:
    """The whole views of the images at `rows`, [B, D] float32, each of length 1."""
    x = features.values[rows][:, features.views.index(WHOLE.name)].astype(np.float32)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), np.finfo(np.float32).tiny)
