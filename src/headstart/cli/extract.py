"""`headstart extract`: the features of a folder of images as a Parquet file, one row per image."""

import argparse
import sys
from contextlib import chdir
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.cli.project_folder import find_project

if TYPE_CHECKING:
    from headstart.config import Backbone

SUMMARY = "Write the features of a folder of images to a Parquet file."
DESCRIPTION = (
    "Computes the features of all images of a folder or .zip with a pretrained network, and writes "
    "a Parquet file with one row per image: `path`, relative to FOLDER; `label`, the name of the "
    "class folder that it lies in, or null; `vector`, its features. What is computed is cached "
    "($HEADSTART_CACHE, else .cache/headstart in the project or in the current folder), so that an "
    "interrupted run goes on when it is started again. Images that can't be read are listed at the "
    "end and left out."
)


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
    parser.add_argument(
        "--batch-size",
        type=_positive,
        default=16,
        metavar="N",
        help="The number of images computed at once; 256 or more on a GPU. Default: %(default)s.",
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="Where to compute; auto takes a GPU if there is one. Default: %(default)s.",
    )


def run(args: argparse.Namespace) -> str:
    # The paths that the user gave are relative to the current folder, not to the project's.
    folder, out = args.folder.absolute(), args.out.absolute()

    from headstart.core.errors import UserError
    from headstart.data.datasets.file_tree import is_image, open_tree

    tree = open_tree(folder, "FOLDER")
    names = [name for name in tree.names if is_image(name)]
    if not names:
        raise UserError(f"FOLDER: {folder} holds no images")

    from headstart.api.extractor import Extractor
    from headstart.api.image_inputs import ImageInputs, make_examples
    from headstart.cli.feature_table import class_folders, feature_table_writer
    from headstart.data.decoding import MAX_PIXELS, decode, set_up_pillow

    set_up_pillow()
    project = find_project(Path.cwd())
    precision = {} if args.precision is None else {"precision": args.precision}
    labels = class_folders(names)
    inputs = ImageInputs(
        make_examples(names, None), lambda position: decode(tree.read(names[position]), MAX_PIXELS)
    )
    count, problems = 0, []
    with chdir(project or Path.cwd()):
        extractor = Extractor(
            _zoo_entry(args.backbone, project),
            dtype=args.dtype,
            batch_size=args.batch_size,
            device=args.device,
            **precision,
        )
        with feature_table_writer(out, extractor.width, args.dtype, extractor.provenance) as write:
            for positions, values in extractor.extract_blocks(inputs, problems):
                write([names[i] for i in positions], [labels[i] for i in positions], values[:, 0])
                count += len(positions)
            if not count:
                raise UserError(
                    f"none of the {len(names)} images in {folder} can be read:\n{_listed(problems)}"
                )
    if problems:
        print(f"left out, because they can't be read:\n{_listed(problems)}", file=sys.stderr)
    return (
        f"{args.out}: {count} images, {extractor.width} features each in {args.dtype}; "
        f"{len(problems)} images can't be read"
    )


def _zoo_entry(name: str, project: Path | None) -> "str | Backbone":
    """The entry of that alias in the project's zoo; the name itself where there is none."""
    if project is None:
        return name

    from headstart.config import Concatenation, load_params
    from headstart.core.errors import UserError

    entry = load_params().zoo.get(name, name)
    if isinstance(entry, Concatenation):
        raise UserError(
            f"--backbone: '{name}' is a concatenation; extract its members one by one: "
            f"{', '.join(entry.concatenate)}"
        )
    return entry


def _listed(problems: list[str]) -> str:
    return "\n".join(f"  {problem}" for problem in problems)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 1")
    return int(text)
