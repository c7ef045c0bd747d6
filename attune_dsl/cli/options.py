"""What every command takes, and the border at which its errors become one line and an exit code."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from threading import RLock
from typing import Concatenate, NamedTuple, ParamSpec

import click

from attune_dsl.cli import log_lines
from attune_dsl.cli.errors import FAILED, INTERRUPTED, USAGE, CliError, UserCodeError
from attune_dsl.exceptions import AttuneError, DeclarationError, InvalidName, StoreConfigError

P = ParamSpec("P")

_writing = RLock()
"""Lines of several threads do not mix; a handler of a signal may write as well."""


class Common(NamedTuple):
    """The options that every command has; ``None`` leaves the choice to the environment and the defaults."""

    store: str | None
    namespace: str | None
    as_json: bool
    verbose: bool


def common_options(command: Callable[Concatenate[Common, P], int | None]) -> Callable[..., None]:
    """Add the common options to a command that returns its exit code, and report its errors.

    A group that returns ``None`` goes on with its subcommand, which takes over the options that were given before it.
    """

    @click.option("--store", metavar="URL", help="redis://, rediss://, unix:// or memory://; else an embedded server.")
    @click.option("--namespace", metavar="NAME", help="Whose agents and signals; else ATTUNE_NAMESPACE.")
    @click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output, for programs.")
    @click.option("--verbose", is_flag=True, help="Show full tracebacks.")
    @click.option(
        "--log-format",
        type=click.Choice(log_lines.FORMATS),
        expose_value=False,
        callback=_log_format,
        help="How log lines look; else human on a terminal, json elsewhere.",
    )
    @functools.wraps(command)
    def wrapper(
        store: str | None, namespace: str | None, as_json: bool, verbose: bool, *args: P.args, **kwargs: P.kwargs
    ) -> None:
        ctx = click.get_current_context()
        ctx.obj = common = _inherited(ctx, Common(store, namespace, as_json, verbose))
        try:
            code = command(common, *args, **kwargs)
        except KeyboardInterrupt:
            code = INTERRUPTED
        except CliError as error:
            code = _report(error, verbose=verbose)
        except AttuneError as error:
            code = _report_ours(error, verbose=verbose)
        if code is not None:
            sys.exit(code)

    return wrapper


def _log_format(ctx: click.Context, parameter: click.Parameter, chosen: log_lines.Format | None) -> None:
    """Note the choice; a subcommand that says nothing leaves it to what was said before its name."""
    if chosen is not None and not ctx.resilient_parsing:
        log_lines.ask_for(chosen)


def _inherited(ctx: click.Context, own: Common) -> Common:
    """Return a command's own options, completed by those that were given before its name."""
    outer = ctx.parent and ctx.parent.find_object(Common)
    if not outer:
        return own
    return Common(
        outer.store if own.store is None else own.store,
        outer.namespace if own.namespace is None else own.namespace,
        own.as_json or outer.as_json,
        own.verbose or outer.verbose,
    )


def require_subcommand(ctx: click.Context) -> None:
    """Show the help of a group that was called without a command, and leave as after any wrong use."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(USAGE)


def write(line: str) -> None:
    """Write one line on standard error as it is, without colours where they are not wanted."""
    # Not click.echo, which would write past a live view that has put itself in the place of sys.stderr.
    has_colours = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    with _writing:
        sys.stderr.write(f"{line if has_colours else click.unstyle(line)}\n")
        sys.stderr.flush()


def say(text: str) -> None:
    """Write one line on standard error, where everything goes that is not the result."""
    write(log_lines.own_line("cli.note", "info", note=click.unstyle(text)) if log_lines.all_is_json() else text)


def say_error(message: str) -> None:
    """Write the one line that says what went wrong."""
    if log_lines.all_is_json():
        write(log_lines.own_line("cli.error", "error", error=message))
        return
    say(f"{click.style('error:', fg='red', bold=True)} {message}")


def _report(error: CliError, *, verbose: bool) -> int:
    if isinstance(error, UserCodeError) and error.__cause__ is not None:
        show_traceback(error.__cause__, full=verbose)
    elif verbose:
        show_traceback(error, full=True)
    say_error(str(error))
    return error.exit_code


def _report_ours(error: AttuneError, *, verbose: bool) -> int:
    if verbose:
        show_traceback(error, full=True)
    say_error(str(error))
    return USAGE if isinstance(error, StoreConfigError | InvalidName | DeclarationError) else FAILED


def show_traceback(error: BaseException, *, full: bool) -> None:
    """Write a traceback on standard error: the user's frames only, unless it is to be ``full``."""
    from attune_dsl.cli import tracebacks

    text = tracebacks.full_traceback(error) if full else tracebacks.user_traceback(error)
    write(log_lines.own_line("cli.traceback", "error", exception=text) if log_lines.all_is_json() else text)
