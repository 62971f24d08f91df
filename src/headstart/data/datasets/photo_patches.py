"""The embedded dataset: name the photograph that a 64 x 64 patch was cut from.

Sixteen photographs, a class each, lie inside scikit-learn and scikit-image. Each is cut into a grid
of patches that touch and never overlap, so no pixel is in two patches, whatever their splits.
Patches of a single color are left out: the copies of one would stand in several splits.

Each patch is seen under a light of its own, up to a stop brighter or darker and with a cast of
color. Otherwise a photograph's exposure and white balance, the same in all of its patches, would
give it away, and what a patch shows would hardly matter. It isn't trivial: brick, grass and gravel
are gray textures alike, and a patch of sky, wall or night says little.

A hash of its name puts each patch in train (3/8), val (9/16) or test (1/16); train, tune and val
are therefore alike, as in Tiny ImageNet. A photograph gives at most 64 patches (two small ones 24
and 28), so that the classes stay nearly even, and training images are few, as they are where
transfer matters.
"""

import io
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from headstart.config.section import Section
from headstart.core.sample_photographs import PHOTOGRAPHS, photograph
from headstart.data.datasets.base import Dataset, Record
from headstart.data.splits import shuffled
from headstart.store.examples import ClassLabel

SIDE = 64
PATCHES_PER_PHOTOGRAPH = 64
VAL_FRACTION = 9 / 16
TEST_FRACTION = 1 / 16
EXPOSURE = 1.0
"""Stops, powers of two, by which a patch is at most brighter or darker than its photograph."""
CAST = 0.6
"""Stops by which each channel is, beside that."""


class PhotoPatches(Section):
    """The embedded default: patches of the photographs that ship with two libraries.

    path: not read.
    """

    name: Literal["photo_patches"] = "photo_patches"
    path: Path

    def load(self) -> Dataset:
        """Lists the patches of all photographs.

        Raises:
            UserError: an installed library lacks a photograph.
        """
        names = list(PHOTOGRAPHS)
        return Dataset(
            classes=[ClassLabel(name, name.replace("_", " ")) for name in names],
            records=[
                record for label, name in enumerate(names) for record in _records(name, label)
            ],
            read=_read,
        )


def _records(name: str, label: int) -> list[Record]:
    height, width, _ = photograph(name).shape
    grid = [
        f"{name}/x{x:04}_y{y:04}.png"
        for y in range(height % SIDE // 2, height - SIDE + 1, SIDE)
        for x in range(width % SIDE // 2, width - SIDE + 1, SIDE)
    ]
    ids = shuffled(filter(_shows_something, grid), seed=0)[:PATCHES_PER_PHOTOGRAPH]
    test = round(TEST_FRACTION * len(ids))
    val = test + round(VAL_FRACTION * len(ids))
    return [
        *(Record(id_, label, "test") for id_ in ids[:test]),
        *(Record(id_, label, "val") for id_ in ids[test:val]),
        *(Record(id_, label, "train") for id_ in ids[val:]),
    ]


def region(id_: str) -> tuple[str, int, int]:
    """Where a patch was cut: the photograph's name, and the patch's left and top in px."""
    name, _, place = id_.removesuffix(".png").partition("/")
    x, y = place.split("_")
    return name, int(x[1:]), int(y[1:])


def illumination(id_: str) -> np.ndarray:
    """[3] factors on a patch's channels, decided by its name."""
    drawn = np.frombuffer(sha256(f"light/{id_}".encode()).digest()[:16], "<u4") / 2**31 - 1  # [4]
    return 2 ** (EXPOSURE * drawn[0] + CAST * drawn[1:])


def _patch(id_: str) -> np.ndarray:
    name, x, y = region(id_)
    seen = photograph(name)[y : y + SIDE, x : x + SIDE] * illumination(id_)
    return seen.round().clip(0, 255).astype(np.uint8)


def _shows_something(id_: str) -> bool:
    pixels = _patch(id_)
    return bool((pixels != pixels[0, 0]).any())


def _read(id_: str) -> bytes:
    file = io.BytesIO()
    # Uncompressed: compressed bytes differ between builds of zlib, and the tune split follows them.
    Image.fromarray(_patch(id_)).save(file, "PPM")
    return file.getvalue()
