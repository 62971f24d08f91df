"""The filters of a network's first convolution, as an array in a file of its own."""

from pathlib import Path

import numpy as np

from headstart.core.atomic_files import atomic_path
from headstart.core.errors import UserError


def write_filters(path: Path, filters: np.ndarray) -> None:
    """Writes [F, 3, h, w] float32 as .npy; F is 0 for a network without such a layer."""
    with atomic_path(path) as unfinished, unfinished.open("wb") as file:
        np.save(file, filters, allow_pickle=False)


def load_filters(path: Path) -> np.ndarray:
    """What `write_filters` wrote to `path`.

    Raises:
        UserError: the file is missing or isn't one of filters.
    """
    try:
        return np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; `dvc repro` makes it") from None
    except (ValueError, EOFError):
        raise UserError(f"{path} can't be read; delete it and run `dvc repro`") from None
