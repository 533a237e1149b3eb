"""What is done once a run, for the first host whose deploy asks, and is the same for all others."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from gevent.lock import BoundedSemaphore
from pyinfra.api.exceptions import PyinfraError

P = ParamSpec("P")
Result = TypeVar("Result")


def once(make: Callable[P, Result]) -> Callable[P, Result]:
    """Call ``make`` once, whatever it is given later; a PyinfraError that it raised is raised again.

    pyinfra goes through deploy.py for every host at the same time, in greenlets: the others wait. A process
    is one run of pyinfra.
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
