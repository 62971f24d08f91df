"""params.yaml as one validated model, so that a typo is reported before hours of work.

Every stage validates the whole file first. A section has the name of its stage; `zoo`, `heads`,
`networks`, `recipes` and `ensembles` are tables of aliases that the stages' sections choose from.
"""

from headstart.config.backbones import (
    Backbone,
    Concatenation,
    Extract,
    timm_architectures,
)
from headstart.config.evaluation import EnsembleRecipe, Evaluate, LearningCurve
from headstart.config.heads import (
    Head,
    LDAHead,
    LinearHead,
    LogisticRegressionHead,
    MLPHead,
    NearestNeighborsHead,
    RidgeHead,
    SweepHead,
)
from headstart.config.localization import Localize
from headstart.config.params import Params, load_params
from headstart.config.preparation import DatasetOutline, Prepare
from headstart.config.section import Section
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
from headstart.config.validation import load_as, validate_as

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
    "Extract",
    "Finetune",
    "Head",
    "LDAHead",
    "LearningCurve",
    "LinearHead",
    "Localize",
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
    "load_as",
    "load_params",
    "timm_architectures",
    "validate_as",
]
