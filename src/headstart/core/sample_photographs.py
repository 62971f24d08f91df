"""The photographs that ship with scikit-image and scikit-learn."""

from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from headstart.core.errors import UserError

# Read as files: `skimage.data`'s functions download photographs that a release no longer ships.
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


@cache
def photograph(name: str) -> np.ndarray:
    """Returns a photograph's pixels: [H, W, 3] uint8 RGB.

    name: a key of PHOTOGRAPHS.

    Raises:
        UserError: the installed library lacks the photograph.
    """
    library, relative_path = PHOTOGRAPHS[name]
    spec = find_spec(library)
    assert spec is not None
    assert spec.origin is not None
    try:
        with Image.open(Path(spec.origin).parent / relative_path) as image:
            return np.array(image.convert("RGB"))
    except FileNotFoundError:
        distribution = {"skimage": "scikit-image", "sklearn": "scikit-learn"}[library]
        raise UserError(
            f"{distribution} {version(distribution)} has no {relative_path}; "
            "run `uv sync` to install the version that has"
        ) from None
