from dataclasses import replace

import numpy as np
import pytest

from headstart.core.errors import UserError
from headstart.store.label_checks import validate_classes
from tests import cases


def test_two_classes_with_images_are_enough() -> None:
    validate_classes(cases.examples(2, classes=2))


def test_one_class_is_named() -> None:
    with pytest.raises(UserError, match="the only class is 'convertible'; it takes two"):
        validate_classes(cases.examples(5, classes=1))


@pytest.mark.parametrize(("missing", "shown"), [(1, "class 19;"), (12, "class 19;"), (13, ", …;")])
def test_classes_without_images_are_counted_and_named(missing: int, shown: str) -> None:
    examples = cases.examples(40, classes=20)
    incomplete = replace(examples, labels=np.minimum(examples.labels, 19 - missing))
    with pytest.raises(UserError, match=f"^{missing} classes have no training images: .*{shown}"):
        validate_classes(incomplete)
