from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headstart.core.errors import UserError
from headstart.evaluation.tsne_embedding import project_features, select_images
from headstart.report.tsne_figure import draw_tsne
from headstart.store.embeddings import Embedding, load_embedding, write_embedding
from headstart.store.features import Features
from tests import cases

CLASSES = cases.examples(4).classes


def features(n: int = 80, classes: int = 4) -> Features:
    """Three views; only the whole one, which is not the first, tells the classes apart."""
    of = cases.examples(n, classes=classes)
    rng = np.random.default_rng(0)
    values = rng.normal(size=(n, 3, 64))
    values[:, 1] += 6 * np.eye(classes, 64)[of.labels]
    return Features(values.astype(np.float16), ["top_left", "whole", "top_right"], of, {})


def test_selects_so_many_of_each_class_in_the_order_asked_for():
    labels = np.array([0, 1, 0, 1, 0, 2])
    np.testing.assert_array_equal(select_images(labels, [2, 0], 2), [5, 0, 2])


def test_classes_that_differ_in_the_whole_view_come_apart():
    of = features()
    found = project_features([of], [], 100, perplexity=10, seed=0)
    points = found.points
    assert sorted(found.ids) == sorted(of.examples.ids)
    positions = {label: c for c, label in enumerate(of.examples.classes)}
    labels = np.array([positions[label] for label in found.labels])
    stored = dict(zip(of.examples.ids, of.examples.labels, strict=True))
    assert [stored[id_] for id_ in found.ids] == labels.tolist()
    assert points.shape == (80, 2)
    centers = np.stack([points[labels == c].mean(0) for c in range(4)])
    nearest = np.linalg.norm(points[:, None] - centers, axis=-1).argmin(1)
    assert (nearest == labels).mean() > 0.95


def test_one_seed_one_result():
    first = project_features([features(40)], ["plunger", "convertible"], 100, perplexity=5, seed=1)
    again = project_features([features(40)], ["plunger", "convertible"], 100, perplexity=5, seed=1)
    np.testing.assert_array_equal(first.points, again.points)


def test_several_splits_share_one_plane():
    train, val = features(40), features(40)
    renamed = replace(val.examples, ids=[f"other {id_}" for id_ in val.examples.ids])
    val = replace(val, values=train.values, examples=renamed)
    found = project_features([train, val], [], 3, perplexity=5, seed=0)
    assert found.ids[12:] == [f"other {id_}" for id_ in found.ids[:12]]
    # The same features in both splits: each image is nearest to its copy.
    distance = np.linalg.norm(found.points[:12, None] - found.points[None, 12:], axis=-1)
    assert (distance.argmin(1) == np.arange(12)).mean() > 0.8


def test_too_high_a_perplexity_names_the_fix():
    with pytest.raises(UserError, match=r"perplexity 30 needs more than 30 images, and there are"):
        project_features([features(20)], [], 100, perplexity=30, seed=0)


@pytest.mark.parametrize("classes", [4, 20, 60])
def test_figure_names_every_class_and_is_the_same_twice(tmp_path: Path, classes: int):
    of = cases.examples(3 * classes, classes=classes)
    points = np.random.default_rng(0).normal(size=(3 * classes, 2))
    embedding = Embedding(of.ids, [of.classes[label] for label in of.labels], points)
    write_embedding(tmp_path / "one.tsv", embedding)
    read = load_embedding(tmp_path / "one.tsv")
    assert (read.ids, read.labels) == (embedding.ids, embedding.labels)
    np.testing.assert_allclose(read.points, points, rtol=1e-5)
    for name in ("one.svg", "two.svg"):
        draw_tsne(tmp_path / name, read)
    drawn = (tmp_path / "one.svg").read_text()
    assert all(f">{label.name.split(',')[0]}<" in drawn for label in of.classes)
    assert drawn == (tmp_path / "two.svg").read_text()
