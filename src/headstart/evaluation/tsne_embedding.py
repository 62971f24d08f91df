"""t-SNE of the features of chosen classes (Milani, section 4.3 and fig. 11)."""

from collections.abc import Sequence

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from headstart.core.errors import UserError
from headstart.store.class_lookup import find_classes
from headstart.store.embeddings import Embedding
from headstart.store.examples import UNLABELED, ClassLabel
from headstart.store.features import Features
from headstart.store.views import WHOLE

COMPONENTS = 50
"""Features are reduced to so many principal components first, which removes noise and saves time
(van der Maaten and Hinton, 2008)."""


def select_images(labels: np.ndarray, classes: list[int], images_per_class: int) -> np.ndarray:
    """The rows of the first `images_per_class` images of each of `classes`, from labels [N]."""
    return np.concatenate([np.flatnonzero(labels == c)[:images_per_class] for c in classes])


def embed_tsne(values: np.ndarray, perplexity: float, seed: int) -> np.ndarray:
    """The points [N, 2] float32 of values [N, D], by t-SNE that is initialized with PCA.

    The same values and seed give the same points.

    Raises:
        UserError: there are not more values than `perplexity`.
    """
    if len(values) <= perplexity:
        raise UserError(
            f"tsne.perplexity {perplexity:g} needs more than {perplexity:g} images, and there are "
            f"{len(values)}; lower it, or raise tsne.images_per_class or the number of classes"
        )
    components = PCA(min(COMPONENTS, *values.shape), random_state=seed)
    reduced = components.fit_transform(values.astype(np.float32))
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(reduced)


def project_features(
    splits: Sequence[Features],
    names: Sequence[str],
    images_per_class: int,
    perplexity: float,
    seed: int,
) -> Embedding:
    """The whole views of some images of each class of each of `splits` in one plane.

    names: of the classes, as in `find_classes`.

    Raises:
        UserError: a class is unknown or ambiguous, or the perplexity is too high.
    """
    classes = splits[0].examples.classes
    positions = find_classes(names, classes, "tsne.classes")
    ids: list[str] = []
    labels: list[ClassLabel] = []
    values = []
    for features in splits:
        of = features.examples
        assert UNLABELED not in of.labels
        rows = select_images(of.labels, positions, images_per_class)
        ids += [of.ids[row] for row in rows]
        labels += [classes[label] for label in of.labels[rows]]
        values.append(features.values[rows, features.views.index(WHOLE.name)])
    return Embedding(ids, labels, embed_tsne(np.concatenate(values), perplexity, seed))
