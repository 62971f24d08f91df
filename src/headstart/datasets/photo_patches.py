"""The embedded dataset: name the photograph that a 64 x 64 patch was cut from.

Sixteen photographs, a class each, lie inside scikit-learn and scikit-image. Each is cut into a grid
of patches that touch and never overlap, so no pixel is in two patches, whatever their splits.
Patches of a single colour are left out: the copies of one would stand in several splits. A hash of
its name puts each patch in train (5/8), val (5/16) or test (1/16); train, tune and val are
therefore alike, as in Tiny ImageNet. A photograph gives at most 64 patches (two small ones 24 and
28), so that the classes stay nearly even. It isn't trivial: brick, grass and gravel are gray
textures alike, and a patch of sky, wall or night says little.
"""

import io
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from headstart.datasets.contract import Dataset, Record
from headstart.errors import UserError
from headstart.h5 import ClassLabel
from headstart.params import PhotoPatches
from headstart.splits import shuffled

SIDE = 64
PATCHES_PER_PHOTOGRAPH = 64
VAL_FRACTION = 5 / 16
TEST_FRACTION = 1 / 16

# Files, not `skimage.data`'s functions: those may download what a release no longer ships.
PHOTOGRAPHS: dict[str, tuple[str, str]] = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "brick": ("skimage", "data/brick.png"),
    "camera": ("skimage", "data/camera.png"),
    "chelsea": ("skimage", "data/chelsea.png"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "coffee": ("skimage", "data/coffee.png"),
    "coins": ("skimage", "data/coins.png"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "grass": ("skimage", "data/grass.png"),
    "gravel": ("skimage", "data/gravel.png"),
    "hubble_deep_field": ("skimage", "data/hubble_deep_field.jpg"),
    "ihc": ("skimage", "data/ihc.png"),
    "moon": ("skimage", "data/moon.png"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "retina": ("skimage", "data/retina.jpg"),
    "rocket": ("skimage", "data/rocket.jpg"),
}


def load(section: PhotoPatches) -> Dataset:
    """The patches; `section.path` is not read.

    Raises:
        UserError: an installed library lacks a photograph.
    """
    names = list(PHOTOGRAPHS)
    return Dataset(
        classes=[ClassLabel(name, name.replace("_", " ")) for name in names],
        records=[record for label, name in enumerate(names) for record in _records(name, label)],
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


@cache
def photograph(name: str) -> np.ndarray:
    """[H, W, 3] uint8."""
    library, inside = PHOTOGRAPHS[name]
    spec = find_spec(library)
    assert spec is not None
    assert spec.origin is not None
    try:
        with Image.open(Path(spec.origin).parent / inside) as image:
            return np.array(image.convert("RGB"))
    except FileNotFoundError:
        distribution = {"skimage": "scikit-image", "sklearn": "scikit-learn"}[library]
        raise UserError(
            f"{distribution} {version(distribution)} has no {inside}; "
            "`uv sync` installs the version that has"
        ) from None


def _patch(id_: str) -> np.ndarray:
    name, x, y = region(id_)
    return photograph(name)[y : y + SIDE, x : x + SIDE]


def _shows_something(id_: str) -> bool:
    pixels = _patch(id_)
    return bool((pixels != pixels[0, 0]).any())


def _read(id_: str) -> bytes:
    png = io.BytesIO()
    Image.fromarray(_patch(id_)).save(png, "PNG")
    return png.getvalue()
