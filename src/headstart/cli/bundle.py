"""`headstart bundle`: a network that train_scratch trained becomes a bundled backbone."""

import argparse

from headstart.cli.project_folder import TRAINED, add_project_argument, require_project
from headstart.core.errors import UserError, did_you_mean

SUMMARY = "Make a network that train_scratch trained a backbone of the package."
DESCRIPTION = (
    "Writes the weights of a network that train_scratch trained into the package, as the bundled "
    "backbone of its architecture, and prints the entry of `zoo` that belongs to them."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run", metavar="RUN", help="A run of train_scratch in the project, by its name."
    )
    add_project_argument(parser)


def run(args: argparse.Namespace) -> str:
    project = require_project(args.project)
    runs = {path.parent.name for path in (project / TRAINED).glob("*/*.safetensors")}
    if args.run not in runs:
        near = (
            did_you_mean(args.run, runs) if runs else "there is none yet; `dvc repro` trains some"
        )
        raise UserError(f"{project} has no trained run '{args.run}'; {near}")

    import yaml

    from headstart.config.backbones import BUNDLED
    from headstart.training.backbone_export import export_backbone
    from headstart.training.saved_models import MODEL_FILE

    path, entry = export_backbone(project / TRAINED / args.run / MODEL_FILE, BUNDLED)
    described = yaml.safe_dump(entry, sort_keys=False, default_flow_style=None)
    return f"wrote {path}, {path.stat().st_size / 1e6:.1f} MB; its entry of zoo:\n{described}"
