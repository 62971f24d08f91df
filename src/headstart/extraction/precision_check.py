"""Compares the features of two precisions on a sample of the images."""

import numpy as np

from headstart.extraction.view_rendering import render_view
from headstart.runtime.runtimes import Runtime, extract_array
from headstart.store.images import Images
from headstart.store.views import WHOLE

IMAGES = 32


def median_cosine(images: Images, one: Runtime, other: Runtime) -> float:
    """Returns the median cosine similarity between the features of two runtimes.

    It is measured on the whole view of at most 32 images, evenly spaced over the dataset.
    """
    count = min(IMAGES, len(images.pixels))
    sample = np.unique(np.linspace(0, len(images.pixels) - 1, count).astype(int))
    rendered = np.stack([render_view(image, WHOLE) for image in images.pixels[sample]])
    a, b = (extract_array(runtime, rendered) for runtime in (one, other))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(np.median((a * b).sum(axis=1) / norms))
