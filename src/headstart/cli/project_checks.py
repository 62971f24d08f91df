"""Finds everything that would stop `dvc repro`, in a second: no file is read in full, and torch is
not imported.

DVC itself looks at paths before any stage runs, and its messages are hard to understand.
"""

import ctypes
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from safetensors import SafetensorError, safe_open

from headstart.backbones.weights_file_digests import check_digest
from headstart.config import Backbone, MLPHead, Params, SweepHead
from headstart.core.errors import UserError
from headstart.core.memory_limits import head_training_memory, machine_memory, require_memory
from headstart.data.datasets import check_dataset
from headstart.data.exclusions import load_excluded_ids


def check_project(params: Params) -> None:
    """Checks the paths, weights, devices and heads that valid params name.

    Raises:
        UserError: there are problems; one line for each, which begins with its key in params.yaml.
    """
    problems = [
        *_dataset_problems(params),
        *_weights_problems(params),
        *_device_problems(params),
        *_head_problems(params),
    ]
    if not params.runs:
        problems.append(
            "extract.backbones, train_head.heads, train_scratch.networks: no run is active; name "
            "a backbone and a head, or a network"
        )
    if problems:
        raise UserError("\n".join(problems))


def _dataset_problems(params: Params) -> Iterator[str]:
    path = params.dataset.path
    if isinstance(path, Path) and Path.cwd().is_relative_to(path.resolve()):
        yield f"dataset.path: {path} holds this project; put the images into a folder of their own"
    else:
        try:
            check_dataset(params.dataset)
        except UserError as error:
            yield str(error)
    try:
        load_excluded_ids(params.prepare.exclude)
    except UserError as error:
        yield str(error)


def _weights_problems(params: Params) -> Iterator[str]:
    """Weights files that are missing or clearly wrong; they are not loaded."""
    aliases = [*params.extract.backbones, *params.finetune.backbones]
    aliases += filter(None, (params.networks[n].trunk for n in params.train_scratch.networks))
    active = {name: entry for alias in aliases for name, entry in params.backbones[alias].items()}
    for name, backbone in active.items():
        if backbone.precision == "int8" and find_spec("nncf") is None:
            yield f"zoo.{name}.precision: int8 needs NNCF; install it with `uv sync --extra int8`"
        try:
            check_digest(backbone)
            _check_header(backbone)
        except UserError as error:
            yield f"zoo.{name}.weights: {error}"


def _check_header(backbone: Backbone) -> None:
    path = backbone.weights_file
    if path is None or path.suffix != ".safetensors":
        return
    try:
        with safe_open(path, framework="np"):
            pass
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is not a file of weights ({error})") from None


def _device_problems(params: Params) -> Iterator[str]:
    for section in ("extract", "train_head", "train_scratch", "finetune", "localize"):
        if getattr(params, section).device == "cuda" and not _has_driver():
            yield (
                f"{section}.device: is cuda, but there is no NVIDIA driver here; set it to auto or "
                f"cpu"
            )


def _has_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


def _head_problems(params: Params) -> Iterator[str]:
    """Heads too large for this machine's memory, however few features and classes there are."""
    for alias in dict.fromkeys((*params.train_head.heads, *params.learning_curve.heads)):
        head = params.heads[alias]
        shapes = [head.hidden] if isinstance(head, MLPHead) else []
        if isinstance(head, SweepHead):
            shapes = head.over.get("hidden", [head.head.hidden])
        for hidden in shapes:
            need = head_training_memory(1, [1, *hidden, 2], batch=1)
            try:
                require_memory(f"heads.{alias}.hidden: {hidden[:4]} …", need, machine_memory())
            except UserError as error:
                yield str(error)
