"""What computing in less than float32 costs, measured on the images at hand."""

import numpy as np

from headstart.extraction.view_rendering import render_view
from headstart.runtime.runtimes import Runtime, extract_array
from headstart.store.images import Images
from headstart.store.views import WHOLE

IMAGES = 32


def median_cosine(images: Images, one: Runtime, other: Runtime) -> float:
    """The median cosine between the features that two runtimes give an image.

    Of at most 32 images, whole, from all over the dataset.
    """
    count = min(IMAGES, len(images.pixels))
    chosen = np.unique(np.linspace(0, len(images.pixels) - 1, count).astype(int))
    shown = np.stack([render_view(image, WHOLE) for image in images.pixels[chosen]])
    a, b = (extract_array(runtime, shown) for runtime in (one, other))
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float(np.median((a * b).sum(axis=1) / lengths))
