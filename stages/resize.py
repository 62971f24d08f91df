"""Decodes all images of the manifest and stores them as squares of one size."""

from argparse import Namespace

from headstart.config import Params
from stages import parser, run


def resize(args: Namespace, params: Params) -> str:
    from headstart.data import datasets
    from headstart.data.decoding import set_up_pillow
    from headstart.data.manifest import load_manifest
    from headstart.data.resizing import write_images

    set_up_pillow()
    manifest = load_manifest(args.manifest)
    dataset = datasets.load_dataset(params.dataset)
    side = write_images(
        args.images,
        manifest,
        dataset.read,
        params.resize.side,
        params.resize.fit,
        params.prepare.max_pixels,
        dataset.reads_at_once,
    )
    return f"stored {len(manifest.entries)} images of {side} x {side} px"


if __name__ == "__main__":
    run(resize, parser(__doc__, "manifest", "images"))
