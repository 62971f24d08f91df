"""New images, a folder or .zip of them, through a trained run: a table with a row an image."""

import argparse

from headstart.params import Params
from stages import parser, run


def classify(args: argparse.Namespace, params: Params) -> str:
    from headstart import classification, files, predictions
    from headstart.datasets.source import is_image, open_source
    from headstart.decode import set_up_pillow
    from headstart.errors import UserError
    from headstart.images import open_images

    set_up_pillow()
    source = open_source(args.new, "--new")
    names = [name for name in source.names if is_image(name)]
    if not names:
        raise UserError(f"--new: {args.new} holds no images")
    model = classification.load(args.model, params.backbones, params.extract)
    tune = predictions.load(args.predictions / "tune.h5")
    with open_images(args.images) as images:
        classification.check(model, images, tune)
        side = images.pixels.shape[1]
    shown = classification.read(source, names, side, params.resize.fit, params.prepare.max_pixels)
    answers = classification.classify(
        model, tune, params.evaluate.coverage, shown, params.extract.batch_size
    )
    problems = 0
    with files.table(args.table) as table:
        table.writerow(["file", "class", "name", "probability", "candidates", "problem"])
        for name, (label, probability, candidates, problem) in zip(names, answers, strict=True):
            problems += label is None
            said = [label.id, label.name, f"{probability:.4f}"] if label else ["", "", ""]
            table.writerow([name, *said, "; ".join(one.id for one in candidates), problem])
    return f"{args.table}: {len(names) - problems} images classified, {problems} can't be read"


if __name__ == "__main__":
    run(classify, parser(__doc__, "images", "model", "predictions", "new", "table"))
