"""Values as text inside an HTML page: JSON that can't end its script element, arrays in base64."""

import json
from base64 import b64encode
from typing import Any

import numpy as np


def embed_json(value: Any) -> str:
    """JSON for a script element: `<` is escaped, so that no name can close or comment it out."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # In JSON `<` occurs in strings only.
    return text.replace("<", "\\u003c")


def pack_array(values: np.ndarray) -> dict[str, str]:
    """A numeric array as base64 of its little-endian bytes, for a typed array in the browser."""
    little_endian = values.astype(values.dtype.newbyteorder("<"))
    return {"dtype": values.dtype.name, "base64": b64encode(little_endian.tobytes()).decode()}


def pack_integers(values: np.ndarray) -> dict[str, str]:
    """Integers that are not negative, in the narrowest of uint8, uint16 and uint32 that holds them.

    values: any shape, packed in C order; at most 2**32 - 1.
    """
    greatest = int(values.max(initial=0))
    assert values.min(initial=0) >= 0
    return pack_array(values.astype(np.min_scalar_type(greatest)))


def round_floats(values: Any, digits: int = 4) -> list[Any]:
    """An array as nested lists of numbers; NaN becomes None."""
    rounded = np.round(np.asarray(values, np.float64), digits).astype(object)
    rounded[rounded != rounded] = None  # NaN alone differs from itself
    return rounded.tolist()
