"""`headstart classify`: new images through a trained model, to a table with one row per file."""

import argparse
from contextlib import chdir, suppress
from pathlib import Path

from headstart.cli.model_argument import (
    add_device_arguments,
    add_model_argument,
    find_model,
    work_folder,
)

SUMMARY = "Classify new images with a trained run."
DESCRIPTION = (
    "Classifies the images of a folder or .zip with a trained run, and writes a table with one row "
    "per file: its class, the calibrated probability of that class, the familiarity, that is how "
    "many percent of the images of tune are not more like the training images, and the "
    "candidates, the classes of its conformal set. A file without a class says in `problem` why it "
    "has none. The run's folder is all that is needed. What is computed is cached "
    "($HEADSTART_CACHE, else .cache/headstart in the project or in the current folder), so that an "
    "interrupted run goes on when it is started again."
)


COLUMNS = ("file", "class", "name", "probability", "familiarity", "candidates", "problem")

UNKNOWN = "unknown"
"""The answer to an image that is like no training image."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser)
    parser.add_argument(
        "folder", metavar="FOLDER", type=Path, help="A folder of images, with folders, or a .zip."
    )
    parser.add_argument(
        "-o",
        "--out",
        type=Path,
        required=True,
        metavar="answers.tsv",
        help="The table to write, as tab-separated values.",
    )
    parser.add_argument(
        "--reject",
        type=_percent,
        metavar="PERCENT",
        help="Answer `unknown` for an image whose familiarity is lower; by default as "
        "classify.reject was when the run was packaged.",
    )
    add_device_arguments(parser)


def _percent(text: str) -> float:
    with suppress(ValueError):
        if 0 <= float(text) <= 100:
            return float(text)
    raise argparse.ArgumentTypeError(f"'{text}' is not a number between 0 and 100")


def run(args: argparse.Namespace) -> str:
    model_folder = find_model(args.run, args.project)
    folder, out = args.folder.absolute(), args.out.absolute()

    from headstart.core.atomic_files import tsv_writer
    from headstart.core.errors import UserError
    from headstart.data.decoding import set_up_pillow
    from headstart.data.files.file_tree import is_image, open_tree

    source = open_tree(folder, "FOLDER")
    names = [name for name in source.names if not name.endswith("/")]
    if not any(map(is_image, names)):
        raise UserError(f"FOLDER: {folder} holds no images")

    from headstart.core.cache_folders import cache_root
    from headstart.inference.image_stream import classify_files
    from headstart.inference.trained_model import load_model

    set_up_pillow()
    problems = unknown = 0
    with chdir(work_folder(args.project)), tsv_writer(out) as table:
        model = load_model(model_folder, args.device, args.batch_size)
        reject = model.description.reject if args.reject is None else args.reject
        if reject > 0 and not any(member.familiarity for member in model.description.members):
            raise UserError(
                f"--reject: {model.description.name} doesn't know how familiar an image is; heads "
                f"on a backbone and networks of timm's do"
            )
        table.writerow(COLUMNS)
        for file, answer in zip(
            names, classify_files(model, source, names, cache_root()), strict=True
        ):
            label, percent = answer.label, answer.familiarity
            rejected = percent is not None and percent < reject
            problems, unknown = problems + (label is None), unknown + rejected
            cells = [label.id, label.name, f"{answer.probability:.4f}"] if label else ["", "", ""]
            if rejected:
                cells[:2] = [UNKNOWN, UNKNOWN]
            others = "; ".join(candidate.id for candidate in answer.candidates)
            shown = "" if percent is None else f"{percent:.1f}"
            table.writerow([file, *cells, shown, others, answer.problem])
    return (
        f"{args.out}: classified images: {len(names) - problems}"
        + (f", {unknown} of them as {UNKNOWN}" if reject > 0 else "")
        + f"; files without a class: {problems}"
        + (", see the column `problem`" if problems else "")
    )
