"""The command group. A command's module is imported when the command is used, so that ``--help`` is quick."""

from __future__ import annotations

import importlib
import sys
from typing import Any, Final, NamedTuple, NoReturn

import click

from attune_dsl.cli import log_lines
from attune_dsl.cli.errors import INTERRUPTED, did_you_mean, either
from attune_dsl.cli.options import require_subcommand, say_error

PROGRAM: Final = "attune-dsl"


class Lazy(NamedTuple):
    """Where a command lives, and what the help says about it."""

    module: str
    help: str
    hidden: bool = False


COMMANDS: Final = {
    "run": Lazy("run", "Run a workflow and print its value."),
    "exec": Lazy("exec", "Run any command as an agent, with a heartbeat."),
    "progress": Lazy("progress", "Say how far the command is; for use under exec."),
    "signals": Lazy("signals", "Send signals to agents, and wait for them."),
    "abort": Lazy("abort", "Ask agents to stop."),
    "agents": Lazy("agents", "Show who is alive, how far each one is, and who ended lately."),
    "events": Lazy("events", "Show, replay and export what happened."),
    "runs": Lazy("runs", "Show what ran, and how it ended."),
    "serve": Lazy("serve", "Serve the timeline over HTTP, with a page that shows it live."),
    "store": Lazy("store", "Start, look at or stop the embedded server."),
    "memory": Lazy("store", "The same as store.", hidden=True),
}


class LazyGroup(click.Group):
    """A group that imports a command when it is called, and not to list it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands that are shown."""
        return [name for name, lazy in COMMANDS.items() if not lazy.hidden]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        lazy = COMMANDS.get(cmd_name)
        if lazy is None:
            return None
        command: click.Command = importlib.import_module(f"attune_dsl.cli.{lazy.module}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is named first; an unknown one is reported with the nearest names."""
        if args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            known = self.list_commands(ctx)
            hint = did_you_mean(args[0], known) or f"; there are {', '.join(known)}"
            raise click.UsageError(f"there is no command {args[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands into the help without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].help) for name in self.list_commands(ctx)])


def _version(ctx: click.Context, parameter: click.Parameter, asked: bool) -> None:
    if asked and not ctx.resilient_parsing:
        click.echo(f"{PROGRAM} {getattr(sys.modules['attune_dsl'], '__version__', 'unknown')}")
        ctx.exit()


@click.group(cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@click.pass_context
def group(ctx: click.Context) -> None:
    """Run workflows, see who is alive, and look after the store."""
    require_subcommand(ctx)


def call(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and leave the process with its exit code."""
    log_lines.ask_for(None)
    try:
        code: Any = group.main(arguments, PROGRAM, standalone_mode=False)
    except click.Abort:
        code = INTERRUPTED
    except click.ClickException as error:
        say_error(_usage(error))
        code = error.exit_code
    sys.exit(code if isinstance(code, int) else 0)


def _usage(error: click.ClickException) -> str:
    """Return click's message as one line, with near misses and where help is."""
    message = " ".join((error.message or error.format_message()).split()).rstrip(".")
    if isinstance(error, click.BadParameter) and error.message and isinstance(error.param, click.Option):
        message = f"{error.param.opts[-1]}: {message}"
    near = getattr(error, "possibilities", None)
    hint = f"; did you mean {either(near)}?" if near else ""
    ctx = getattr(error, "ctx", None)
    see = f" (see {ctx.command_path} --help)" if ctx is not None else ""
    return f"{message[:1].lower()}{message[1:]}{hint}{see}"
