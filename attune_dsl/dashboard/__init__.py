"""The timeline over HTTP: an ASGI application with an API, a WebSocket, Server-Sent Events, and a page that shows it.

Needs the extra ``web``: ``pip install "attune-dsl[web]"``.
"""

try:
    import starlette  # noqa: F401 (to say what is missing before anything else does)
except ImportError as error:
    needs = 'attune_dsl.dashboard needs more packages: pip install "attune-dsl[web]"'
    raise ImportError(needs, name="starlette") from error

from attune_dsl.dashboard.app import create_app

__all__ = ["create_app"]
