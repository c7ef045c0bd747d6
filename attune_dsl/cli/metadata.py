"""``--metadata``: what an agent shows of itself to programs."""

from __future__ import annotations

import json
from typing import Any, Final

from attune_dsl.cli.errors import UsageError
from attune_dsl.cli.formats import one_line
from attune_dsl.exceptions import NotAJsonValue, PayloadTooLarge
from attune_dsl.store.codec import encode_metadata

_EXAMPLE: Final = """; write it as in --metadata '{"team": "data"}'"""


def read_metadata(text: str) -> dict[str, Any]:
    """Return the JSON object that was written on the command line. Raises :class:`UsageError`, also for its size."""
    try:
        value = json.loads(text)
        if not isinstance(value, dict):
            raise UsageError(f"--metadata: {one_line(text, 60)} is not a JSON object{_EXAMPLE}")
        encode_metadata(value)  # Python's parser takes more for JSON than others do
    except PayloadTooLarge as error:
        raise UsageError(f"--metadata: {error}") from None
    except (ValueError, NotAJsonValue, RecursionError) as error:
        raise UsageError(f"--metadata: not JSON: {error}{_EXAMPLE}") from None
    return value
