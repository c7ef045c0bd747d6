"""``attune-dsl run``: one workflow, from the command line to its value."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

import click

from attune_dsl.cli.errors import INTERRUPTED, TERMINATED
from attune_dsl.cli.options import Common, common_options, say

if TYPE_CHECKING:
    from attune_dsl.dsl.workflow import Workflow
    from attune_dsl.runner.events import RunEvent

    Flow = Workflow[..., Any]
    View = AbstractContextManager[Callable[[RunEvent], object] | None]


@click.command()
@click.argument("target", metavar="MODULE:FLOW")
@click.argument("words", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--input", "source", metavar="FILE", help="A JSON object of arguments; - reads standard input.")
@click.option("--agent-id", metavar="ID", help="The name under which others see it; else the workflow's, if free.")
@click.option("--quiet", is_flag=True, help="Show the value and errors only.")
@common_options
def command(  # noqa: PLR0917 (click passes them all by name)
    common: Common, target: str, words: Sequence[str], source: str | None, agent_id: str | None, quiet: bool
) -> int:
    """Run a workflow and print its value.

    MODULE:FLOW is a module and a workflow in it, or path/file.py:flow. The flow may be left out where there is only
    one. Arguments are KEY=VALUE: text for parameters of type str, else JSON.

    The value goes to standard output, everything else to standard error. Exit codes: 0 completed, 1 failed, 2 wrong
    usage, 3 aborted, 130 Ctrl-C, 143 SIGTERM.
    """
    from attune_dsl.cli.target import resolve

    flow = _configured(resolve(target), common, agent_id)
    args, kwargs = _arguments(flow, words, source)
    with _participation(flow, quiet=quiet and not common.verbose):
        code = _run(flow, args, kwargs, common, quiet=quiet)
    if code in (INTERRUPTED, TERMINATED):
        _leave_threads_behind(code)
    return code


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


def _configured(flow: Flow, common: Common, agent_id: str | None) -> Flow:
    """Apply the options, each checked even where the flow will not use it."""
    asked: dict[str, Any] = {}
    if common.store is not None:
        from attune_dsl.store.server import open_server

        open_server(common.store)
        asked["store"] = common.store
    if common.namespace is not None:
        from attune_dsl.store.settings import namespace_of

        asked["namespace"] = namespace_of(common.namespace)
    if agent_id is not None:
        from attune_dsl.store.names import check_name

        asked["agent_id"] = check_name("agent id", agent_id)
    return flow.options(**asked)


def _arguments(flow: Flow, words: Sequence[str], source: str | None) -> tuple[list[Any], dict[str, Any]]:
    from attune_dsl.cli.arguments import Arguments, read_input

    data = {} if source is None else read_input(source, sys.stdin.read)
    return Arguments(flow).bind(words, data)


def _participation(flow: Flow, *, quiet: bool) -> AbstractContextManager[None]:
    """Prepare what only a flow needs that takes part in the store."""
    if not (flow.spec.heartbeat or flow.spec.coordination):
        return nullcontext()
    from attune_dsl.cli.logs import show_warnings

    show_warnings(quiet=quiet)
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
    from attune_dsl.runner.runner import Runner

    interruption: BaseException | None = None
    with _view(quiet=quiet) as observer:
        runner = Runner(observer=observer)
        try:
            result = runner.run(flow, *args, **kwargs)
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
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        from attune_dsl.cli.live import LiveView

        return LiveView()
    from attune_dsl.cli.plain import PlainView

    return PlainView(say)
