"""Features of chosen classes in the plane, by t-SNE (Milani, section 4.3 and fig. 11)."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from headstart.core.errors import UserError, did_you_mean
from headstart.store.examples import UNLABELED, ClassLabel
from headstart.store.features import Features
from headstart.store.views import WHOLE

COMPONENTS = 50
"""Principal components that t-SNE starts from: less noise and less time (van der Maaten, 2008)."""


def find_classes(wanted: Sequence[str], classes: list[ClassLabel]) -> list[int]:
    """The positions of `wanted` in `classes`, each by its id, its name, or one of its synonyms.

    A name such as "plunger, plumber's helper" lists synonyms. Upper and lower case are one. All
    classes if none is wanted.

    Raises:
        UserError: no class or more than one has that name.
    """
    known: dict[str, set[int]] = defaultdict(set)
    for position, label in enumerate(classes):
        for name in (label.id, label.name, *label.name.split(",")):
            known[name.strip().casefold()].add(position)
    found = []
    for name in wanted:
        match sorted(known.get(name.strip().casefold(), ())):
            case [position]:
                found.append(position)
            case []:
                raise UserError(
                    f"tsne.classes: no class '{name}'; {did_you_mean(name.casefold(), known)}"
                )
            case several:
                ids = ", ".join(classes[position].id for position in several)
                raise UserError(f"tsne.classes: '{name}' names several classes; give one of {ids}")
    return list(dict.fromkeys(found)) or list(range(len(classes)))


def select_images(labels: np.ndarray, classes: list[int], images_per_class: int) -> np.ndarray:
    """The rows of the first `images_per_class` images of each of `classes`, from labels [N]."""
    return np.concatenate([np.flatnonzero(labels == c)[:images_per_class] for c in classes])


def embed_tsne(values: np.ndarray, perplexity: float, seed: int) -> np.ndarray:
    """Values [N, D] in the plane, [N, 2] float32: t-SNE from a PCA start; one seed, one result.

    Raises:
        UserError: there are no more points than `perplexity`.
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
    features: Features, wanted: Sequence[str], images_per_class: int, perplexity: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The points [N, 2] of the whole view of the `wanted` classes, and their labels [N].

    Raises:
        UserError: a class is unknown or ambiguous, or the perplexity is too high.
    """
    labels = features.examples.labels
    assert UNLABELED not in labels
    chosen = find_classes(wanted, features.examples.classes)
    rows = select_images(labels, chosen, images_per_class)
    whole = features.values[rows, features.views.index(WHOLE.name)]
    return embed_tsne(whole, perplexity, seed), labels[rows]
