"""Results of pure functions that sensitivity.py keeps, and hashes of arrays."""

import functools
import hashlib
import importlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import numpy as np
from sensitivity_constants import Constant, constants_of
from sensitivity_groups import REMEMBERED

MEMORY = 1_500_000_000  # bytes of results that are kept for one frame


def digest(*arrays: np.ndarray) -> str:
    """Return a hash of arrays, to see whether anything has changed."""
    found = hashlib.blake2b(digest_size=12)
    for one in arrays:
        one = np.ascontiguousarray(one)
        found.update(f"{one.shape}{one.dtype}".encode() + one.tobytes())
    return found.hexdigest()


@contextmanager
def remembered(group: str) -> Iterator[None]:
    """Keep results of the pure functions of `REMEMBERED` as long as one frame is measured."""
    memory: OrderedDict[Any, Any] = OrderedDict()
    size = 0

    def keep(function: Callable, name: str, number: int, read: list[Constant]) -> Callable:
        @functools.wraps(function)
        def quick(*args: Any, **kwargs: Any) -> Any:
            nonlocal size
            given = (digest(a) if isinstance(a, np.ndarray) else a for a in args[:number])
            place = (name, *given, *sorted(kwargs.items()), *(one.value for one in read))
            if place not in memory:
                memory[place] = function(*args, **kwargs)
                size += _protect(memory[place])
                while size > MEMORY:
                    size -= _protect(memory.popitem(last=False)[1])
            memory.move_to_end(place)
            return memory[place]

        return quick

    with ExitStack() as stack:
        for label, (module, number, modules) in REMEMBERED.get(group, {}).items():
            owner: Any = importlib.import_module(module)
            *path, name = label.split(".")
            owner = functools.reduce(getattr, path, owner)
            read = [one for one in constants_of(group) if one.module in modules]
            quick = keep(getattr(owner, name), label, number, read)
            stack.enter_context(mock.patch.object(owner, name, quick))
        yield


def _protect(result: Any) -> int:
    """Return the bytes of arrays in a result; the next caller gets the same, so none may change."""
    total = 0
    for one in result if isinstance(result, tuple) else (result,):
        if isinstance(one, np.ndarray):
            one.flags.writeable = False
            total += one.nbytes
    return total
