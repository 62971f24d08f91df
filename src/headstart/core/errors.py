"""The one exception that a user is meant to read."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """Something that the user can put right; the message says how, and no traceback is shown."""


def did_you_mean(word: str, valid: Iterable[str]) -> str:
    """The end of an error line that names what was probably meant, or everything that is valid."""
    choices = sorted(valid)
    if near := get_close_matches(word, choices, n=1, cutoff=0.5):
        return f"did you mean '{near[0]}'?"
    return f"valid: {', '.join(choices[:12])}{', …' if len(choices) > 12 else ''}"
