"""Whether arguments fit a tool's schema. Schemas may be strangers', and are then as hostile as the arguments.

Neither's size says how long that takes: references fan out, and a schema that refers to itself may do so anew at every
level of the arguments. So the time itself is limited. What one keyword alone can make slow (regular expressions,
``uniqueItems``, ``unevaluatedProperties``) is not accepted from strangers, see :mod:`remote.definition`.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from itertools import islice
from typing import Any

import jsonschema
import jsonschema.exceptions
import jsonschema.protocols
import jsonschema.validators
import referencing

from .json_values import JsonObject

_LONGEST = 0.25  # seconds of the processor, for which nothing else in this thread is done
_MOST_ERRORS = 100  # among which the most useful one is looked for

_until: ContextVar[float] = ContextVar("until")


class _TooLong(Exception):
    pass


def problem_of(arguments: object, schema: JsonObject) -> str | None:
    """The most useful sentence about what does not fit, or None."""
    if not isinstance(arguments, dict):
        return "expected a JSON object."
    _until.set(time.thread_time() + _LONGEST)
    try:
        errors = list(islice(_validator(json.dumps(schema)).iter_errors(arguments), _MOST_ERRORS))
    except _TooLong:
        return "checking them takes too long. Use fewer or simpler ones."
    except Exception as error:  # the library fails in many ways on schemas that lead nowhere, or to what is no schema
        return f"its schema cannot be used ({type(error).__name__})."
    error = jsonschema.exceptions.best_match(errors)
    if error is None:
        return None
    where = "".join(f"[{part!r}]" for part in error.absolute_path)
    return f"{where + ': ' if where else ''}{error.message}."


def _timed(check: Callable[..., Any]) -> Callable[..., Iterator[Any]]:
    def timed(validator: object, value: object, instance: object, schema: object) -> Iterator[Any]:
        if time.thread_time() > _until.get():
            raise _TooLong
        yield from check(validator, value, instance, schema) or ()

    return timed


_Timed = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    {keyword: _timed(check) for keyword, check in jsonschema.Draft202012Validator.VALIDATORS.items()},
)


@functools.lru_cache(maxsize=256)
def _validator(schema: str) -> jsonschema.protocols.Validator:
    # The given registry keeps it from fetching what a schema refers to, which it would otherwise do.
    return _Timed(json.loads(schema), registry=referencing.Registry())
