"""``attune-dsl run``: one workflow, from the command line to its value."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from attune_dsl.cli.errors import INTERRUPTED, TERMINATED, CliError
from attune_dsl.cli.log_lines import all_is_json
from attune_dsl.cli.options import Common, common_options, say, write

if TYPE_CHECKING:
    from attune_dsl.dsl.workflow import Workflow
    from attune_dsl.runner.events import RunEvent

    Flow = Workflow[..., Any]
    View = AbstractContextManager[Callable[[RunEvent], object] | None]


class Identity(NamedTuple):
    """Who the run is towards others; ``None`` leaves it to the workflow."""

    agent_id: str | None
    takeover: bool
    display_name: str | None
    metadata: str | None


@click.command()
@click.argument("target", metavar="MODULE:FLOW")
@click.argument("words", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--input", "source", metavar="FILE", help="A JSON object of arguments; - reads standard input.")
@click.option("--agent-id", metavar="ID", help="The name under which others see it; else the workflow's, if free.")
@click.option("--takeover", is_flag=True, help="Take the agent id from its live owner, whose run is aborted.")
@click.option("--display-name", metavar="NAME", help="What people are shown beside the agent id.")
@click.option("--metadata", metavar="JSON", help="A JSON object that travels with the agent, in place of the flow's.")
@click.option("--quiet", is_flag=True, help="Show the value and errors only.")
@common_options
def command(common: Common, /, target: str, words: Sequence[str], source: str | None, quiet: bool, **who: Any) -> int:
    """Run a workflow and print its value.

    MODULE:FLOW is a module and a workflow in it, or path/file.py:flow. The flow may be left out where there is only
    one. Arguments are KEY=VALUE: text for parameters of type str, else JSON.

    The value goes to standard output, everything else to standard error. Exit codes: 0 completed, 1 failed, 2 wrong
    usage, 3 aborted, 130 Ctrl-C, 143 SIGTERM.
    """
    flow = _configured(_resolved(target, quiet=quiet and not common.verbose), common, Identity(**who))
    args, kwargs = _arguments(flow, words, source)
    with _participation(flow):
        code = _run(flow, args, kwargs, common, quiet=quiet)
    if code in (INTERRUPTED, TERMINATED):
        _leave_threads_behind(code)
    return code


def _resolved(target: str, *, quiet: bool) -> Flow:
    """Import the workflow, and show what is logged once somebody logs; what the module configures itself stays."""
    from attune_dsl.cli.at_import import at_import
    from attune_dsl.cli.target import resolve

    def configure() -> None:
        from attune_dsl.cli.logs import configure_structlog

        configure_structlog(quiet=quiet)

    def show() -> None:
        from attune_dsl.cli.logs import show_warnings

        show_warnings(quiet=quiet)

    at_import("structlog", configure)  # before a logger of the module is bound
    flow = resolve(target)
    at_import("structlog", show)  # nothing of ours is logged without structlog
    return flow


def _leave_threads_behind(code: int) -> None:
    """After an interruption the process does not stay for threads that cannot be stopped, such as those of a map."""
    import atexit
    import threading

    if all(thread.daemon or thread is threading.main_thread() for thread in threading.enumerate()):
        return
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


def _configured(flow: Flow, common: Common, who: Identity) -> Flow:
    """Apply the options, each checked even where the flow will not use it."""
    asked: dict[str, Any] = {}
    if common.store is not None:
        from attune_dsl.store.server import open_server

        open_server(common.store)
        asked["store"] = common.store
    if common.namespace is not None:
        from attune_dsl.store.settings import namespace_of

        asked["namespace"] = namespace_of(common.namespace)
    return flow.options(**asked, **_identity(who))


def _identity(who: Identity) -> dict[str, Any]:
    """Return the options of a flow that say who it is."""
    from attune_dsl.cli.metadata import read_metadata
    from attune_dsl.store.names import check_name

    asked: dict[str, Any] = {}
    if who.agent_id is not None:
        asked["agent_id"] = check_name("agent id", who.agent_id)
    if who.takeover:
        asked["takeover"] = True
    if who.display_name is not None:
        asked["display_name"] = check_name("display name", who.display_name)
    if who.metadata is not None:
        asked["metadata"] = read_metadata(who.metadata)
    return asked


def _arguments(flow: Flow, words: Sequence[str], source: str | None) -> tuple[list[Any], dict[str, Any]]:
    from attune_dsl.cli.arguments import Arguments, read_input

    data = {} if source is None else read_input(source, sys.stdin.read)
    return Arguments(flow).bind(words, data)


def _participation(flow: Flow) -> AbstractContextManager[None]:
    """Prepare what only a flow needs that takes part in the store."""
    if not (flow.spec.heartbeat or flow.spec.coordination):
        return nullcontext()
    return _early_store(flow.spec.store)


@contextmanager
def _early_store(store: str | None) -> Iterator[None]:
    """Start the embedded server beside the imports that the run still needs; the hub then finds it running."""
    import threading

    from attune_dsl.exceptions import StoreUnavailable
    from attune_dsl.store.server import open_server

    server = open_server(store)
    if server.kind != "embedded":
        yield
        return

    def start() -> None:
        with suppress(StoreUnavailable):  # the run meets the same and says what it means for it
            server.start()

    thread = threading.Thread(target=start, name="attune-early-store")
    thread.start()
    try:
        yield
    finally:
        thread.join()
        server.close()


def _run(flow: Flow, args: list[Any], kwargs: dict[str, Any], common: Common, *, quiet: bool) -> int:
    from attune_dsl.cli.report import report
    from attune_dsl.exceptions import AgentIdTaken
    from attune_dsl.runner.runner import Runner

    interruption: BaseException | None = None
    with _view(quiet=quiet) as observer:
        runner = Runner(observer=observer)
        try:
            result = runner.run(flow, *args, **kwargs)
        except AgentIdTaken as error:
            raise CliError(
                f"agent id {error.agent_id!r} is taken by a live agent (pid {error.pid} on {error.host}); "
                "choose another --agent-id, wait for it to end, or take the id from it with --takeover"
            ) from error
        except Exception:
            raise
        except BaseException as error:
            ended = list(runner.results.values())
            if not ended:
                raise
            result, interruption = ended[0], error
    return report(result, common, interruption, quiet=quiet)


def _view(*, quiet: bool) -> View:
    if quiet:
        return nullcontext()
    if all_is_json():
        from attune_dsl.cli.json_view import JsonView

        return JsonView(write)
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        from attune_dsl.cli.live import LiveView

        return LiveView()
    from attune_dsl.cli.plain import PlainView

    return PlainView(say)
