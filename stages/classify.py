"""New images, a folder or .zip of them, through a trained run: a table with a row an image."""

import argparse

from headstart.config import Params
from stages import parser, run


def classify(args: argparse.Namespace, params: Params) -> str:
    from headstart.core.atomic_files import tsv_writer
    from headstart.core.errors import UserError
    from headstart.data.datasets.file_tree import is_image, open_tree
    from headstart.data.decoding import set_up_pillow
    from headstart.inference import check_classifier, classify_images, load_classifier, read_images
    from headstart.store.images import open_images
    from headstart.store.predictions import load_predictions

    set_up_pillow()
    source = open_tree(args.new, "--new")
    names = [name for name in source.names if is_image(name)]
    if not names:
        raise UserError(f"--new: {args.new} holds no images")
    model = load_classifier(args.model, params.backbones, params.extract)
    tune = load_predictions(args.predictions / "tune.h5")
    with open_images(args.images) as images:
        check_classifier(model, images, tune)
        side = images.pixels.shape[1]
    shown = read_images(source, names, side, params.resize.fit, params.prepare.max_pixels)
    answers = classify_images(
        model, tune, params.evaluate.coverage, shown, params.extract.batch_size
    )
    problems = 0
    with tsv_writer(args.table) as table:
        table.writerow(["file", "class", "name", "probability", "candidates", "problem"])
        for name, (label, probability, candidates, problem) in zip(names, answers, strict=True):
            problems += label is None
            said = [label.id, label.name, f"{probability:.4f}"] if label else ["", "", ""]
            table.writerow([name, *said, "; ".join(one.id for one in candidates), problem])
    return f"{args.table}: {len(names) - problems} images classified, {problems} can't be read"


if __name__ == "__main__":
    run(classify, parser(__doc__, "images", "model", "predictions", "new", "table"))
