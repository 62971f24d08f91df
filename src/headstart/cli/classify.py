"""`headstart classify`: new images through a trained run, to a table with one row per file."""

import argparse
from pathlib import Path

from headstart.cli.project_folder import (
    IMAGES,
    MODELS,
    PREDICTIONS,
    RUN_HELP,
    add_project_argument,
    find_run,
    open_project,
)

SUMMARY = "Classify new images with a trained run."
DESCRIPTION = (
    "Classifies the images of a folder or .zip with a trained run, and writes a table with one row "
    "per file: its class, the calibrated probability of that class, and the candidates, the "
    "classes of its conformal set. A file without a class says in `problem` why it has none."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=RUN_HELP)
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
    add_project_argument(parser)


def run(args: argparse.Namespace) -> str:
    project, name = find_run(args.run, args.project)
    folder, out = args.folder.absolute(), args.out.absolute()

    from headstart.core.atomic_files import tsv_writer
    from headstart.core.errors import UserError
    from headstart.data.datasets.file_tree import is_image, open_tree
    from headstart.data.decoding import set_up_pillow
    from headstart.inference import check_classifier, classify_images, load_classifier, read_images
    from headstart.store.images import open_images
    from headstart.store.predictions import load_predictions

    set_up_pillow()
    source = open_tree(folder, "FOLDER")
    names = [name for name in source.names if not name.endswith("/")]
    if not any(map(is_image, names)):
        raise UserError(f"FOLDER: {folder} holds no images")
    with open_project(project) as params:
        model = load_classifier(project / MODELS / name, params.backbones, params.extract)
        tune = load_predictions(project / PREDICTIONS / name / "tune.h5")
        with open_images(project / IMAGES) as images:
            check_classifier(model, images, tune)
            side = images.pixels.shape[1]
        pixels = read_images(source, names, side, params.resize.fit, params.prepare.max_pixels)
        answers = classify_images(
            model, tune, params.evaluate.coverage, pixels, params.extract.batch_size
        )
        problems = 0
        with tsv_writer(out) as table:
            table.writerow(["file", "class", "name", "probability", "candidates", "problem"])
            for file, (label, probability, candidates, problem) in zip(names, answers, strict=True):
                problems += label is None
                cells = [label.id, label.name, f"{probability:.4f}"] if label else ["", "", ""]
                others = "; ".join(candidate.id for candidate in candidates)
                table.writerow([file, *cells, others, problem])
    return (
        f"{args.out}: classified images: {len(names) - problems}; files without a class: {problems}"
        + (", see the column `problem`" if problems else "")
    )
