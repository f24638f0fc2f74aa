"""The command line: it parses, calls the library and draws. ``script`` is the console script ``alimail``.

Each verb is a module; what they share is in ``options``, ``frame`` and ``output``. Nothing here decides anything
about mail, and everything heavy is imported by the verb that needs it, so that ``--help`` is there at once.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer.main import get_command

from alimail_core.cli import (
    check,
    copy,
    cutover,
    discover,
    init,
    letters,
    migrate,
    move,
    plan,
    plugins,
    provision,
    report,
    roster,
    status,
    switch,
    undo,
    verify,
    watch,
)
from alimail_core.cli.frame import (
    Frame,
    is_output_lost,
    require_place,
    show_bug,
    show_error,
    show_lost_output,
)
from alimail_core.cli.output import complain, prepare_streams
from alimail_core.errors import AlimailError
from alimail_core.seam import Clock

if TYPE_CHECKING:
    from alimail_core.registry import Registry

HELP = """Move an organisation's mail: every message once, proven.

\b
One mailbox, without any file:
  alimail copy imap://anna%40old.example@mail.old.example alimail://anna@new.example

\b
An organisation:
  alimail init        write a configuration, and a roster (the list of the accounts) to fill in
  alimail check       try every login, before anything moves
  alimail plan        see what would move, and where to
  alimail migrate     move it; run again at any time for what is new
  alimail verify      is it all there?
  alimail report      write it down, for the files

\b
Where the new accounts are still to be made, from a spreadsheet:
  alimail provision   make employees, departments and mail groups
  alimail move        accounts and mail in one run, from the check to the report

\b
Plug-ins bring verbs of their own, such as `alimail exchange` and `alimail outlook`: `alimail plugins` names them.

\b
Exit codes: 0 all there; 3 done, with problems that the report names; 2 bad usage or configuration;
1 could not go on; 130 or 143 interrupted: run the same command again.
NO_COLOR, a dumb terminal or a pipe get plain lines. `alimail VERB --help` shows examples.
"""

VERBS: dict[str, tuple[Callable[..., int], str]] = {
    "discover": (discover.discover, "Find the servers of mailboxes by their addresses."),
    "init": (init.init, "Write a configuration and a roster to fill in."),
    "roster": (roster.roster, "Write a spreadsheet of the accounts, to fill in."),
    "provision": (provision.provision, "Make employees, departments and groups first."),
    "move": (move.move, "Make the accounts and move their mail, in one run."),
    "letters": (letters.letters, "Write letters that ask for missing passwords."),
    "check": (check.check, "Try every login, before anything moves."),
    "plan": (plan.plan, "See what would move, and where to."),
    "migrate": (migrate.migrate, "Move the mail; again at any time for what is new."),
    "watch": (watch.watch, "Keep moving new mail until told to stop."),
    "status": (status.status, "See how far everything has come."),
    "verify": (verify.verify, "Is it all there?"),
    "cutover": (cutover.cutover, "See what is left for the cut-over, as things are."),
    "report": (report.report, "Write down what was moved and what was not."),
    "enable": (switch.enable, "Let accounts run again."),
    "disable": (switch.disable, "Keep accounts from running; one that runs stops."),
    "undo": (undo.undo, "Take out of the target again what was written there."),
    "plugins": (plugins.plugins, "See what is installed, and every option."),
    "copy": (copy.copy, "Copy one mailbox, without any file."),
}
"""The core's verbs, each with its line in the overview."""

_UsageError = cast(type[Exception], typer.BadParameter.__base__)
"""The root of typer's errors about how a command was called; its own name moved between versions of typer."""


def script() -> int:
    """Run as the console script, in a process of its own. Return the exit code."""
    try:
        return _call(sys.argv[1:], Frame(alone=True))
    finally:
        gc.freeze()  # else Python, as it ends, looks through all modules for garbage: a tenth of a second


def main(
    argv: Sequence[str] | None = None, registry: Registry | None = None, clock: Clock | None = None
) -> int:
    """Run one command and return the exit code. Embedders and tests give their own plug-ins and clock."""
    return _call(list(sys.argv[1:] if argv is None else argv), Frame(registry, clock or Clock()))


def _call(words: list[str], frame: Frame) -> int:
    prepare_streams()
    try:
        return _run(words, frame)
    except AlimailError as error:
        return show_error(error)
    except (KeyboardInterrupt, typer.Abort):
        complain("alimail: interrupted", "  -> Run the same command again.")
        return 130
    except BrokenPipeError as error:
        return show_lost_output(error)
    except Exception as bug:  # noqa: BLE001 - the last line of defence: told in one line, traced in a file
        if isinstance(bug, OSError) and bug.filename is None and is_output_lost():
            return show_lost_output(bug)
        return show_bug(bug, frame.log_path)


def build(verbs: Iterable[str] = VERBS) -> typer.Typer:
    """Return the command line with the core's own verbs, or some of them."""
    app = typer.Typer(
        help=HELP,
        rich_markup_mode=None,
        add_completion=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.callback()(_root)
    for name in verbs:
        verb, short = VERBS[name]
        app.command(name, short_help=short)(verb)
    return app


def _run(words: list[str], frame: Frame) -> int:
    require_place()
    verb = next((word for word in words if not word.startswith("-")), None)
    app = build([verb] if verb in VERBS and verb == words[0] else VERBS)  # to build them all takes 30 ms
    if verb is not None and verb not in VERBS:
        plugins.add_commands(app, frame.registry)
    try:
        code = get_command(app)(words, prog_name="alimail", obj=frame, standalone_mode=False)
        sys.stdout.flush()
    except _UsageError as error:
        cast(Any, error).show()
        return 2
    if code == 130 and not frame.stop.is_set():
        raise KeyboardInterrupt  # some versions of typer make an exit code of it, and say nothing
    return code if isinstance(code, int) else 0


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"alimail {version('alimail')}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass
