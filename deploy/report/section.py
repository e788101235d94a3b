"""What a section of the report is: a template's content, data for the page's script, and what is missing."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Section"]


@dataclass(frozen=True, kw_only=True)
class Section:
    """One section.

    Args:
        name: of the section, and of its template.
        title: its heading.
        content: what the template takes; None where nothing can be shown.
        missing: each one thing that is not there, and how to get it.
        data: for the page's script, under the section's name.
    """

    name: str
    title: str
    content: Mapping[str, Any] | None = None
    missing: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_present(self) -> bool:
        """Whether there is anything to show."""
        return self.content is not None
