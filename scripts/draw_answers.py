"""Draws the picture of the README: one image of each class, and how sure a run is of each class.

    uv run python -m scripts.draw_answers bundled-finetune docs/flowers.png

Of each class it is the image of val whose name comes first, whether the run is right about it or
not. The names are printed, because photographs want their attribution.
"""

import argparse
from pathlib import Path

from headstart.plotting import save_figure
from headstart.store.images import open_images
from headstart.store.top_classes import load_top_classes

RIGHT, WRONG = "#2f6f4f", "#9aa5ae"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("picture", type=Path, help="a .png file")
    parser.add_argument("--images", type=Path, default=Path("data/images.h5"))
    parser.add_argument("--results", type=Path, default=Path("results"))
    args = parser.parse_args()
    top = load_top_classes(args.results / "top_classes" / f"{args.run}.tsv")
    by_name = sorted(range(len(top.ids)), key=lambda i: top.ids[i])
    first = {label: i for i in reversed(by_name) for label in [top.labels[i]]}
    chosen = [first[label] for label in sorted(first)]
    with (
        open_images(args.images) as images,
        save_figure(args.picture, 2 * len(chosen), 3.1) as figure,
    ):
        stored = {id_: row for row, id_ in enumerate(images.examples.ids)}
        pictures, bars = figure.subplots(2, len(chosen), height_ratios=[2, 1])
        for picture, bar, i in zip(pictures, bars, chosen, strict=True):
            picture.imshow(images.pixels[stored[top.ids[i]]])
            picture.set_axis_off()
            picture.set_title(top.labels[i])
            colors = [RIGHT if name == top.labels[i] else WRONG for name in top.classes[i]]
            bar.barh(top.classes[i], top.probabilities[i], color=colors)
            bar.invert_yaxis()
            bar.set_xlim(0, 1)
            bar.tick_params(labelsize=8, length=0)
            bar.set_xticks([0, 1], ["0", "1"])
    print("\n".join(top.ids[i] for i in chosen))


if __name__ == "__main__":
    main()
