"""The class that a run predicts for each image of val, as a table."""

from pathlib import Path

import numpy as np

from headstart.core.atomic_files import read_tsv, tsv_writer
from headstart.core.errors import UserError
from headstart.store.examples import Examples
from headstart.store.run_metrics import primary_protocol


def write_predicted_classes(
    path: Path, examples: Examples, predicted: dict[str, np.ndarray]
) -> None:
    """One row per image: its id, its class, and the class that is predicted for it.

    predicted: by protocol, the positions [N] of the predicted classes. The column `predicted` is
    that of the primary protocol; each protocol has a column of its own, too.
    """
    classes = [label.id for label in examples.classes]
    columns = {"predicted": predicted[primary_protocol(predicted)], **predicted}
    with tsv_writer(path) as table:
        table.writerow(["id", "class", *columns])
        for i, (id_, label) in enumerate(zip(examples.ids, examples.labels, strict=True)):
            table.writerow(
                [id_, classes[label], *(classes[positions[i]] for positions in columns.values())]
            )


def load_correct(folder: Path, runs: list[str]) -> dict[str, np.ndarray]:
    """Whether each of `runs` is right about each image of val: [N] bool, all in one order.

    Raises:
        UserError: a table is missing, or the runs were evaluated on different images.
    """
    correct: dict[str, np.ndarray] = {}
    ids: list[str] = []
    for run in runs:
        rows = read_tsv(folder / f"{run}.tsv")
        if ids and ids != [row["id"] for row in rows]:
            raise UserError(f"runs {runs[0]} and {run} saw different val images; run `dvc repro`")
        ids = [row["id"] for row in rows]
        correct[run] = np.array([row["predicted"] == row["class"] for row in rows])
    return correct


def load_ids(folder: Path, run: str) -> list[str]:
    """The ids of val's images, in the order of `load_correct`.

    Raises:
        UserError: the run's table is missing.
    """
    return [row["id"] for row in read_tsv(folder / f"{run}.tsv")]
