"""Distributions of modules' outputs during a training, as a table."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path

from headstart.core.atomic_files import read_tsv, tsv_writer


@dataclass(frozen=True)
class OutputStatistics:
    """All values that a module of a network put out for one training batch.

    step: number of steps of the optimizer before that batch. module: its name in the network. std:
    the population's, as `numpy.std`.
    """

    step: int
    module: str
    max: float
    mean: float
    std: float
    min: float


def write_output_statistics(path: Path, statistics: list[OutputStatistics]) -> None:
    """Writes one row per step and module; the header alone if nothing was recorded."""
    with tsv_writer(path) as table:
        table.writerow(field.name for field in fields(OutputStatistics))
        for row in statistics:
            table.writerow(
                value if isinstance(value, int | str) else f"{value:.6g}"
                for value in asdict(row).values()
            )


def load_output_statistics(path: Path) -> list[OutputStatistics]:
    """What `write_output_statistics` wrote to `path`, to six digits.

    Raises:
        UserError: the file is missing.
    """
    return [
        OutputStatistics(
            int(row.pop("step")),
            row.pop("module"),
            **{name: float(value) for name, value in row.items()},
        )
        for row in read_tsv(path)
    ]
