"""The embedded dataset: classify from which photograph a 64 x 64 patch was cut.

The sixteen photographs ship with scikit-learn and scikit-image; each is a class. Each is cut into a
grid of patches that do not overlap, so that no pixel is in two splits. Patches of a single color
are left out, because identical patches would be in several splits.

The brightness and color of each patch are changed at random, by up to one stop and a color cast.
Otherwise a photograph's exposure and white balance, which all of its patches share, would be enough
to recognize it. The task isn't trivial: brick, grass and gravel are similar gray textures, and a
patch of sky, wall or night shows little.

A hash of a patch's name assigns it to train (3/8), val (9/16) or test (1/16); train, tune and val
therefore have the same distribution, as in Tiny ImageNet. A photograph yields at most 64 patches
(two small ones 24 and 28), so that the classes are nearly balanced and training images are few, as
in typical uses of transfer learning.
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
"""Largest change of a patch's brightness, in stops (powers of two)."""
CAST = 0.6
"""Largest further change of each channel, in stops."""


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
    ids = shuffled(filter(_has_several_colors, grid), seed=0)[:PATCHES_PER_PHOTOGRAPH]
    test = round(TEST_FRACTION * len(ids))
    val = test + round(VAL_FRACTION * len(ids))
    return [
        *(Record(id_, label, "test") for id_ in ids[:test]),
        *(Record(id_, label, "val") for id_ in ids[test:val]),
        *(Record(id_, label, "train") for id_ in ids[val:]),
    ]


def region(id_: str) -> tuple[str, int, int]:
    """Returns where a patch was cut: the photograph's name, the patch's left and top in px."""
    name, _, corner = id_.removesuffix(".png").partition("/")
    x, y = corner.split("_")
    return name, int(x[1:]), int(y[1:])


def illumination(id_: str) -> np.ndarray:
    """Returns the factors on a patch's channels, [3], drawn by a hash of its name."""
    uniform = np.frombuffer(sha256(f"light/{id_}".encode()).digest()[:16], "<u4") / 2**31 - 1  # [4]
    return 2 ** (EXPOSURE * uniform[0] + CAST * uniform[1:])


def _patch(id_: str) -> np.ndarray:
    name, x, y = region(id_)
    pixels = photograph(name)[y : y + SIDE, x : x + SIDE] * illumination(id_)
    return pixels.round().clip(0, 255).astype(np.uint8)


def _has_several_colors(id_: str) -> bool:
    pixels = _patch(id_)
    return bool((pixels != pixels[0, 0]).any())


def _read(id_: str) -> bytes:
    file = io.BytesIO()
    # Uncompressed: the tune split depends on the bytes, and those of zlib differ between its
    # builds.
    Image.fromarray(_patch(id_)).save(file, "PPM")
    return file.getvalue()
