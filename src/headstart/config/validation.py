"""Reads YAML files and validates their content; says what is wrong in one plain line per key."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from headstart.core.errors import UserError, did_you_mean

PLAIN_MESSAGES = {
    **dict.fromkeys(
        ("model_type", "model_attributes_type", "dict_type"),
        "should be a section: keys below it, each with its value",
    ),
    "list_type": "should be a list, as in [a, b]",
    "path_type": "should be a path",
}
"""Messages in plain words, by pydantic's names of errors."""

MERGE = "tag:yaml.org,2002:merge"
"""The tag of the key `<<`, which merges other mappings into a section."""

KEYS_THAT_DVC_IGNORES = frozenset({"size", "nfiles"})
"""Keys that DVC's run cache ignores at every depth; a change of these alone runs no stage again."""

Model = TypeVar("Model", bound=BaseModel)

_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # of C where it was built


class _Loader(_SafeLoader):
    """A YAML loader that rejects duplicate keys, of which PyYAML would use the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        counts = Counter(key.value for key, _ in node.value if key.tag != MERGE)
        for key, _ in node.value:
            if counts[key.value] > 1:
                line = key.start_mark.line + 1
                raise yaml.YAMLError(f"'{key.value}' stands twice in one section, in line {line}")
        return super().construct_mapping(node, deep)


def load_as(model: type[Model], path: Path) -> Model:
    """Reads a YAML file and validates its content as `model`.

    Raises:
        UserError: the file can't be read or isn't YAML, keys or values in it are wrong, or DVC
            would overlook a key; one line each. Whether the sections fit each other is checked
            once each of them is valid.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run from the project's root") from None
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    valid = validate_as(model, content, str(path))
    for keys in _keys(content):
        if keys[-1] in KEYS_THAT_DVC_IGNORES:
            raise UserError(
                f"{path}: {'.'.join(keys)}: DVC overlooks a change below a key that is called "
                f"'{keys[-1]}'; rename or remove that key"
            )
    return valid


def validate_as(model: type[Model], content: Any, source: str) -> Model:
    """Validates `content`, whose origin messages call `source`, as `model`.

    Raises:
        UserError: keys or values in it are wrong; one line each, which names its key.
    """
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems = "\n".join(_line(content, problem) for problem in error.errors())
        lines = (f"{source}: {line}" for line in problems.splitlines())
        raise UserError("\n".join(lines)) from None


def _keys(content: Any, parents: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yields the path of every key at every depth; items of a list have the path of the list."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield (*parents, str(key))
            yield from _keys(value, (*parents, str(key)))
    elif isinstance(content, list):
        for item in content:
            yield from _keys(item, parents)


def _line(content: Any, problem: ErrorDetails) -> str:
    """Formats a problem as `section.key: what is wrong and what would be right`."""
    keys = []
    for key in problem["loc"]:
        # pydantic also names the member of a union that it tried; the file has no such key.
        if isinstance(content, dict) and key in content:
            keys.append(str(key))
            content = content[key]
        elif isinstance(content, list):
            keys.append(str(key))
    context = problem.get("ctx", {})
    match problem["type"]:
        case "missing":
            keys.append(str(problem["loc"][-1]))
            message = "is missing"
        case "union_tag_not_found":
            keys.append(context["discriminator"].strip("'"))
            message = "is missing"
        case "union_tag_invalid":
            field = context["discriminator"].strip("'")
            keys.append(field)
            valid = re.findall(r"'(\w+)'", context["expected_tags"])
            message = f"unknown {field} '{context['tag']}'; {did_you_mean(context['tag'], valid)}"
        case "literal_error":
            valid = re.findall(r"'(\w+)'", context["expected"])
            message = f"can't be '{problem['input']}'; {did_you_mean(str(problem['input']), valid)}"
        case kind:
            message = PLAIN_MESSAGES.get(kind) or problem["msg"].removeprefix("Value error, ")
    return ": ".join(filter(None, [".".join(keys), message]))
