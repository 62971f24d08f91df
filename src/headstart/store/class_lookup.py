"""Finds the classes that a setting of params.yaml names."""

from collections import defaultdict
from collections.abc import Sequence

from headstart.core.errors import UserError, did_you_mean
from headstart.store.examples import ClassLabel


def find_classes(names: Sequence[str], classes: list[ClassLabel], key: str) -> list[int]:
    """The positions in `classes` of the classes that are named; all if `names` is empty.

    names: of each class its id, its name, or one of its synonyms: a name such as "plunger,
    plumber's helper" lists synonyms. Upper and lower case make no difference. key: of the names in
    params.yaml, for messages.

    Raises:
        UserError: no class has that name, or more than one.
    """
    known: dict[str, set[int]] = defaultdict(set)
    for position, label in enumerate(classes):
        for synonym in (label.id, label.name, *label.name.split(",")):
            known[synonym.strip().casefold()].add(position)
    positions: list[int] = []
    for name in names:
        match sorted(known.get(name.strip().casefold(), ())):
            case [position]:
                positions.append(position)
            case []:
                raise UserError(f"{key}: no class '{name}'; {did_you_mean(name.casefold(), known)}")
            case several:
                ids = ", ".join(classes[position].id for position in several)
                raise UserError(f"{key}: '{name}' names several classes; give one of {ids}")
    return list(dict.fromkeys(positions)) or list(range(len(classes)))
