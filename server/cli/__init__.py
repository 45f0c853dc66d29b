"""The `holdfast` command.

A HoldfastError ends a verb with its one line and its exit code; nothing a user can do wrong shows
a traceback.
"""

from __future__ import annotations

import signal
import sys

from server.errors import ConfigError, HoldfastError


def main() -> None:
    """The command as a process of its own: `run`, after which no Ctrl-C changes how it ended."""
    try:
        run()
    except SystemExit as ended:
        if not ended.code:
            # All is done: a Ctrl-C while Python tidies up would only make it look otherwise.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise


def run() -> None:
    """Run the command line; exits with the error table's code."""
    try:
        # Here, so that a Ctrl-C while the verbs are read ends as one does later.
        from server.cli.app import app

        app()
    except ConfigError as error:
        _tell(f"holdfast: {error.what}")
        for problem in error.problems:
            _tell(f"  {problem}")
        if error.next_step:
            _tell(f"  {error.next_step}" + ("" if error.next_step.endswith("?") else "."))
        sys.exit(error.exit_code)
    except HoldfastError as error:
        _tell(f"holdfast: {error.sentence}")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)


def _tell(line: str) -> None:
    print(line, file=sys.stderr)
