"""Images as the squares that a network sees: read once where they fit the memory, never stored."""

from collections.abc import Callable
from typing import Any

import numpy as np

from headstart.api.image_inputs import ImageInputs
from headstart.core.errors import UserError
from headstart.core.thread_map import thread_map
from headstart.data.decoding import UnreadableImageError
from headstart.data.resizing import pixel_digest

MEMORY_LIMIT = 1 << 30
"""Bytes of squares that are kept; the images beyond it are read twice."""

SHOWN_PROBLEMS = 20


class SquareImages:
    """N images, each made a square; indexed by positions, as extraction.row_filling.Pixels says.

    digests: [N, 32] uint8, of the squares' pixels.
    """

    def __init__(
        self,
        inputs: ImageInputs,
        make_square: Callable[[np.ndarray], np.ndarray],
        description: str,
    ) -> None:
        """Reads all images; `description` is the progress bar's.

        make_square: from an image [H, W, 3] uint8 to the square [s, s, 3] uint8 that stands for it.

        Raises:
            UserError: some images can't be read: all of them are named.
        """
        self.inputs, self.make_square = inputs, make_square
        self.digests = np.empty((len(inputs), 32), np.uint8)
        self.kept: dict[int, np.ndarray] = {}
        problems: list[str] = []
        size = 0
        squares = thread_map(self._attempt, range(len(inputs)), f"{description}: reading")
        for position, square in enumerate(squares):
            if isinstance(square, UnreadableImageError):
                problems.append(f"  {inputs.ids[position]}: {square}")
                continue
            self.digests[position] = _digest(square)
            size += square.nbytes
            if size <= MEMORY_LIMIT:
                self.kept[position] = square
        if problems:
            shown = problems[:SHOWN_PROBLEMS]
            if len(problems) > len(shown):
                shown.append(f"  ... and {len(problems) - len(shown)} more")
            total = f"{len(problems)} of {len(inputs)} images can't be read"
            raise UserError("\n".join([f"{total}:", *shown]))

    def __getitem__(self, positions: Any) -> Any:
        chosen = np.arange(len(self.inputs))[positions]
        if chosen.ndim == 0:
            return self._again(int(chosen))
        return list(map(self._again, chosen.tolist()))

    def _again(self, position: int) -> np.ndarray:
        """The square at `position`, as it was at first.

        Raises:
            UserError: the image has changed since.
        """
        if position in self.kept:
            return self.kept[position]
        square = self._attempt(position)
        if (
            isinstance(square, UnreadableImageError)
            or (_digest(square) != self.digests[position]).any()
        ):
            raise UserError(
                f"image {self.inputs.ids[position]} isn't the same when it is read again; leave "
                f"random transforms to `augmented_views`, and files alone while they are read"
            )
        return square

    def _attempt(self, position: int) -> np.ndarray | UnreadableImageError:
        try:
            pixels = self.inputs.read(position)
        except UnreadableImageError as error:
            return error
        except UserError as error:
            raise UserError(f"image {self.inputs.ids[position]}: {error}") from None
        return self.make_square(pixels)


def _digest(square: np.ndarray) -> np.ndarray:
    return np.frombuffer(pixel_digest(square), np.uint8)
