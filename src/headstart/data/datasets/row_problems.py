"""What is wrong with the rows of a dataset, collected so that all of it is said at once."""

from collections import defaultdict

from headstart.core.errors import UserError

SHOWN = 20
"""How many different problems a message lists."""

SHOWN_PLACES = 5
"""How many places with the same problem it lists."""


class RowProblems:
    """Problems, each with the places where it is."""

    def __init__(self) -> None:
        self._places: dict[str, list[str]] = defaultdict(list)

    def add(self, place: str, problem: object) -> None:
        """place: such as `row 7`. problem: what is wrong there, and how to mend it."""
        self._places[str(problem)].append(place)

    def stop_if_any(self, source: object, note: str = "") -> None:
        """Raises UserError with the first problems if there are some.

        source: what they are in. note: how to read their places.
        """
        if not self._places:
            return
        count = sum(map(len, self._places.values()))
        rows = f"{count:,} wrong row{'s' * (count > 1)}"
        lines = [
            f"  {_listed(places)}: {problem}"
            for problem, places in list(self._places.items())[:SHOWN]
        ]
        if len(self._places) > SHOWN:
            lines.append(f"  and {len(self._places) - SHOWN:,} more")
        raise UserError("\n".join([f"dataset.path: {source} has {rows}{note}:", *lines]))


def _listed(places: list[str]) -> str:
    shown = ", ".join(places[:SHOWN_PLACES])
    return shown if len(places) <= SHOWN_PLACES else f"{shown}, … ({len(places):,} in all)"
