"""Small image files for tests."""

import io
from pathlib import Path

import numpy as np
from PIL import Image


def noise(width: int = 12, height: int = 9, seed: int = 0) -> np.ndarray:
    """[height, width, 3] uint8."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def encoded(image: Image.Image | np.ndarray, format: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(file, format, **options)
    return file.getvalue()


def put(path: Path, data: bytes | None = None, seed: int = 0) -> None:
    """Writes `data`, or a small picture, to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(noise(seed=seed)) if data is None else data)
