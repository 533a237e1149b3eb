"""Functions that run once per process, whichever host's deploy calls them first."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from gevent.lock import BoundedSemaphore
from pyinfra.api.exceptions import PyinfraError

P = ParamSpec("P")
Result = TypeVar("Result")


def once(make: Callable[P, Result]) -> Callable[P, Result]:
    """Decorate a function to run once: later calls, whatever their arguments, get the same result or error.

    pyinfra runs deploy.py for all hosts concurrently, in greenlets; they wait for the first. A process is one
    run of pyinfra.
    """
    lock = BoundedSemaphore()
    results: list[Result] = []
    errors: list[str] = []

    @wraps(make)
    def made(*args: P.args, **kwargs: P.kwargs) -> Result:
        with lock:
            if not results and not errors:
                try:
                    results.append(make(*args, **kwargs))
                except PyinfraError as error:
                    errors.append(str(error))
        if errors:
            raise PyinfraError(errors[0])
        return results[0]

    return made
