import pytest

from headstart.core.errors import UserError
from headstart.store.class_lookup import find_classes
from headstart.store.examples import ClassLabel
from tests import cases

CLASSES = cases.examples(1).classes


@pytest.mark.parametrize(
    "name", ["n00000001", "sports car, sport car", "sport car", "Sports Car", " sports car "]
)
def test_a_class_has_many_names(name: str):
    assert find_classes([name], CLASSES, "tsne.classes") == [1]


def test_no_name_means_all_and_one_twice_means_once():
    assert find_classes([], CLASSES, "tsne.classes") == [0, 1, 2, 3]
    assert find_classes(
        ["plunger", "convertible", "plumber's helper"], CLASSES, "tsne.classes"
    ) == [2, 0]


def test_an_unknown_class_is_answered_with_the_nearest():
    with pytest.raises(
        UserError, match=r"^tsne.classes: no class 'Egyptain cat'; did you mean 'egyptian cat'\?"
    ):
        find_classes(["Egyptain cat"], CLASSES, "tsne.classes")


def test_an_ambiguous_name_is_answered_with_the_ids():
    classes = [ClassLabel("n1", "crane"), ClassLabel("n2", "crane")]
    with pytest.raises(
        UserError, match=r"tsne.classes: 'crane' names several classes; give one of n1, n2"
    ):
        find_classes(["crane"], classes, "tsne.classes")
    assert find_classes(["n2"], classes, "tsne.classes") == [1]
