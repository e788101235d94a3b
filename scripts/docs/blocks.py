"""The fenced code blocks of a Markdown page, and the commands in them.

What the documentation's build runs and what the tests run is read here, so that both mean the same:

- ``sh`` holds commands, one a line, which a backslash at its end continues; ``console`` holds them after ``$ ``, and
  their output;
- ``python`` is a script;
- a block whose first line is a comment with a file's name, such as ``# mine.yaml``, is that file;
- ``run`` behind the language puts what the block prints under it when the site is built.
"""

import re
import shlex
from dataclasses import dataclass

from markdown_it import MarkdownIt

__all__ = ["Block", "blocks_of", "code_spans_of", "words_of"]

FILE_COMMENT = re.compile(r"#\s+([\w-]+\.(?:yaml|py|toml|sh))\s*$")
PROMPT = "$ "


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block.

    Args:
        line: of its opening fence, from 1.
        last_line: of its closing fence.
        language: the first word behind the fence, ``""`` where there is none.
        flags: the other words.
        text: what is inside.
    """

    line: int
    last_line: int
    language: str
    flags: tuple[str, ...]
    text: str

    @property
    def file_name(self) -> str | None:
        """The file that this block is, or None."""
        match = FILE_COMMENT.match(self.text.split("\n", 1)[0])
        return match[1] if match else None

    @property
    def is_run(self) -> bool:
        """Whether it is something to run."""
        return self.language in ("sh", "console", "python") and self.file_name is None

    @property
    def commands(self) -> list[str]:
        """The commands of a shell block, in order; comments are left out."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language == "console":
            lines = [line.removeprefix(PROMPT) for line in lines if line.startswith(PROMPT)]
        return [" ".join(line.split()) for line in lines if line.strip() and not line.lstrip().startswith("#")]


def blocks_of(markdown: str) -> list[Block]:
    """Return the fenced blocks of a page, first to last."""
    blocks = []
    for token in MarkdownIt().parse(markdown):
        if token.type == "fence" and token.map is not None:
            language, *flags = token.info.split() or [""]
            first, end = token.map
            blocks.append(
                Block(line=first + 1, last_line=end, language=language, flags=tuple(flags), text=token.content)
            )
    return blocks


def code_spans_of(markdown: str) -> list[str]:
    """Return the code inside the page's sentences, such as ``sqdr run --resume out/run``."""
    inlines = [token for token in MarkdownIt().enable("table").parse(markdown) if token.type == "inline"]
    return [
        " ".join(child.content.split())
        for token in inlines
        for child in token.children or []
        if child.type == "code_inline"
    ]


def words_of(command: str) -> list[str]:
    """Return a command's words as a shell would pass them, without a comment behind it."""
    return shlex.split(command, comments=True)
