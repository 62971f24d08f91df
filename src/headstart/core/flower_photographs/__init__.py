"""The embedded photographs: 500 of TensorFlow's `flower_photos`, 100 of each of five flowers.

`scripts.embed_flowers` makes ARCHIVE, and beside it ATTRIBUTION.tsv and LICENSE.txt, which it also
holds. The photographs are CC-BY 2.0: their photographers are named wherever the photographs go.
"""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

ARCHIVE = Path(__file__).with_name("flower_photos-500.zip")
IMAGE_SUFFIX = ".webp"


def sample_photographs(stride: int) -> Iterator[np.ndarray]:
    """Yields every `stride`-th photograph in the order of their names: [H, W, 3] uint8 sRGB."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(IMAGE_SUFFIX))
        for name in names[::stride]:
            with Image.open(io.BytesIO(archive.read(name))) as image:
                yield np.array(image.convert("RGB"))
