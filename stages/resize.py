"""Decodes every image of the manifest and stores them square and of one size."""

from argparse import Namespace

from headstart.params import Params
from stages import parser, run


def resize(args: Namespace, params: Params) -> str:
    from headstart import datasets, images, manifest
    from headstart.decode import set_up_pillow

    set_up_pillow()
    found = manifest.load(args.manifest)
    side = images.write(
        args.images,
        found,
        datasets.load(params.dataset).read,
        params.resize.side,
        params.resize.fit,
        params.prepare.max_pixels,
    )
    return f"stored {len(found.entries)} images of {side} x {side} px"


if __name__ == "__main__":
    run(resize, parser(__doc__, "manifest", "images"))
