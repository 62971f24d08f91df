"""One extractor for all tests of the library, and small images of four textures."""

import numpy as np
import pytest

import headstart as hs
from headstart.api.extractor import ExtractedFeatures

NAMES = ("bark", "brick", "cloud", "water")
PATCHES = 10


def patches(name: str, count: int = PATCHES, side: int = 64) -> np.ndarray:
    """[count, side, side, 3] uint8: waves with the color, direction and length of the texture."""
    texture = NAMES.index(name)
    color = np.roll([1.0, 0.5, 0.2], texture)
    y, x = np.mgrid[:side, :side]
    found = []
    for number in range(count):
        rng = np.random.default_rng([texture, number])
        angle = texture * np.pi / 4 + rng.normal(0, 0.1)
        phase = (
            2 * np.pi * ((x * np.cos(angle) + y * np.sin(angle)) / (8 + 6 * texture) + rng.random())
        )
        light = 128 + 80 * np.sin(phase)[..., None] * color + 20 * color
        found.append(light + rng.normal(0, 10, (side, side, 3)))
    return np.stack(found).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """[40, 64, 64, 3] uint8."""
    return np.concatenate([patches(name) for name in NAMES])


@pytest.fixture(scope="session")
def labels() -> list[str]:
    return [name for name in NAMES for _ in range(PATCHES)]


@pytest.fixture(scope="session")
def extractor(tmp_path_factory: pytest.TempPathFactory) -> hs.Extractor:
    return hs.Extractor("bundled", cache=tmp_path_factory.mktemp("cache"), device="cpu")


@pytest.fixture(scope="session")
def train(extractor: hs.Extractor, images: np.ndarray, labels: list[str]) -> ExtractedFeatures:
    return extractor(images, labels)


@pytest.fixture(scope="session")
def classifier(train: ExtractedFeatures) -> hs.Classifier:
    return hs.RidgeHead().fit(train)
