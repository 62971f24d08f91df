"""Makes a network that train_scratch trained the bundled backbone of its architecture."""

import argparse

from headstart.config import Params
from stages import parser, run


def bundle(args: argparse.Namespace, params: Params) -> str:
    import yaml

    from headstart.config.backbones import BUNDLED
    from headstart.training.backbone_export import export_backbone

    path, entry = export_backbone(args.model, BUNDLED)
    described = yaml.safe_dump(entry, sort_keys=False, default_flow_style=None)
    return f"wrote {path}, {path.stat().st_size / 1e6:.1f} MB; its entry of zoo:\n{described}"


if __name__ == "__main__":
    run(bundle, parser(__doc__, "model"))
