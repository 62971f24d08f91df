"""The figure of a sheet of captioned images."""

from math import ceil
from pathlib import Path

from headstart.plotting import save_figure
from headstart.store.image_sheets import ImageSheet


def draw_sheet(path: Path, sheet: ImageSheet) -> None:
    """The images in rows of `sheet.columns`, each as large as the others, over its caption.

    Pixels are shown as they are, without interpolation.
    """
    rows = ceil(len(sheet.images) / sheet.columns)
    with save_figure(path, 1.8 * sheet.columns, 2.0 * rows) as figure:
        panels = list(figure.subplots(rows, sheet.columns, squeeze=False).flat)
        for axes in panels:
            axes.axis("off")
        for axes, image, caption in zip(panels, sheet.images, sheet.captions, strict=False):
            axes.imshow(image, interpolation="nearest")
            axes.set_title(caption, fontsize=8, y=-0.16)
