"""Which events a request asks for."""

from __future__ import annotations

import re
from typing import Final

from starlette.datastructures import QueryParams

from attune_dsl.coordination.selection import Selection
from attune_dsl.exceptions import InvalidName, UsageError
from attune_dsl.store.names import check_name

_ID: Final = re.compile(r"[0-9]{1,20}(-[0-9]{1,20})?")
_KIND: Final = re.compile(r"[a-z][a-z_]{0,31}(\.[a-z][a-z_]{0,31})?")
_MOST_KINDS: Final = 64


def selection(asked: QueryParams) -> Selection:
    """Return what the parameters ``kinds``, ``agent`` and ``run`` ask for. Raises :class:`UsageError`."""
    kinds = [kind for given in asked.getlist("kinds") for kind in given.split(",") if kind]
    wrong = next((kind for kind in kinds if not _KIND.fullmatch(kind)), None)
    if wrong is not None or len(kinds) > _MOST_KINDS:
        raise UsageError("kinds: names of kinds or families separated by commas, such as stage,signal.sent")
    return Selection(kinds=frozenset(kinds) or None, agent=_name(asked, "agent"), run=_name(asked, "run"))


def event_id(asked: QueryParams, name: str) -> str | None:
    """Return a parameter that is an event's id. Raises :class:`UsageError`."""
    given = asked.get(name)
    if given and not _ID.fullmatch(given):
        raise UsageError(f"{name}: the id of an event, such as 1763971918123-0, or 0 for the beginning")
    return given or None


def _name(asked: QueryParams, name: str) -> str | None:
    given = asked.get(name)
    try:
        return check_name(name, given) if given else None
    except InvalidName as error:
        raise UsageError(str(error)) from None
