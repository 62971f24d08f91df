"""Decodes all images of the manifest and stores them as squares of one size."""

from argparse import Namespace

from headstart.config import Params
from stages import parser, run


def resize(args: Namespace, params: Params) -> str:
    from headstart.data import datasets
    from headstart.data.decoding import set_up_pillow
    from headstart.data.resizing import write_images

    set_up_pillow()
    dataset = datasets.load_dataset(params.dataset)
    stored = write_images(
        args.images,
        args.manifest,
        dataset.read,
        params.resize.side,
        params.resize.fit,
        params.prepare.max_pixels,
        dataset.reads_at_once,
    )
    shards = f"; {stored.rewritten} of {stored.shards} shards changed" if stored.shards > 1 else ""
    return f"stored {stored.images} images of {stored.side} x {stored.side} px{shards}"


if __name__ == "__main__":
    run(resize, parser(__doc__, "manifest", "images"))
