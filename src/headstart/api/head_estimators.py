"""The heads of params.yaml for notebooks: their settings are keywords, and `fit` trains them."""

from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np

from headstart import config
from headstart.api.classifier import Classifier, match_classes
from headstart.api.extractor import ExtractedFeatures
from headstart.config import validate_as
from headstart.config.evaluation import ChooseBy
from headstart.core.errors import UserError, did_you_mean
from headstart.data.splits import held_out
from headstart.heads.fitting import fit_head
from headstart.metrics.selection import CRITERIA

SECTIONS = get_args(get_args(config.Head)[0])
"""The sections of params.yaml that heads are."""

HELD_OUT_FRACTION = 0.2
"""Of each class's images, where there is no tune."""


class HeadEstimator:
    """What all heads have in common: settings, all of which have defaults, and `fit`."""

    if not TYPE_CHECKING:  # type checkers see the settings themselves, as pydantic declares them

        def __init__(self, **settings: Any) -> None:
            """Raises UserError, which names the setting, where one is unknown or out of range."""
            name, known = type(self).__name__, type(self).model_fields
            for key in settings:
                if key not in known:
                    raise UserError(f"{name}: unknown setting '{key}'; {did_you_mean(key, known)}")
            settings = {
                key: value.model_dump() if isinstance(value, HeadEstimator) else value
                for key, value in settings.items()
            }
            section = next(base for base in type(self).__mro__ if base in SECTIONS)
            validate_as(section, settings, name)
            super().__init__(**settings)

    def fit(
        self,
        train: ExtractedFeatures,
        tune: ExtractedFeatures | None = None,
        *,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        choose_by: ChooseBy = "accuracy",
    ) -> Classifier:
        """Trains a classifier on `train`; whatever is chosen is chosen on `tune`.

        Args:
            train: labeled features of an Extractor.
            tune: labeled features of the same extractor, to choose on: the strength of ridge, for
                instance, and the temperature of the probabilities. None: a fifth of each class of
                `train`, held out by a hash of the images' pixels, the same in each run.
            device: of heads that are trained by gradient; `auto` is a GPU where there is one.
            choose_by: what `tune` chooses by.

        Raises:
            UserError: the features can't be learned from, or don't belong together.
        """
        if choose_by not in CRITERIA:
            raise UserError(
                f"choose_by can't be '{choose_by}'; {did_you_mean(choose_by, CRITERIA)}"
            )
        recipe = cast(config.Head, self)
        for name, features in (("train", train), ("tune", tune)):
            if features is not None and not isinstance(features, ExtractedFeatures):
                raise UserError(
                    f"{name} is a {type(features).__name__}; give the features of an Extractor"
                )
            if features is not None and not features.examples.labeled:
                raise UserError(f"{name} has no labels; give the extractor one for each image")
        if recipe.train_views == "all" and len(train.views) == 1:
            raise UserError(
                "train_views is 'all', but train shows whole images alone; extract it with "
                "augmented_views, or set train_views to 'whole'"
            )
        if tune is None:
            train, tune = hold_out(train)
        else:
            tune = cast(ExtractedFeatures, match_classes(tune, train.examples.classes))
        fitted = fit_head(recipe, train, tune, device, choose_by)
        return Classifier.calibrated(fitted.head, tune)


class LinearHead(HeadEstimator, config.LinearHead):
    """Softmax regression, trained by gradient with label smoothing (Milani, section 4.2)."""


class MLPHead(HeadEstimator, config.MLPHead):
    """A multi-layer perceptron; `hidden` are the widths of its layers."""


class LogisticRegressionHead(HeadEstimator, config.LogisticRegressionHead):
    """scikit-learn's logistic regression; tune chooses among the inverse L2 strengths `c`."""


class NearestNeighborsHead(HeadEstimator, config.NearestNeighborsHead):
    """The votes of the k most similar images; tune chooses `k` and `temperature`."""


class RidgeHead(HeadEstimator, config.RidgeHead):
    """Ridge regression onto the classes; tune chooses among the L2 `strengths`."""


class LDAHead(HeadEstimator, config.LDAHead):
    """Linear discriminant analysis; tune chooses among the `shrinkages` of the covariance."""


class SweepHead(HeadEstimator, config.SweepHead):
    """Many variants of a LinearHead or MLPHead, trained at once; tune chooses.

    over: the values of each setting of `head`; all combinations are tried, or `sample` of them.
    """


def hold_out(features: ExtractedFeatures) -> tuple[ExtractedFeatures, ExtractedFeatures]:
    """Features in two parts: what remains, and a fifth of the distinct images of each class.

    Raises:
        UserError: no class has two images.
    """
    keys = [digest.tobytes().hex() for digest in features.digests]
    in_tune = np.zeros(len(features), bool)
    for label in range(len(features.examples.classes)):
        of_class = np.flatnonzero(features.examples.labels == label)
        chosen = held_out((keys[i] for i in of_class), HELD_OUT_FRACTION, seed=0)
        in_tune[[i for i in of_class if keys[i] in chosen]] = True
    if not in_tune.any():
        raise UserError("no class has two different images to hold one out; give `tune`")
    return features[~in_tune], features[in_tune]
