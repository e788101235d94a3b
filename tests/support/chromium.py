"""Find a Chromium or Chrome of the system."""

import os
import shutil

__all__ = ["find_chromium"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    """Return the path of a browser, $SQDR_CHROMIUM before any other; None where there is none."""
    return os.environ.get("SQDR_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
