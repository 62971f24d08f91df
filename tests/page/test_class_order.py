import numpy as np

from headstart.page.class_order import order_classes


def confused_pairs(classes: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, likeliest classes and probabilities; each class is confused with one other alone.

    A permutation hides which: classes 2 i and 2 i + 1 of the permutation are a pair.
    """
    order = np.random.default_rng(seed).permutation(classes)
    partner = np.empty(classes, np.int64)
    partner[order[0::2]], partner[order[1::2]] = order[1::2], order[0::2]
    labels = np.repeat(np.arange(classes), 3)
    top = np.stack([labels, partner[labels]], axis=1)
    return labels, top, np.tile([0.7, 0.3], (len(labels), 1))


def test_confused_classes_are_neighbors():
    labels, top, probabilities = confused_pairs(200, seed=0)
    order = order_classes(labels, top, probabilities, 200)
    assert sorted(order) == list(range(200))
    position = np.argsort(order)
    assert (np.abs(position[top[:, 0]] - position[top[:, 1]]) == 1).all()


def test_neighbors_in_a_chain_stay_in_its_order():
    """Class i is confused with i + 1, hidden by a permutation: the only best order is the chain."""
    names = np.random.default_rng(3).permutation(12)
    labels = names[:-1]
    top = np.stack([names[:-1], names[1:]], axis=1)
    # Differing strengths, so that average linkage has no ties.
    p = np.linspace(0.2, 0.45, 11)
    order = order_classes(labels, top, np.stack([1 - p, p], axis=1), 12)
    position = np.argsort(order)
    assert np.mean(np.abs(np.diff(position[names])) == 1) > 0.8


def test_one_two_and_a_thousand_classes():
    assert order_classes(np.zeros(1, int), np.zeros((1, 1), int), np.ones((1, 1)), 1) == [0]
    labels, top, probabilities = confused_pairs(2, seed=0)
    assert order_classes(labels, top, probabilities, 2) == [0, 1]
    labels, top, probabilities = confused_pairs(1000, seed=1)
    assert sorted(order_classes(labels, top, probabilities, 1000)) == list(range(1000))
    labels, top, probabilities = confused_pairs(2002, seed=1)
    assert order_classes(labels, top, probabilities, 2002) == list(range(2002))
