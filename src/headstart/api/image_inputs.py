"""What a caller may give as images, brought into one form: names, labels, and pixels on demand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

from headstart.core.errors import UserError
from headstart.data.decoding import MAX_PIXELS, UnreadableImageError, convert, decode
from headstart.store.examples import UNLABELED, ClassLabel, Examples

SUPPORTED = (
    "give a list of paths, PIL images or arrays, an array [N, H, W, 3] of uint8, or a torch "
    "Dataset of (image, label) pairs"
)


@dataclass
class ImageInputs:
    """N images that are read one by one.

    ids: [N] the names of the images in messages; paths where there are paths.
    read: reads the image at a position in [0, N): [H, W, 3] uint8. May be called from several
        threads. Raises UnreadableImageError where the image can't be read.
    labels: [N], or None for unlabeled images. Those of a Dataset are None until the image at that
        position has been read.
    class_names: by label, what people call its class.
    """

    ids: list[str]
    read: Callable[[int], np.ndarray]
    labels: list[Any] | None
    class_names: dict[Any, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def numeric_labels(self) -> bool:
        """Whether labels are whole numbers and not text."""
        return self.labels is not None and isinstance(self.labels[0], int)

    def examples(self) -> Examples:
        """The images' names and labels, once all of them have been read.

        Raises:
            UserError: a label is neither text nor a whole number, or some are this and some that.
        """
        return make_examples(self.ids, self.labels, self.class_names)


def gather_inputs(images: Any, labels: Sequence[Any] | None) -> ImageInputs:
    """Brings `images` into the form of ImageInputs; reads none of them but a Dataset's first.

    images: a sequence of paths, PIL images or arrays [H, W, 3] uint8; an array [N, H, W, 3] uint8;
        or a torch Dataset of (image, label) pairs whose images are PIL images or uint8.
    labels: one for each image, text or whole numbers; None for a Dataset, or for unlabeled images.

    Raises:
        UserError: `images` is none of these, there are none, or there are not as many labels.
    """
    if isinstance(images, str | Path):
        raise UserError(
            f"images is one path ('{images}'); give a list of image files, "
            f"for a folder sorted(Path('{images}').rglob('*.jpg'))"
        )
    if not hasattr(images, "__len__") or not hasattr(images, "__getitem__"):
        hint = "; give its `.dataset`" if hasattr(images, "dataset") else f"; {SUPPORTED}"
        raise UserError(f"images is a {type(images).__name__}{hint}")
    if getattr(images, "ndim", None) == 1:
        images = images.tolist()  # a column of a table: its index need not begin at 0
    if len(images) == 0:
        raise UserError("there are no images")
    if labels is not None and len(labels) != len(images):
        raise UserError(f"there are {len(images)} images and {len(labels)} labels; give one each")
    if labels is None and _is_labeled_dataset(images):
        return _from_dataset(images)
    return ImageInputs(_names(images), _make_reader(images), _as_list(labels))


def make_examples(
    ids: list[str], labels: Sequence[Any] | None, class_names: dict[Any, str] | None = None
) -> Examples:
    """Examples whose classes are the distinct `labels`, sorted; unlabeled ones for None.

    Raises:
        UserError: a label is neither text nor a whole number, or some are this and some that.
    """
    values = _as_list(labels)
    if values is None:
        return Examples(ids, np.full(len(ids), UNLABELED, np.int64), [])
    for kind in {type(value) for value in values} - {int, str}:
        raise UserError(f"a label is a {kind.__name__}; give text or whole numbers")
    if len({type(value) for value in values}) > 1:
        raise UserError("some labels are text and some are numbers; give one or the other")
    distinct = sorted(set(values))
    position = {value: index for index, value in enumerate(distinct)}
    names = class_names or {}
    classes = [ClassLabel(str(value), names.get(value, str(value))) for value in distinct]
    return Examples(ids, np.array([position[value] for value in values], np.int64), classes)


def read_pixels(image: Any) -> np.ndarray:
    """One image, a path, a PIL image, an array or a tensor, as [H, W, 3] uint8.

    Gray, transparent and CMYK images become RGB as data/decoding.py says.

    Raises:
        UnreadableImageError: the image can't be read correctly.
        UserError: it is none of these, or holds no pixels of 8 bits.
    """
    if isinstance(image, str | Path):
        try:
            return decode(Path(image).read_bytes(), MAX_PIXELS)
        except OSError as error:
            raise UnreadableImageError(error.strerror or str(error)) from None
    if isinstance(image, Image.Image):
        return convert(image)
    if not hasattr(image, "__array__"):
        raise UserError(f"it is a {type(image).__name__}; {SUPPORTED}")
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8:
        raise UserError(
            f"it is an array of {pixels.dtype}; give pixels of 0 to 255 as uint8, before any "
            f"normalization (for a torch Dataset: without ToTensor and Normalize)"
        )
    if pixels.ndim == 3 and pixels.shape[0] in (1, 3) and pixels.shape[2] not in (1, 3, 4):
        pixels = np.moveaxis(pixels, 0, 2)  # torch keeps channels first
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.size and (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))):
        return convert(Image.fromarray(np.ascontiguousarray(pixels)))
    raise UserError(f"it has shape {list(pixels.shape)}; give [height, width, 3]")


def _names(images: Any) -> list[str]:
    """Paths where all images are paths, and otherwise positions."""
    if isinstance(images, list | tuple) and all(isinstance(item, str | Path) for item in images):
        names = [str(item) for item in images]
        if len(set(names)) == len(names):
            return names
    return [str(position) for position in range(len(images))]


def _as_list(labels: Sequence[Any] | None) -> list[Any] | None:
    """Labels as Python's own values, whatever array, tensor or column of a table they are."""
    if labels is None:
        return None
    return [_as_scalar(label) for label in labels]


def _as_scalar(label: Any) -> Any:
    """A number of numpy or torch as Python's own; other labels as they are."""
    return label.item() if hasattr(label, "item") else label


def _is_labeled_dataset(images: Any) -> bool:
    if isinstance(images, list | tuple | np.ndarray):
        return False
    first = images[0]
    return isinstance(first, tuple | list) and len(first) == 2


def _make_reader(images: Any) -> Callable[[int], np.ndarray]:
    if isinstance(images, list | tuple | np.ndarray):
        return lambda position: read_pixels(images[position])
    # Workers of torch's DataLoader are processes: a Dataset need not be made for threads.
    lock = Lock()

    def read(position: int) -> np.ndarray:
        with lock:
            image = images[position]
        return read_pixels(image)

    return read


def _from_dataset(dataset: Any) -> ImageInputs:
    """A torch Dataset of (image, label) pairs; torchvision's names of its classes are used."""
    labels: list[Any] = [None] * len(dataset)

    class Images:
        """The dataset's images alone; takes note of the labels on the way."""

        def __getitem__(self, position: int) -> Any:
            image, label = dataset[position]
            labels[position] = _as_scalar(label)
            return image

    names = getattr(dataset, "classes", None)
    names = names if isinstance(names, list | tuple) else []
    return ImageInputs(
        [str(position) for position in range(len(dataset))],
        _make_reader(Images()),
        labels,
        {position: str(name) for position, name in enumerate(names)},
    )
