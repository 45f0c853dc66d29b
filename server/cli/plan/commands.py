"""The engines' command lines, as a shell takes them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from rich.text import Text

from server.cli.plan.draft import Command, Draft
from server.cli.plan.screen import Screen

_INDENT = "   "


def command_lines(draft: Draft, screen: Screen) -> Iterator[Text]:
    """Each engine's command: folded to the terminal's width, else in one line."""
    marks = {a.option.deployment.build: draft.mark(a) for a in draft.ordered}
    room = None if screen.width is None else screen.width - len(_INDENT)
    for command in draft.commands:
        yield Text(f"{marks.get(command.build, ' ')}  {command.build}", style="bold")
        for line in shell(command, room):
            yield Text(_INDENT + line)


def shell(command: Command, width: int | None) -> list[str]:
    """The command, what it sets in the environment first; None: in one line.

    An option and its values stand on one line, however long.
    """
    setting = [f"{name}={shlex.quote(value)}" for name, value in command.environment.items()]
    first, *words = [shlex.quote(word) for word in command.argv]
    parts = [setting, [first]] if setting else [[first]]
    for word in words:
        if word.startswith("-"):
            parts.append([word])
        else:
            parts[-1].append(word)
    whole = [" ".join(part) for part in parts]
    if width is None:
        return [" ".join(whole)]
    lines = [whole[0]]
    for part in whole[1:]:
        if len(lines[-1]) + len(part) + 3 <= width:  # a space before it, and " \\" after it
            lines[-1] += f" {part}"
        else:
            lines.append(f"  {part}")
    return [*(f"{line} \\" for line in lines[:-1]), lines[-1]]
