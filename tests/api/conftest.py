"""One extractor for all tests of the library, and small images cut from the photographs."""

import numpy as np
import pytest

import headstart as hs
from headstart.api.extractor import ExtractedFeatures
from headstart.core.sample_photographs import photograph

NAMES = ("astronaut", "chelsea", "coffee", "rocket")
PATCHES = 10


def patches(name: str, count: int = PATCHES, side: int = 64) -> np.ndarray:
    """[count, side, side, 3] uint8: squares of a photograph that don't overlap."""
    pixels = photograph(name)
    columns = pixels.shape[1] // side
    corners = [(i // columns * side, i % columns * side) for i in range(count)]
    return np.stack([pixels[top : top + side, left : left + side] for top, left in corners])


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
