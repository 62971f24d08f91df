"""Where a run looked at the images that it gets wrong: maps, or why there are none."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.core.hdf5_files import create_hdf5, get_dataset, open_hdf5, read_json, write_json


@dataclass(frozen=True)
class Attribution:
    """The class activation maps of one run.

    unavailable: why there are none; empty if there are. ids: N names of images. maps: [N, 2, h, w]
    float32, for the class that the run predicts and for the true one. crop: side of the central
    square that the maps cover, relative to the image's.
    """

    unavailable: str
    ids: list[str]
    maps: np.ndarray
    crop: float = 1.0

    @classmethod
    def none(cls, reason: str) -> "Attribution":
        """Returns an attribution without maps."""
        return cls(reason, [], np.zeros((0, 2, 1, 1), np.float32))


def write_attribution(path: Path, attribution: Attribution) -> None:
    """Writes an HDF5 file; raises what `create_hdf5` raises."""
    with create_hdf5(path) as file:
        file.create_dataset("maps", data=attribution.maps.astype(np.float32))
        described = {"unavailable": attribution.unavailable, "crop": attribution.crop}
        write_json(file, "described", described | {"ids": attribution.ids})


def load_attribution(path: Path) -> Attribution:
    """What `write_attribution` wrote to `path`.

    Raises:
        UserError: the file is missing, or another program wrote it.
    """
    with open_hdf5(path) as file:
        return Attribution(maps=get_dataset(file, "maps")[:], **read_json(file, "described"))
