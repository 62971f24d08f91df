"""Collects example images of the classes, one of them rescaled and augmented, for the report."""

import argparse

from headstart.config import Params
from stages import parser, run


def sheets(args: argparse.Namespace, params: Params) -> str:
    from headstart.store.image_sheets import save_sheet
    from headstart.store.images import open_images
    from headstart.training.example_sheets import example_sheets

    augmentation = params.recipes[params.sheets.recipe].augmentation
    with open_images(args.images) as images:
        collected = example_sheets(images, augmentation)
    for name, sheet in collected.items():
        save_sheet(args.results / "sheets" / f"{name}.h5", sheet)
    return f"collected sheets of images: {', '.join(collected)}"


if __name__ == "__main__":
    run(sheets, parser(__doc__, "images", "results"))
