"""The style of all figures, and saving them so that the same values always give the same bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from headstart.core.atomic_files import atomic_path

STYLE: dict[Any, Any] = {
    "svg.hashsalt": "headstart",
    # Text is stored as text: searchable, small, and in any script that the reader's fonts have.
    "svg.fonttype": "none",
    # A class may have a name such as "$5 note".
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
    "font.size": 10,
}


@contextmanager
def save_figure(path: Path, width: float, height: float) -> Iterator[Figure]:
    """An empty figure of `width` x `height` inches, saved to `path` (.svg or .png) at the end."""
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        kind = path.suffix.removeprefix(".")
        metadata = {"Date": None} if kind == "svg" else {}
        with atomic_path(path) as unfinished:
            figure.savefig(unfinished, format=kind, metadata=metadata, facecolor="white")
