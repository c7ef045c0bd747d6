"""Which events a request asks for."""

from __future__ import annotations

from starlette.datastructures import QueryParams

from attune_dsl.coordination.selection import Selection
from attune_dsl.exceptions import InvalidName, UsageError
from attune_dsl.store.names import check_name, is_event_id


def selection(asked: QueryParams) -> Selection:
    """Return what the parameters ``kinds``, ``agent`` and ``run`` ask for. Raises :class:`UsageError`."""
    kinds = [kind for given in asked.getlist("kinds") for kind in given.split(",") if kind]
    agent, run = _name(asked, "agent"), _name(asked, "run")
    try:
        return Selection.of(kinds or None, agent, run)
    except UsageError as error:
        raise UsageError(f"kinds: {error}") from None


def event_id(asked: QueryParams, name: str) -> str | None:
    """Return a parameter that is an event's id. Raises :class:`UsageError`."""
    given = asked.get(name)
    if given and not is_event_id(given):
        raise UsageError(f"{name}: the id of an event, such as 1763971918123-0, or 0 for the beginning")
    return given or None


def _name(asked: QueryParams, name: str) -> str | None:
    given = asked.get(name)
    try:
        return check_name(name, given) if given else None
    except InvalidName as error:
        raise UsageError(str(error)) from None
