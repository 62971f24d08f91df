"""`headstart extract`: the features of a folder of images as a Parquet file, one row per image."""

import argparse
import sys
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from headstart.cli.model_argument import add_device_arguments
from headstart.cli.project_folder import find_project

if TYPE_CHECKING:
    import numpy as np

    from headstart.config import Backbone
    from headstart.data.files.file_tree import FileTree

SUMMARY = "Write the features of a folder of images to a Parquet file."
DESCRIPTION = (
    "Computes the features of all images of a folder or .zip with a pretrained network, and writes "
    "a Parquet file with one row per image: `path`, relative to FOLDER; `label`, the name of the "
    "class folder that it lies in, or null; `vector`, its features. What is computed is cached "
    "($HEADSTART_CACHE, else .cache/headstart in the project or in the current folder), so that an "
    "interrupted run goes on when it is started again. Images that can't be read are listed at the "
    "end and left out."
)

BLOCK = 1024
"""Images held in memory at a time, and rows in a row group of the Parquet file."""

Precision = Literal["float32", "bfloat16", "int8"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        type=Path,
        help="A folder of images, in class folders or not, or a .zip.",
    )
    parser.add_argument(
        "--backbone",
        required=True,
        metavar="NAME",
        help="An alias of the project's zoo if the current folder is in a project; otherwise an "
        "alias of the standard zoo (resnet50, inception_v3, bundled, …), or any architecture of "
        "timm.",
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="features.parquet",
        help="The Parquet file to write.",
    )
    parser.add_argument(
        "--dtype",
        choices=("float16", "float32"),
        default="float16",
        help="The type that features are stored as. Default: %(default)s.",
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16", "int8"),
        help="The precision that is computed in. Default: that of the zoo, else float32.",
    )
    add_device_arguments(parser)


def run(args: argparse.Namespace) -> str:
    # Paths that the user gave are relative to the current folder, not to the project's.
    folder, out = args.folder.absolute(), args.out.absolute()

    from headstart.core.errors import UserError
    from headstart.data.files.file_tree import is_image, open_tree

    tree = open_tree(folder, "FOLDER")
    names = [name for name in tree.names if is_image(name)]
    if not names:
        raise UserError(f"FOLDER: {folder} holds no images")

    from contextlib import nullcontext

    from tqdm import tqdm

    from headstart.api.extractor import Extractor
    from headstart.cli.feature_table import class_folders, feature_table_writer
    from headstart.data.decoding import set_up_pillow
    from headstart.extraction.shares import Share
    from headstart.store.shards import shard_of

    set_up_pillow()
    share = Share.from_batch_system()
    names = [name for name in names if shard_of(name, share.world) == share.rank]
    labels = class_folders(names)
    project = find_project(Path.cwd())
    count, problems = 0, []
    with chdir(project or Path.cwd()):
        backbone, precision = zoo_entry(args.backbone, project)
        extractor = Extractor(
            backbone,
            precision=args.precision or precision,
            dtype=args.dtype,
            batch_size=args.batch_size,
            device=args.device,
        )
        extractor.rows.writer = share.rank
        table = feature_table_writer(out, extractor.width, args.dtype, extractor.provenance)
        with (
            table if share.world == 1 else nullcontext(lambda *_: None) as write,
            tqdm(total=len(names), desc=args.backbone, unit="image") as bar,
        ):
            for start in range(0, len(names), BLOCK):
                block = range(start, min(start + BLOCK, len(names)))
                positions, squares = _read(tree, names, block, extractor.side, problems)
                if squares:
                    vectors = extractor(squares).values[:, 0]
                    write([names[i] for i in positions], [labels[i] for i in positions], vectors)
                count += len(positions)
                bar.update(len(block))
            if not count and names:
                listed = "\n".join(problems)
                raise UserError(f"none of the images in {folder} can be read:\n{listed}")
    if problems:
        listed = "\n".join(problems)
        print(f"left out because they can't be read:\n{listed}", file=sys.stderr)
    if share.world > 1:
        return (
            f"share {share.rank}/{share.world}: the features of {count} images are cached; when "
            f"all shares are done, run it without HEADSTART_SHARD to write {args.out}"
        )
    return (
        f"{args.out}: {count} images with {extractor.width} features each, {args.dtype}; "
        f"unreadable images: {len(problems)}"
    )


def _read(
    tree: "FileTree", names: list[str], block: range, side: int, problems: list[str]
) -> "tuple[list[int], list[np.ndarray]]":
    """The positions and the squares, [s, s, 3] uint8 with s <= `side`, of the images of a block.

    A line for each image that can't be read is added to `problems`.
    """
    from headstart.core.thread_map import thread_map
    from headstart.data.decoding import MAX_PIXELS, UnreadableImageError, decode
    from headstart.data.resizing import shrink_to_square

    def square(position: int) -> "np.ndarray | UnreadableImageError":
        try:
            pixels = decode(tree.read(names[position]), MAX_PIXELS)
        except UnreadableImageError as error:
            return error
        return shrink_to_square(pixels, side)

    positions, squares = [], []
    for position, outcome in zip(block, thread_map(square, block, "reading"), strict=True):
        if isinstance(outcome, UnreadableImageError):
            problems.append(f"  {names[position]}: {outcome}")
        else:
            positions.append(position)
            squares.append(outcome)
    return positions, squares


def zoo_entry(name: str, project: Path | None) -> "tuple[str | Backbone, Precision]":
    """The entry of that alias in the project's zoo, or else the name itself; and its precision."""
    if project is None:
        return name, "float32"

    from headstart.config import Concatenation, load_params
    from headstart.core.errors import UserError

    entry = load_params().zoo.get(name)
    if entry is None:
        return name, "float32"
    if isinstance(entry, Concatenation):
        raise UserError(
            f"'{name}' is a concatenation; name one of its members: {', '.join(entry.concatenate)}"
        )
    return entry, entry.precision
