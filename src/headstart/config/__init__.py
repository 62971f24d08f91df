"""params.yaml as one validated model, so that a typo is reported before hours of work.

Every stage validates the whole file first. A section has the name of its stage; `zoo`, `heads`,
`networks`, `recipes` and `ensembles` are tables of aliases that the stages' sections choose from.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml
from pydantic import BaseModel, ValidationError, model_validator
from pydantic_core import ErrorDetails

from headstart.config.backbones import (
    Backbone,
    Concatenation,
    Extract,
    ZooEntry,
    timm_architectures,
)
from headstart.config.evaluation import TSNE, Ensemble, EnsembleRecipe, Evaluate, LearningCurve
from headstart.config.heads import (
    Head,
    LDAHead,
    LinearHead,
    LogisticRegressionHead,
    MLPHead,
    NearestNeighborsHead,
    RidgeHead,
    SweepHead,
    TrainHead,
)
from headstart.config.preparation import DatasetOutline, Prepare, Resize
from headstart.config.section import Alias, Section
from headstart.config.standard_zoo import STANDARD_ZOO
from headstart.config.training import (
    SGD,
    Adam,
    AdamW,
    Augmentation,
    Cosine,
    ExponentialDecay,
    Finetune,
    Network,
    Optimizer,
    PlateauDecay,
    Recipe,
    RMSProp,
    Schedule,
    TrainScratch,
)
from headstart.core.errors import UserError, did_you_mean

__all__ = [
    "SGD",
    "STANDARD_ZOO",
    "Adam",
    "AdamW",
    "Augmentation",
    "Backbone",
    "Concatenation",
    "Cosine",
    "DatasetOutline",
    "EnsembleRecipe",
    "Evaluate",
    "ExponentialDecay",
    "Finetune",
    "Head",
    "LDAHead",
    "LearningCurve",
    "LinearHead",
    "LogisticRegressionHead",
    "MLPHead",
    "NearestNeighborsHead",
    "Network",
    "Optimizer",
    "Params",
    "PlateauDecay",
    "Prepare",
    "RMSProp",
    "Recipe",
    "RidgeHead",
    "Schedule",
    "Section",
    "SweepHead",
    "TrainScratch",
    "load_params",
    "timm_architectures",
    "validate_as",
]


SINGLE = "zoo (without concatenations)"

PLAIN_MESSAGES = {
    **dict.fromkeys(
        ("model_type", "model_attributes_type", "dict_type"),
        "should be a section: keys below it, each with its value",
    ),
    "list_type": "should be a list, as in [a, b]",
    "path_type": "should be a path",
}
"""Messages in plain words, by pydantic's names of errors."""

MERGE = "tag:yaml.org,2002:merge"
"""The tag of the key `<<`, which merges other mappings into a section."""

KEYS_THAT_DVC_IGNORES = frozenset({"size", "nfiles"})
"""Keys that DVC's run cache ignores at every depth: a stage whose params differ only in these is
not
run again."""


