"""From the outputs of the pipeline to one folder for each run, which needs none of them."""

import json
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from headstart.config import Backbone, Params
from headstart.core.atomic_files import atomic_path, write_text
from headstart.core.errors import UserError
from headstart.core.file_digests import file_sha256
from headstart.core.git_commits import last_commit
from headstart.packaging.model_card import CARD_FILE, model_card
from headstart.packaging.model_description import (
    ConformalSets,
    HeadMember,
    ImageRule,
    ModelDescription,
    NetworkMember,
    PackagedBackbone,
    PackagedClass,
    PackagedFile,
    save_description,
)
from headstart.store.ensemble_curves import load_ensemble_curve
from headstart.store.examples import SPLITS
from headstart.store.features import split_provenance
from headstart.store.images import Images
from headstart.store.run_metrics import primary_protocol
from headstart.store.views import TEN_CROP, WHOLE

HEAD_FILE, NETWORK_FILE = "head.safetensors", "model.safetensors"
FAMILIARITY_FILE = "familiarity.safetensors"
"""The names of the files that training writes: of `heads` and of `training`."""

LIBRARIES = ("headstart", "torch", "timm", "openvino", "numpy", "pillow", "simplejpeg")

CODE = ("src", "stages", "dvc.yaml", "params.yaml", "pyproject.toml", "uv.lock")
"""What the commit in model.json is about: other files change no model."""


@dataclass(frozen=True)
class PipelineOutputs:
    """Where the pipeline's stages have written.

    trained: the folder of one folder with weights for each run. results: of all results.
    """

    trained: Path
    results: Path

    def read_json(self, run: str, name: str) -> dict[str, Any]:
        """Reads a file of results/evaluation/<run>.

        Raises:
            UserError: it is missing.
        """
        path = self.results / "evaluation" / run / name
        try:
            return json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            raise UserError(f"{path} is missing; `dvc repro` makes it") from None


def package_run(
    run: str, params: Params, images: Images, outputs: PipelineOutputs, folder: Path
) -> None:
    """Writes the model of an active run to `folder`: model.json, weights and the model card.

    Raises:
        UserError: an output of an earlier stage is missing or can't be read.
    """
    names = list(member_names(run, params, outputs))
    members = []
    for name in names:
        source = weights_file(outputs.trained, name)
        target = Path(source.name) if len(names) == 1 else Path(name) / source.name
        if source.parent.name != name:  # a snapshot
            target = Path(name).with_suffix(".safetensors")
        with atomic_path(folder / target) as unfinished:
            shutil.copyfile(source, unfinished)
        familiarity = None
        if source.name in (HEAD_FILE, NETWORK_FILE):
            familiarity = _copy_familiarity(source.parent, folder, target.parent)
        members.append(_describe_member(name, source, target, params, familiarity))
    metrics = outputs.read_json(run, "metrics.json")
    protocol = primary_protocol(metrics["val"])
    calibration = outputs.read_json(run, "calibration.json")[protocol]
    commit, uncommitted_changes = last_commit(Path.cwd(), CODE)
    views = TEN_CROP if protocol == "ten_crop" else (WHOLE,)
    description = ModelDescription(
        name=run,
        classes=[PackagedClass(id=c.id, name=c.name) for c in images.examples.classes],
        image=ImageRule(
            side=images.pixels.shape[1], fit=params.resize.fit, max_pixels=params.prepare.max_pixels
        ),
        views=[view.name for view in views],
        average=params.ensembles[run].average if len(names) > 1 else "probabilities",
        temperature=calibration["temperature"],
        conformal=ConformalSets(
            coverage=calibration["sets"]["stated_coverage"],
            threshold=calibration["sets"]["threshold"],
        ),
        reject=params.classify.reject,
        members=members,
        images={split: count for split in SPLITS if (count := len(images.rows(split)))},
        evaluation={"n": metrics["val"]["n"], "confidence": params.evaluate.confidence}
        | metrics["val"][protocol],
        versions={"python": platform.python_version()}
        | {library: version(library) for library in LIBRARIES},
        commit=commit,
        uncommitted_changes=uncommitted_changes,
        params=run_params(params, run, names),
    )
    save_description(folder, description)
    write_text(folder / CARD_FILE, model_card(description))


def member_names(run: str, params: Params, outputs: PipelineOutputs) -> Iterator[str]:
    """Yields the run itself, or the members of an ensemble: runs, or snapshots of one training run
    as `<run>/snapshot_<number>`."""
    if run not in params.ensemble.ensembles:
        yield run
        return
    recipe = params.ensembles[run]
    if recipe.choose != "all":
        curve = load_ensemble_curve(outputs.results / "ensembles" / f"{run}.tsv")
        yield from (size.joins for size in curve if size.kept)
    elif recipe.members is not None:
        yield from recipe.members
    else:
        folder = outputs.trained / str(recipe.snapshots_of)
        for path in sorted(folder.glob("snapshot_*.safetensors")):
            yield f"{folder.name}/{path.stem}"


