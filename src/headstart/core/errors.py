"""The exception for errors that the user can fix."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """An error that the user can fix; the message says how, and no traceback is shown."""


def first_line(error: Exception) -> str:
    """Returns the first line of another library's error, or its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def did_you_mean(word: str, valid: Iterable[str]) -> str:
    """Returns the end of an error message: the valid word nearest to `word`, or the valid words."""
    choices = sorted(valid)
    if near := get_close_matches(word, choices, n=1, cutoff=0.5):
        return f"did you mean '{near[0]}'?"
    return f"valid: {', '.join(choices[:12])}{', …' if len(choices) > 12 else ''}"
