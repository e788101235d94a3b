"""Hide credentials, account numbers and ARNs in anything that is printed."""

import os
import re

__all__ = ["hide_secrets"]

HIDDEN = (
    # a device's ARN names no account
    re.compile(r"arn:aws[\w-]*:(?!braket:[a-z0-9-]*::device/[\w/-]+(?![\w/:-]))[^\s\"',;)]*"),
    re.compile(r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{8,}\b"),
    re.compile(r"(?<!\d)\d{12}(?!\d)"),
    # a secret access key, and a session token, also where they came from a file rather than from the environment
    re.compile(r"(?<![A-Za-z0-9/+])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])"),
    re.compile(r"[A-Za-z0-9/+=]{100,}"),
)
SECRET_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


def hide_secrets(text: str) -> str:
    """Return a text with ARNs, account numbers and credentials hidden."""
    for value in filter(None, map(os.environ.get, SECRET_VARIABLES)):
        text = text.replace(value, "[hidden]")
    for pattern in HIDDEN:
        text = pattern.sub("[hidden]", text)
    return text
