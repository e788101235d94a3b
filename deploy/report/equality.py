"""Equality, stage by stage, as `sqdr verify` has it."""

from importlib.util import find_spec
from typing import Any

from sqdr.bundle import Bundle
from sqdr.deploy.report.section import Section
from sqdr.deploy.verify import verify_images
from sqdr.errors import SqdrError

__all__ = ["TITLE", "equality_section"]

N_VERIFIED = 32
TITLE = "Equality, stage by stage"
UNITS = {"spikes": "spikes", "expectations": "<Z>", "logits": "logits", "counts": "counts"}


def equality_section(bundle: Bundle, images: Any, shown: str) -> Section:
    """Return the comparisons that start in moments: without Lava, which `sqdr verify` also takes."""
    against = ["integer", "local:sv"]
    if find_spec("onnxruntime") is not None:
        against += [kind for kind, file in (("onnx", "encoder.onnx"), ("classifier.onnx",) * 2) if bundle.has(file)]
    try:
        report = verify_images(bundle, images[:N_VERIFIED], against=against, shots=1000, seed=0)
    except SqdrError as error:
        return Section(name="equality", title=TITLE, missing=(f"Not compared: {error}",))
    rows = [
        {
            "cells": (
                row.source,
                row.target,
                f"{row.n_samples:,}",
                f"{row.n_compared:,} {UNITS.get(row.what, row.what)}",
                f"{row.n_different:,}",
                f"{row.max_abs_difference:.0f}" if row.what == "spikes" else f"{row.max_abs_difference:.1e}",
            ),
            "equal": row.equal,
            "criterion": row.criterion,
            "where": row.where,
        }
        for row in report.rows
    ]
    compared = {name for row in report.rows for name in (row.source, row.target)}
    left = [name for name in ("slayer", "onnx", "lava") if name not in compared]
    skipped = tuple(f"Not compared: {reason}" for reason in report.skipped)
    if left:
        skipped += (f"Not compared here: {', '.join(left)}. Where they are installed `sqdr verify {shown}` does.",)
    return Section(
        name="equality",
        title=TITLE,
        content={"rows": rows, "equal": report.equal},
        missing=skipped,
    )
