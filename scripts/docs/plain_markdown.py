"""Markdown in which ``<Z>`` is an expectation value and not a tag of HTML."""

from typing import Any

from markdown.extensions import Extension

__all__ = ["PlainMarkdown"]


class PlainMarkdown(Extension):
    """Takes raw HTML as text: pages and docstrings have none."""

    def extendMarkdown(self, md: Any) -> None:
        """Leave out what would find HTML."""
        md.preprocessors.deregister("html_block")
        md.inlinePatterns.deregister("html")
