"""All sections of params.yaml as one model, and what they have to say of each other."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from headstart.config.backbones import (
    Backbone,
    Concatenation,
    Extract,
    ZooEntry,
)
from headstart.config.evaluation import (
    TSNE,
    Classify,
    Ensemble,
    EnsembleRecipe,
    Evaluate,
    LearningCurve,
    Report,
)
from headstart.config.heads import (
    Head,
    TrainHead,
)
from headstart.config.localization import Localize
from headstart.config.preparation import DatasetOutline, Prepare, Resize
from headstart.config.section import Alias, Section
from headstart.config.training import (
    Finetune,
    Network,
    Recipe,
    Sheets,
    Study,
    TrainScratch,
)
from headstart.config.validation import load_as
from headstart.core.errors import did_you_mean

SINGLE = "zoo (without concatenations)"
WHOLE = "zoo (without concatenations or layers)"


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
    studies: dict[Alias, Study] = Field(default={})
    train_scratch: TrainScratch
    finetune: Finetune
    ensembles: dict[Alias, EnsembleRecipe]
    ensemble: Ensemble
    evaluate: Evaluate
    classify: Classify = Classify(reject=0)
    learning_curve: LearningCurve
    tsne: TSNE
    report: Report
    sheets: Sheets
    localize: Localize

    @model_validator(mode="after")
    def _sections_fit_each_other(self) -> Self:
        # The other checks look up aliases, which must exist.
        problems = list(self._unknown_aliases()) or [
            *self._runs_that_studies_misname(),
            *self._views_that_are_not_extracted(),
            *self._runs_that_finetuning_lacks(),
            *self._backbones_that_finetuning_cannot_train(),
            *self._images_that_finetuning_cannot_mix(),
            *self._features_that_localizers_lack(),
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
            ("finetune.backbones", self.finetune.backbones, self.whole_backbones, WHOLE),
            ("finetune.head", [self.finetune.head], self.heads, "heads"),
            ("finetune.recipe", [self.finetune.recipe], self.recipes, "recipes"),
            ("sheets.recipe", [self.sheets.recipe], self.recipes, "recipes"),
            *(
                (f"networks.{alias}.{key}", [chosen], table, name)
                for alias, network in self.networks.items()
                for key, chosen, table, name in (
                    ("recipe", network.recipe, self.recipes, "recipes"),
                    ("first_recipe", network.first_recipe, self.recipes, "recipes"),
                    ("trunk", network.trunk, self.whole_backbones, WHOLE),
                )
                if chosen is not None
            ),
            ("learning_curve.heads", self.learning_curve.heads, self.heads, "heads"),
            ("localize.backbones", self.localize.backbones, self.whole_backbones, WHOLE),
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

    def _backbones_that_finetuning_cannot_train(self) -> Iterator[str]:
        for alias in self.finetune.backbones:
            if self.single_backbones[alias].architecture == "pixels":
                yield f"finetune.backbones: '{alias}' has no weights to train; remove it"

    def _images_that_finetuning_cannot_mix(self) -> Iterator[str]:
        recipe = self.recipes[self.finetune.recipe]
        if self.finetune.has_trunk and (recipe.mixup or recipe.cutmix):
            yield (
                f"finetune.recipe: '{self.finetune.recipe}' mixes images, which training a part of "
                f"the network doesn't see; set its mixup and cutmix to 0"
            )

    def _runs_that_studies_misname(self) -> Iterator[str]:
        known = {
            *self.networks,
            *(f"{backbone}-{head}" for backbone in self.zoo for head in self.heads),
            *(f"{backbone}-finetune" for backbone in self.single_backbones),
        }
        for name, runs in self.studies.items():
            for run in runs:
                if run not in known:
                    near = did_you_mean(run, known)
                    yield f"studies.{name}: no run can be called '{run}'; {near}"
            if len(set(runs)) < len(runs):
                yield f"studies.{name}: a run stands there twice; name each once"

    def _features_that_localizers_lack(self) -> Iterator[str]:
        for alias in self.localize.backbones:
            if alias not in self.extract.backbones:
                yield (
                    f"localize.backbones: '{alias}' is not in extract.backbones, whose features a "
                    f"baseline of the localizer needs; name it there too"
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
    def whole_backbones(self) -> dict[str, Backbone]:
        """The zoo's entries without layers, whose features are the network's own output."""
        return {a: entry for a, entry in self.single_backbones.items() if not entry.layers}

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
    def active_studies(self) -> dict[str, list[str]]:
        """The active runs of each study that has at least two of them."""
        active = {
            study: [run for run in runs if run in self.single_runs]
            for study, runs in self.studies.items()
        }
        return {study: runs for study, runs in active.items() if len(runs) > 1}

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


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Reads and validates params.yaml, but for the keys of `dataset` that its reader defines.

    `headstart.data.datasets.load_params` validates these too.

    Raises:
        UserError: see `load_as`.
    """
    return load_as(Params, path)
