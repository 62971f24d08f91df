"""`headstart classify`: new images through a trained model, to a table with one row per file."""

import argparse
from contextlib import chdir
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
    "per file: its class, the calibrated probability of that class, and the candidates, the "
    "classes of its conformal set. A file without a class says in `problem` why it has none. The "
    "run's folder is all that is needed. What is computed is cached ($HEADSTART_CACHE, else "
    ".cache/headstart in the project or in the current folder), so that an interrupted run goes on "
    "when it is started again."
)


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
    add_device_arguments(parser)


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
    problems = 0
    with chdir(work_folder(args.project)), tsv_writer(out) as table:
        model = load_model(model_folder, args.device, args.batch_size)
        table.writerow(["file", "class", "name", "probability", "candidates", "problem"])
        answers = classify_files(model, source, names, cache_root())
        for file, (label, probability, candidates, problem) in zip(names, answers, strict=True):
            problems += label is None
            cells = [label.id, label.name, f"{probability:.4f}"] if label else ["", "", ""]
            others = "; ".join(candidate.id for candidate in candidates)
            table.writerow([file, *cells, others, problem])
    return (
        f"{args.out}: classified images: {len(names) - problems}; files without a class: {problems}"
        + (", see the column `problem`" if problems else "")
    )
