"""The class of each image of a dataset whose labels are text or numbers."""

from collections.abc import Callable, Mapping, Sequence

from headstart.core.errors import UserError, did_you_mean
from headstart.data.datasets.row_problems import RowProblems
from headstart.data.datasets.split_names import DatasetSplit


def find_labels(
    texts: Sequence[str | None],
    splits: Sequence[DatasetSplit],
    class_names: Sequence[str] | None,
    problems: RowProblems,
    place: Callable[[int], str],
) -> tuple[list[str], list[int | None]]:
    """Returns the names of the classes, and the position of each image's class among them.

    Only images in test may have none: no text or, as Hugging Face writes it, -1.

    texts: the label of each image. class_names: if there is a list of them, a label is a position
    in it, or a name; otherwise each different label is a class. place: of an image, for messages.
    """
    if class_names is None:
        classes = _in_order({text for text in texts if text is not None})
        positions = {name: i for i, name in enumerate(classes)}
    else:
        classes = list(class_names)
        positions = {name: i for i, name in enumerate(classes)}
        positions |= {str(i): i for i in range(len(classes))}
    labels = []
    for image, (text, split) in enumerate(zip(texts, splits, strict=True)):
        label = None if text is None else positions.get(text)
        is_missing = text is None or (text == "-1" and class_names is not None)
        if is_missing and split != "test":
            problems.add(place(image), "there is no label; only images in test may have none")
        elif label is None and not is_missing:
            problems.add(place(image), _unknown(text or "", positions))
        labels.append(label)
    return classes, labels


def several_labels(where: str) -> UserError:
    """Returns the error for a dataset that gives an image a list of labels.

    where: they are, beginning with a key of params.yaml.
    """
    return UserError(
        f"{where} has lists of labels; an image has one label only: give each image one class"
    )


def check_classes(
    path: object,
    classes: Sequence[str],
    labels: Sequence[int | None],
    splits: Sequence[DatasetSplit],
) -> None:
    """Checks that each class has an image in train; raises UserError otherwise.

    path: of the dataset, for messages. labels, splits: of all images.
    """
    in_train = {label for label, split in zip(labels, splits, strict=True) if split == "train"}
    missing = [f"'{name}'" for label, name in enumerate(classes) if label not in in_train]
    if missing:
        shown = ", ".join(missing[:10]) + ", …" * (len(missing) > 10)
        raise UserError(
            f"dataset.path: {path} has no image in train of {len(missing)} of {len(classes)} "
            f"classes: {shown}; add some, correct the labels, or leave these classes out"
        )


def _in_order(names: set[str]) -> list[str]:
    """Sorts the names of classes, numbers by their value."""
    if all(name.isdecimal() for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def _unknown(label: str, positions: Mapping[str, int]) -> str:
    return f"unknown label '{label}'; {did_you_mean(label, positions)}"
