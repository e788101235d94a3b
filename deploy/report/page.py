"""The page: templates, style, script, plotly.js and data in one file that needs nothing else."""

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from sqdr.deploy.report.section import Section
from sqdr.plugins import missing

__all__ = ["GENERATOR", "check_installed", "json_text", "render"]

GENERATOR = "sqdr report"
PACKAGE = "sqdr.deploy.report"


def check_installed() -> None:
    """Raise a MissingDependencyError where the page could not be written in the end."""
    try:
        import jinja2  # noqa: F401
        import plotly.offline  # noqa: F401
    except ImportError as error:
        raise missing(error, "the report") from error


def json_text(data: Any) -> str:
    """Return JSON that may stand inside a script element: none of its characters ends or opens markup."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def render(sections: Sequence[Section], *, title: str, facts: Sequence[tuple[str, str]], made: str) -> str:
    """Return the page.

    Every value is escaped as it enters (Jinja2's autoescape), the data as JSON. The page's own policy lets no request
    out, and runs no script but the two whose hashes it names.

    Args:
        sections: in their order.
        title: of the page.
        facts: of the model, in words.
        made: how the report was made.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=PackageLoader(PACKAGE, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script, plotly = _own("report.js"), get_plotlyjs()
    data = {section.name: section.data for section in sections if section.data}
    return environment.get_template("page.html").render(
        sections=sections,
        title=title,
        facts=facts,
        made=made,
        generator=GENERATOR,
        style=_own("report.css"),
        data=json_text(data),
        plotly=plotly,
        script=script,
        hashes=" ".join(f"'{_hash(text)}'" for text in (plotly, script)),
    )


def _own(name: str) -> str:
    return (files(PACKAGE) / "templates" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """The hash of an inline script, as a content security policy names it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
