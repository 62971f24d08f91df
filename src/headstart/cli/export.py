"""`headstart export`: a trained model for ONNX Runtime, OpenVINO, timm, or a model server."""

import argparse
from contextlib import ExitStack, chdir
from pathlib import Path

from headstart.cli.model_argument import add_model_argument, find_model, work_folder
from headstart.cli.project_folder import IMAGES, find_project

SUMMARY = "Export a trained run to ONNX, OpenVINO or timm."
DESCRIPTION = (
    "Writes a folder with the model in one file, from uint8 pixels to logits and calibrated "
    "probabilities, its labels, a model card, a JSON file that says how images are resized, and an "
    "example of 30 lines. Prints how far the exported model agrees with the original: on the "
    "project's images where the run lies in a project, else on photographs."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser)
    parser.add_argument(
        "--to",
        required=True,
        choices=("onnx", "openvino", "timm"),
        help="The format; timm's is a folder for timm.create_model('local-dir:FOLDER').",
    )
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="FOLDER", help="The folder to write."
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "float16", "int8"),
        default="float32",
        help="What the networks compute in; the cost in accuracy is printed. Default: %(default)s.",
    )
    parser.add_argument(
        "--layout",
        choices=("plain", "model-server", "triton"),
        default="plain",
        help="Files side by side, or the folders and the configuration that OpenVINO Model Server "
        "or NVIDIA Triton reads. Default: %(default)s.",
    )


def run(args: argparse.Namespace) -> str:
    model_folder, out = find_model(args.run, args.project), args.out.absolute()

    from headstart.core.cache_folders import cache_root
    from headstart.export.exported_folder import ExportRequest, check_request, export_model
    from headstart.store.images import open_images

    request = ExportRequest(args.to, out, args.precision, args.layout)
    check_request(request)
    project = find_project(args.project or model_folder) or find_project(Path.cwd())
    with ExitStack() as opened:
        images = None
        if project is not None and (project / IMAGES).exists():
            images = opened.enter_context(open_images(project / IMAGES))
        opened.enter_context(chdir(project or work_folder(args.project)))
        return export_model(model_folder, request, images, cache_root())
