"""`headstart bundle`: a network that train_scratch trained becomes a bundled backbone."""

import argparse

from headstart.cli.model_argument import add_model_argument, find_model

SUMMARY = "Make a network that train_scratch trained a backbone of the package."
DESCRIPTION = (
    "Writes the weights of a network that train_scratch trained into the package, as the bundled "
    "backbone of its architecture, and prints the entry of `zoo` that belongs to them."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser)


def run(args: argparse.Namespace) -> str:
    folder = find_model(args.run, args.project)

    import yaml

    from headstart.config.backbones import BUNDLED
    from headstart.training.backbone_export import export_backbone
    from headstart.training.training_jobs import MODEL_FILE

    path, entry = export_backbone(folder / MODEL_FILE, BUNDLED)
    described = yaml.safe_dump(entry, sort_keys=False, default_flow_style=None)
    return f"wrote {path}, {path.stat().st_size / 1e6:.1f} MB; its entry of zoo:\n{described}"