class Params(Section):
    """All sections of params.yaml, and the names of the runs that they activate."""

    dataset: DatasetOutline
    prepare: Prepare
    resize: Resize
    zoo: dict[Alias, ZooEntry]
    extract: Extract
    heads: dict[Alias, Head]
    train_head: TrainHead
    recipes: dict[Alias, Recipe]
    networks: dict[Alias, Network]
    train_scratch: TrainScratch
    finetune: Finetune
    ensembles: dict[Alias, EnsembleRecipe]
    ensemble: Ensemble
    evaluate: Evaluate
    learning_curve: LearningCurve
    tsne: TSNE

    @model_validator(mode="after")
    def _sections_fit_each_other(self) -> Self:
        # The other checks look up aliases, which must exist.
        problems = list(self._unknown_aliases()) or [
            *self._views_that_are_not_extracted(),
            *self._runs_that_finetuning_lacks(),
            *self._runs_that_ensembles_lack(),
            *self._snapshots_that_ensembles_lack(),
            *self._names_of_two_runs(),
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _unknown_aliases(self) -> Iterator[str]:
        for key, chosen, table, name in (
            *(
                (f"zoo.{alias}.concatenate", entry.concatenate, self.single_backbones, SINGLE)
                for alias, entry in self.zoo.items()
                if isinstance(entry, Concatenation)
            ),
            ("extract.backbones", self.extract.backbones, self.zoo, "zoo"),
            ("train_head.heads", self.train_head.heads, self.heads, "heads"),
            ("train_scratch.networks", self.train_scratch.networks, self.networks, "networks"),
            ("finetune.backbones", self.finetune.backbones, self.single_backbones, SINGLE),
            ("finetune.head", [self.finetune.head], self.heads, "heads"),
            ("finetune.recipe", [self.finetune.recipe], self.recipes, "recipes"),
            *(
                (f"networks.{alias}.{key}", [chosen], table, name)
                for alias, network in self.networks.items()
                for key, chosen, table, name in (
                    ("recipe", network.recipe, self.recipes, "recipes"),
                    ("first_recipe", network.first_recipe, self.recipes, "recipes"),
                    ("trunk", network.trunk, self.single_backbones, SINGLE),
                )
                if chosen is not None
            ),
            ("learning_curve.heads", self.learning_curve.heads, self.heads, "heads"),
            ("ensemble.ensembles", self.ensemble.ensembles, self.ensembles, "ensembles"),
        ):
            for alias in chosen:
                if alias not in table:
                    yield f"{key}: {name} has no '{alias}'; {did_you_mean(alias, table)}"
            if len(set(chosen)) < len(chosen):
                yield f"{key}: an alias stands there twice; name each once"

    def _views_that_are_not_extracted(self) -> Iterator[str]:
        for alias in (*self.train_head.heads, *self.learning_curve.heads):
            if self.heads[alias].train_views == "all" and not self.extract.augmented_views:
                yield (
                    f"heads.{alias}: train_views is all, but extract.augmented_views is 0; raise "
                    f"that, or set train_views to whole"
                )

    def _runs_that_finetuning_lacks(self) -> Iterator[str]:
        for key, aliases, section, active in (
            ("backbones", self.finetune.backbones, "extract.backbones", self.extract.backbones),
            ("head", [self.finetune.head], "train_head.heads", self.train_head.heads),
        ):
            for alias in aliases if self.finetune.backbones else []:
                if alias not in active:
                    yield (
                        f"finetune.{key}: '{alias}' is not in {section}, which fine-tuning goes on "
                        f"from; name it there too, or set finetune.backbones to []"
                    )

    def _runs_that_ensembles_lack(self) -> Iterator[str]:
        for name in self.ensemble.ensembles:
            members = self.ensembles[name].members or []
            for member in members:
                if member not in self.single_runs:
                    near = did_you_mean(member, self.single_runs)
                    yield f"ensembles.{name}: no run '{member}' is active; {near}"
            if len(set(members)) < len(members):
                yield f"ensembles.{name}: a member stands there twice; name each once"

    def _snapshots_that_ensembles_lack(self) -> Iterator[str]:
        for name in self.ensemble.ensembles:
            network = self.ensembles[name].snapshots_of
            if network is None:
                continue
            if network not in self.networks:
                near = did_you_mean(network, self.networks)
                yield f"ensembles.{name}: networks has no '{network}'; {near}"
            elif network not in self.train_scratch.networks:
                yield (
                    f"ensembles.{name}: '{network}' isn't trained; name it in "
                    f"train_scratch.networks"
                )
            elif self.train_scratch.snapshots == 1:
                yield f"ensembles.{name}: train_scratch.snapshots is 1; raise it"

    def _names_of_two_runs(self) -> Iterator[str]:
        sections = {
            "heads": [run for run in self.single_runs if run.endswith("-finetune")],
            "ensembles": [*self.train_scratch.networks, *self.ensemble.ensembles],
        }
        for section, names in sections.items():
            for name, count in Counter(names).items():
                if count > 1:
                    alias = name.rpartition("-")[2]
                    yield f"{section}.{alias}: another run is named {name}; rename the alias"

    @property
    def single_backbones(self) -> dict[str, Backbone]:
        """The zoo's entries that are not concatenations."""
        return {a: entry for a, entry in self.zoo.items() if isinstance(entry, Backbone)}

    @property
    def backbones(self) -> dict[str, dict[str, Backbone]]:
        """The backbones of each alias of zoo by their own aliases: one, or a concatenation's
        members.

        Members are always in alphabetical order, so that two runs can't deadlock on each other's
        caches.
        """
        single = self.single_backbones
        return {
            alias: {alias: entry}
            if isinstance(entry, Backbone)
            else {member: single[member] for member in sorted(entry.concatenate)}
            for alias, entry in self.zoo.items()
        }

    @property
    def learning_curves(self) -> list[str]:
        """The names of the active runs of learning_curve, as dvc.yaml composes them."""
        return [f"{b}-{h}" for b in self.extract.backbones for h in self.learning_curve.heads]

    @property
    def single_runs(self) -> list[str]:
        """The names of the active runs without ensembles, as dvc.yaml composes them."""
        return [run for run, _ in self._origins]

    @property
    def head_runs(self) -> list[str]:
        """The names of the active runs of train_head, as dvc.yaml composes them."""
        return [f"{b}-{h}" for b in self.extract.backbones for h in self.train_head.heads]

    @property
    def transfer_runs(self) -> list[str]:
        """The names of the active runs that start from pretrained weights."""
        return [run for run, origin in self._origins if self._is_pretrained(origin)]

    @property
    def scratch_runs(self) -> list[str]:
        """The names of the active runs that train all weights from scratch."""
        networks = self.train_scratch.networks
        return [n for n in networks if not self._is_pretrained(self.networks[n].trunk)]

    @property
    def finetuned(self) -> dict[str, tuple[str, str]]:
        """The fine-tuned run of each backbone, and the run of the head that it starts from."""
        head = self.finetune.head
        return {b: (f"{b}-finetune", f"{b}-{head}") for b in self.finetune.backbones}

    @property
    def _origins(self) -> list[tuple[str, str | None]]:
        """Each run with the alias in zoo of the backbone that it starts from."""
        return [
            *((f"{b}-{head}", b) for b in self.extract.backbones for head in self.train_head.heads),
            *((f"{backbone}-finetune", backbone) for backbone in self.finetune.backbones),
            *((alias, self.networks[alias].trunk) for alias in self.train_scratch.networks),
        ]

    def _is_pretrained(self, backbone: str | None) -> bool:
        entries = self.backbones[backbone].values() if backbone else ()
        return any(entry.weights != "none" for entry in entries)

    @property
    def runs(self) -> list[str]:
        """The names of all active runs, in the order of params.yaml, ensembles last."""
        return [*self.single_runs, *self.ensemble.ensembles]


Model = TypeVar("Model", bound=BaseModel)

_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # of C where it was built


class _Loader(_SafeLoader):
    """A YAML loader that rejects duplicate keys, of which PyYAML would use the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        counts = Counter(key.value for key, _ in node.value if key.tag != MERGE)
        for key, _ in node.value:
            if counts[key.value] > 1:
                line = key.start_mark.line + 1
                raise yaml.YAMLError(f"'{key.value}' stands twice in one section, in line {line}")
        return super().construct_mapping(node, deep)


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Reads and validates params.yaml, but for the keys of `dataset` that its reader defines.

    `headstart.data.datasets.load_params` validates these too.

    Raises:
        UserError: see `load_as`.
    """
    return load_as(Params, path)


def load_as(model: type[Model], path: Path) -> Model:
    """Reads a YAML file and validates its content as `model`.

    Raises:
        UserError: the file can't be read or isn't YAML, keys or values in it are wrong, or DVC
            would overlook a key; one line each. Whether the sections fit each other is checked
            once each of them is valid.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run from the project's root") from None
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    valid = validate_as(model, content, str(path))
    for keys in _keys(content):
        if keys[-1] in KEYS_THAT_DVC_IGNORES:
            raise UserError(
                f"{path}: {'.'.join(keys)}: DVC overlooks a change below a key that is called "
                f"'{keys[-1]}'; rename or remove that key"
            )
    return valid


def validate_as(model: type[Model], content: Any, source: str) -> Model:
    """Validates `content`, whose origin messages call `source`, as `model`.

    Raises:
        UserError: keys or values in it are wrong; one line each, which names its key.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = "\n".join(_line(content, problem) for problem in error.errors())
        lines = (f"{source}: {line}" for line in problems.splitlines())
        raise UserError("\n".join(lines)) from None


def _keys(content: Any, parents: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yields the path of every key at every depth; items of a list have the path of the list."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield (*parents, str(key))
            yield from _keys(value, (*parents, str(key)))
    elif isinstance(content, list):
        for item in content:
            yield from _keys(item, parents)


def _line(content: Any, problem: ErrorDetails) -> str:
    """Formats a problem as `section.key: what is wrong and what would be right`."""
    keys = []
    for key in problem["loc"]:
        # pydantic also names the member of a union that it tried; the file has no such key.
        if isinstance(content, dict) and key in content:
            keys.append(str(key))
            content = content[key]
        elif isinstance(content, list):
            keys.append(str(key))
    context = problem.get("ctx", {})
    match problem["type"]:
        case "missing":
            keys.append(str(problem["loc"][-1]))
            message = "is missing"
        case "union_tag_not_found":
            keys.append(context["discriminator"].strip("'"))
            message = "is missing"
        case "union_tag_invalid":
            field = context["discriminator"].strip("'")
            keys.append(field)
            valid = re.findall(r"'(\w+)'", context["expected_tags"])
            message = f"unknown {field} '{context['tag']}'; {did_you_mean(context['tag'], valid)}"
        case "literal_error":
            valid = re.findall(r"'(\w+)'", context["expected"])
            message = f"can't be '{problem['input']}'; {did_you_mean(str(problem['input']), valid)}"
        case kind:
            message = PLAIN_MESSAGES.get(kind) or problem["msg"].removeprefix("Value error, ")
    return ": ".join(filter(None, [".".join(keys), message]))
