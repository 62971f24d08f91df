"""A user's own boxes: boxes.tsv or boxes.csv at the root of a folder of images.

    path            x1  y1  x2  y2
    fish/7.jpg      12  30  180 96
    fish/7.jpg      90  12  140 60

The path of an image is relative to the folder of the table, with `/` between its parts. An image
may have several rows, or none. x1, y1 are the left and upper edge and x2, y2 the right and lower
edge of a box, in px of the image as it is shown; fractions are fine. Other columns are ignored.
"""

import csv
from collections import defaultdict
from math import isfinite
from unicodedata import normalize

from headstart.core.errors import UserError
from headstart.data.datasets.base import Box
from headstart.data.files.file_tree import FileTree

BOX_TABLES = {"boxes.tsv": "\t", "boxes.csv": ","}
"""The names that a table of boxes may have, with the character between its cells."""

COLUMNS = ("path", "x1", "y1", "x2", "y2")

SHOWN = 20
"""How many wrong lines a message lists."""


def read_boxes(source: FileTree, ids: list[str]) -> dict[str, tuple[Box, ...]]:
    """Returns the boxes of each image that the table at the root of `source` names.

    Without a table there are none. Whether a box lies within its image is checked once the image
    has been read, by `prepare`.

    ids: of the images, their paths in `source`.

    Raises:
        UserError: there are two tables; a column is missing; or lines of the table are wrong: no
            image has the path, an edge is no number or negative, or a box has no width or height.
            The first wrong lines are listed.
    """
    tables = [name for name in BOX_TABLES if name in source.names]
    if not tables:
        return {}
    if len(tables) > 1:
        raise UserError(f"{source.path} has both {' and '.join(tables)}; keep one of them")
    name = tables[0]
    # A spreadsheet begins its files with a byte order mark.
    lines = source.text(name).removeprefix("\ufeff").splitlines()
    rows = csv.DictReader(lines, delimiter=BOX_TABLES[name])
    if missing := [column for column in COLUMNS if column not in (rows.fieldnames or ())]:
        raise UserError(
            f"{source.path / name}: its first line doesn't name {', '.join(missing)}; it should "
            f"name the columns {', '.join(COLUMNS)}"
        )
    # Unicode has several encodings of one name, and macOS and Linux choose different ones.
    known = {normalize("NFC", id_): id_ for id_ in ids}
    boxes: dict[str, list[Box]] = defaultdict(list)
    problems = []
    for row in rows:
        try:
            id_ = _image(row["path"] or "", known)
            boxes[id_].append(_box([row[column] for column in COLUMNS[1:]]))
        except ValueError as error:
            problems.append(f"  line {rows.line_num}: {error}")
    if problems:
        more = [f"  and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        shown = "\n".join([*problems[:SHOWN], *more])
        raise UserError(f"{source.path / name} has {len(problems)} wrong lines:\n{shown}")
    return {id_: tuple(own) for id_, own in boxes.items()}


def _image(path: str, known: dict[str, str]) -> str:
    path = normalize("NFC", path.strip())
    if path not in known:
        raise ValueError(f"there is no image '{path}'; paths are such as '{next(iter(known), '')}'")
    return known[path]


def _box(cells: list[str | None]) -> Box:
    try:
        edges = [float(cell or "") for cell in cells]
    except ValueError:
        edges = []
    if not edges or not all(map(isfinite, edges)):
        shown = ", ".join(cell or "nothing" for cell in cells)
        raise ValueError(f"{shown} are not four numbers")
    x0, y0, x1, y1 = edges
    if x0 < 0 or y0 < 0:
        raise ValueError(f"{x0:g}, {y0:g} is no corner; an edge is 0 or more")
    if x1 <= x0 or y1 <= y0:
        raise ValueError(f"x2 {x1:g} and y2 {y1:g} must be greater than x1 {x0:g} and y1 {y0:g}")
    return x0, y0, x1, y1
