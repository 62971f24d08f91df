"""Names of splits as datasets spell them, in a column or in the names of files and folders."""

import re
from collections.abc import Sequence
from typing import Literal

from headstart.core.errors import UserError, did_you_mean

DatasetSplit = Literal["train", "val", "test"]

_SPELLINGS: dict[str, DatasetSplit] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Those that Hugging Face datasets understands, too."""


def parse_split(word: str) -> DatasetSplit:
    """Returns the split that a cell of a table names.

    Raises:
        ValueError: it names none.
    """
    if (split := _SPELLINGS.get(word.lower())) is None:
        raise ValueError(f"unknown split '{word}'; {did_you_mean(word, ('train', 'val', 'test'))}")
    return split


def split_in_name(name: str) -> DatasetSplit | None:
    """Returns the split that a path names, in its last part that names one.

    `data/validation-00000-of-00002.parquet` is val.
    """
    for part in reversed(name.lower().split("/")):
        for word in re.findall("[a-z]+", part):
            if word in _SPELLINGS:
                return _SPELLINGS[word]
    return None


def splits_in_names(names: Sequence[str], folder: str) -> list[DatasetSplit] | None:
    """Returns the split that each of `names` names, or None if none does.

    folder: that they lie in, for messages.

    Raises:
        UserError: some do and others don't.
    """
    named: list[DatasetSplit] = []
    unnamed: list[str] = []
    for name in names:
        split = split_in_name(name)
        if split is None:
            unnamed.append(name)
        else:
            named.append(split)
    if named and unnamed:
        raise UserError(
            f"dataset.path: {folder} has '{unnamed[0]}', whose name says no split as those of "
            "other files do; put train, val or test into every name, or into none"
        )
    return named or None
