"""`headstart layers`: the modules of a backbone that its features can be taken from."""

import argparse
from contextlib import chdir
from pathlib import Path

from headstart.cli.project_folder import find_project

SUMMARY = "List the modules of a backbone that `layers` in zoo can name."
DESCRIPTION = (
    "Lists the modules of a backbone whose outputs can be its features (`layers` in an entry of "
    "zoo), in the order in which they end their work, each with the shape of its output for one "
    "image. No weights are loaded."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "backbone",
        metavar="NAME",
        help="An alias of the project's zoo if the current folder is in a project; otherwise an "
        "alias of the standard zoo (resnet50, inception_v3, bundled, …), or any architecture of "
        "timm.",
    )


def run(args: argparse.Namespace) -> str:
    from headstart.api.extractor import find_backbone
    from headstart.backbones.loading import backbone_layers
    from headstart.cli.extract import zoo_entry

    project = find_project(Path.cwd())
    with chdir(project or Path.cwd()):
        entry, _ = zoo_entry(args.backbone, project)
        shapes = backbone_layers(find_backbone(entry, {}))
    longest = max(map(len, shapes))
    return "\n".join(
        f"{name:{longest}}  {' x '.join(map(str, shape))}" for name, shape in shapes.items()
    )