def weights_file(trained: Path, name: str) -> Path:
    """Returns the file with the weights of a run or snapshot, as training wrote it.

    Raises:
        UserError: there is none.
    """
    candidates = (
        trained / name / HEAD_FILE,
        trained / name / NETWORK_FILE,
        trained / f"{name}.safetensors",
    )
    for path in candidates:
        if path.is_file():
            return path
    raise UserError(f"{trained / name} holds no trained model; `dvc repro` makes it")


def run_params(params: Params, run: str, members: list[str]) -> dict[str, Any]:
    """Returns the sections of params.yaml that a run rests on, and in `members` the choices that
    each of its members adds to them."""
    content = params.model_dump(mode="json")
    chosen = {key: content[key] for key in ("dataset", "prepare", "resize", "evaluate")}
    chosen["extract"] = {
        key: content["extract"][key] for key in ("ten_crop", "augmented_views", "dtype")
    }
    if run in params.ensemble.ensembles:
        chosen["ensemble"] = content["ensembles"][run]
    chosen["members"] = {name: _member_params(params, content, name) for name in members}
    return chosen


def _member_params(params: Params, content: dict[str, Any], name: str) -> dict[str, Any]:
    run = name.partition("/")[0]
    backbone, _, head = run.partition("-")
    if run in params.train_scratch.networks:
        network = content["networks"][run]
        recipes = [network["recipe"], network["first_recipe"]]
        used = {recipe: content["recipes"][recipe] for recipe in recipes if recipe}
        return {"network": network, "recipes": used}
    if run in (finetuned for finetuned, _ in params.finetuned.values()):
        section = {
            key: value
            for key, value in content["finetune"].items()
            if key not in ("backbones", "device", "processes")
        }
        return {
            "finetune": section,
            "zoo": {backbone: content["zoo"][backbone]},
            "head": content["heads"][section["head"]],
            "recipe": content["recipes"][section["recipe"]],
        }
    return {"zoo": {backbone: content["zoo"][backbone]}, "head": content["heads"][head]}


def _copy_familiarity(source: Path, folder: Path, subfolder: Path) -> PackagedFile | None:
    """Copies what training wrote about familiarity, which it doesn't of the papers' networks."""
    if not (source / FAMILIARITY_FILE).is_file():
        return None
    target = subfolder / FAMILIARITY_FILE
    with atomic_path(folder / target) as unfinished:
        shutil.copyfile(source / FAMILIARITY_FILE, unfinished)
    return PackagedFile(file=target.as_posix(), sha256=file_sha256(source / FAMILIARITY_FILE))


def _describe_member(
    name: str, source: Path, target: Path, params: Params, familiarity: PackagedFile | None
) -> HeadMember | NetworkMember:
    common = {
        "name": name,
        "file": target.as_posix(),
        "sha256": file_sha256(source),
        "familiarity": familiarity,
    }
    if source.name == HEAD_FILE:
        provenances = iter(split_provenance(_metadata(source, "head")["provenance"]))
        packaged = {}
        for alias, backbone in params.backbones[name.partition("-")[0]].items():
            # A backbone with several layers has a provenance for each of them.
            digests = [next(provenances)["weights"] for _ in backbone.layers or [None]]
            packaged[alias] = PackagedBackbone(entry=_pinned(backbone), weights=digests[0])
        return HeadMember(kind="head", backbones=packaged, dtype=params.extract.dtype, **common)
    # A snapshot is the weights alone; the file of its run describes them.
    identity = _metadata(source.parent / NETWORK_FILE, "network")
    identity.pop("classes")
    return NetworkMember(kind="network", input=identity.pop("input"), identity=identity, **common)


def _pinned(backbone: Backbone) -> dict[str, Any]:
    """Returns a zoo entry whose weights file is named absolutely and with its digest."""
    entry = backbone.model_dump(mode="json", exclude_defaults=True)
    if backbone.weights not in ("bundled", "none", "hub"):
        path = Path(backbone.weights).resolve()
        entry |= {"weights": str(path), "sha256": backbone.sha256 or file_sha256(path)}
    return entry


def _metadata(path: Path, key: str) -> dict[str, Any]:
    """Returns the JSON in the metadata of a file of weights.

    Raises:
        UserError: the file can't be read, or wasn't written by this version of headstart.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return json.loads((file.metadata() or {})[key])
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError):
        raise UserError(
            f"{path} is damaged or of another version; delete it and run `dvc repro`"
        ) from None
