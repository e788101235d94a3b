"""The reference of the command line, from the commands themselves."""

import inspect
from collections.abc import Iterator
from typing import Any

__all__ = ["command_reference", "root_command"]

HEAD = """# Command line

Every command and option, as `sqdr COMMAND --help` prints them. Exit codes: 0 done, 1 the answer is no, 2 bad input or
usage, 3 a backend failed, 130 interrupted. `--json` prints one JSON object on standard output and nothing else there.
"""


def root_command() -> Any:
    """Return the command line as click sees it."""
    import typer

    from sqdr.cli.app import app

    return typer.main.get_command(app)


def command_reference() -> str:
    """Return the page's Markdown."""
    return "\n".join([HEAD, *_section("sqdr", root_command(), None, 2)])


def _section(name: str, command: Any, parent: Any, level: int) -> Iterator[str]:
    # of click, or of the copy of it that newer versions of Typer bring along
    context = command.context_class(command, info_name=name, parent=parent)
    yield f"{'#' * level} {context.command_path}\n"
    yield f"{_help(command)}\n"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{context.command_path} {usage}\n```\n"
    records = [record for each in command.get_params(context) if (record := each.get_help_record(context))]
    arguments = [record for record in records if not record[0].startswith("-")]
    options = [record for record in records if record[0].startswith("-")]
    for title, rows in (("argument", arguments), ("option", options)):
        if rows:
            yield f"| {title} | |\n|---|---|"
            yield from (f"| `{_cell(names)}` | {_cell(text).replace('<', chr(92) + '<')} |" for names, text in rows)
            yield ""
    for child in getattr(command, "commands", {}).values():
        yield from _section(child.name, child, context, min(level + 1, 4))


def _help(command: Any) -> str:
    """The help text, with its examples as shell blocks."""
    out = []
    # an epilog holds the examples; \b keeps click from wrapping them
    text = f"{inspect.cleandoc(command.help or '')}\n\n{command.epilog or ''}".replace("\b\n", "")
    for line in text.splitlines():
        start, colon, rest = line.partition(": sqdr ")
        out.append(f"{start}:\n\n```sh\nsqdr {rest}\n```" if colon else line.replace("<", "\\<"))
    return "\n".join(out)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
