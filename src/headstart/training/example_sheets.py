"""Sheets of pictures: examples of the classes, one image rescaled, one image augmented.

They are Milani's figures 2 and 8 and figure 1 of the tailored-networks paper, for any dataset.
"""

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from headstart.config import Augmentation
from headstart.core.errors import UserError
from headstart.store.image_sheets import ImageSheet
from headstart.store.images import Images
from headstart.training.image_transforms import InputSpec

CLASSES = 6
IMAGES_PER_CLASS = 2
RESCALED_SIDE = 299
"""Inception-v3's input size in px."""


def example_sheets(images: Images, augmentation: Augmentation) -> dict[str, ImageSheet]:
    """Returns the sheets by name: `classes`, `augmentation`, and `rescaling` if images are small.

    All images are of train. augmentation: what to show on the first image of `classes`.

    Raises:
        UserError: train has no images.
    """
    classes = class_sheet(images)
    first = classes.images[0]
    sheets = {"classes": classes, "augmentation": augmentation_sheet(first, augmentation)}
    if len(first) < RESCALED_SIDE:
        sheets["rescaling"] = rescaling_sheet(first)
    return sheets


def class_sheet(images: Images) -> ImageSheet:
    """Returns the first two training images of six classes, evenly spaced, one class per column.

    Raises:
        UserError: train has no images.
    """
    rows = images.rows("train")
    labels = images.examples.labels[rows]
    present = np.unique(labels)
    if not len(present):
        raise UserError("train has no images to show; add some to the dataset")
    shown = present[np.unique(np.linspace(0, len(present) - 1, CLASSES).round().astype(int))]
    by_class = [rows[labels == label] for label in shown]
    names = [images.examples.classes[label].name.split(",")[0] for label in shown]
    chosen = [
        (of_class[min(number, len(of_class) - 1)], name)
        for number in range(IMAGES_PER_CLASS)
        for of_class, name in zip(by_class, names, strict=True)
    ]
    pixels = [images.pixels[int(row)] for row, _ in chosen]
    return ImageSheet(pixels, [name for _, name in chosen], columns=len(shown))


def rescaling_sheet(pixels: np.ndarray) -> ImageSheet:
    """Returns an image [S, S, 3] uint8 as it is, and scaled bilinearly to 299 px."""
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    rescaled = F.interpolate(x, (RESCALED_SIDE, RESCALED_SIDE), mode="bilinear")
    large = rescaled[0].permute(1, 2, 0).round().byte().numpy()
    return ImageSheet([pixels, large], [f"{len(pixels)} px", f"{RESCALED_SIDE} px"], columns=2)


def augmentation_sheet(pixels: np.ndarray, augmentation: Augmentation) -> ImageSheet:
    """Returns an image as it is, after each step of an augmentation alone, and after all, twice.

    Of contrast and gamma both ends of the range are shown; of the others, random values.

    pixels: [S, S, 3] uint8.
    """
    a = augmentation
    steps: list[tuple[str, dict[str, Any]]] = [
        *((f"contrast {value:g}", {"contrast": (value, value)}) for value in a.contrast),
        *((f"γ {value:g}", {"gamma": (value, value)}) for value in a.gamma),
        (f"brightness ± {a.brightness:g}", {"brightness": a.brightness}),
        ("mirrored", {"flip": float(a.flip > 0)}),
        (f"rotation up to {a.rotation:g}°", {"rotation": a.rotation}),
        (f"translation up to {a.translation:g}", {"translation": a.translation}),
    ]
    unchanged = Augmentation(probability=1.0)
    shown = [("original", unchanged)]
    for caption, settings in steps:
        if (step := unchanged.model_copy(update=settings)) != unchanged:
            shown.append((caption, step))
    if len(shown) > 1:
        shown += [("all, at random", augmentation)] * 2
    spec = InputSpec(len(pixels), 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    batch = torch.from_numpy(pixels)[None]
    torch.manual_seed(0)
    images = [spec.train_transform(batch, step)[0] for _, step in shown]
    return ImageSheet(
        [(image * 255).round().byte().permute(1, 2, 0).numpy() for image in images],
        [caption for caption, _ in shown],
        columns=4,
    )
