"""`headstart bundle`: a network that train_scratch trained becomes a bundled backbone."""

import argparse

from headstart.cli.project_folder import (
    MODELS,
    RUN_HELP,
    add_project_argument,
    find_run,
)

SUMMARY = "Make a network that train_scratch trained a backbone of the package."
DESCRIPTION = (
    "Writes the weights of a network that train_scratch trained into the package, as the bundled "
    "backbone of its architecture, and prints the entry of `zoo` that belongs to them."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help=RUN_HELP)
    add_project_argument(parser)


def run(args: argparse.Namespace) -> str:
    project, name = find_run(args.run, args.project)

    import yaml

    from headstart.config.backbones import BUNDLED
    from headstart.training.backbone_export import export_backbone
    from headstart.training.training_jobs import MODEL_FILE

    path, entry = export_backbone(project / MODELS / name / MODEL_FILE, BUNDLED)
    described = yaml.safe_dump(entry, sort_keys=False, default_flow_style=None)
    return f"wrote {path}, {path.stat().st_size / 1e6:.1f} MB; its entry of zoo:\n{described}"
