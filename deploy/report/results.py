"""How the images were classified: the confusion matrix, and those that were misclassified."""

from typing import Any

import numpy as np

from sqdr.deploy.report.evaluation import Evaluation
from sqdr.deploy.report.samples import image_uri
from sqdr.deploy.report.section import Section
from sqdr.deploy.results import confusion_matrix

__all__ = ["confusion_section", "misclassified_section"]

# A table of more classes is no longer read.
MAX_TABLE_CLASSES = 16
MAX_PAIRS = 20


def confusion_section(evaluation: Evaluation | None, class_names: tuple[str, ...], missing: tuple[str, ...]) -> Section:
    """Return the confusion matrix: rows are labels, columns predictions."""
    name, title = "confusion", "Confusion matrix"
    if evaluation is None or evaluation.accuracy is None:
        why = ("No labels. Use --input with a part of a data set, such as digits:test.",)
        return Section(name=name, title=title, missing=missing if evaluation is None else (*missing, *why))
    known = evaluation.labels >= 0
    n_classes = evaluation.logits.shape[1]
    matrix = confusion_matrix(evaluation.labels[known], evaluation.predicted[known], n_classes)
    names = [class_names[k] if k < len(class_names) else str(k) for k in range(n_classes)]
    totals = matrix.sum(axis=1)
    off = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-off, axis=None, kind="stable")[:MAX_PAIRS]
    pairs = [
        (names[row], names[column], int(off[row, column]))
        for row, column in zip(*np.unravel_index(order, off.shape), strict=True)
        if off[row, column]
    ]
    rows: list[dict[str, Any]] = []
    if n_classes <= MAX_TABLE_CLASSES:
        rows = [
            {
                "name": names[k],
                "cells": [(int(n), round(100 * int(n) / max(int(totals[k]), 1))) for n in matrix[k]],
                "recall": f"{matrix[k, k] / totals[k]:.1%}" if totals[k] else "none",
            }
            for k in range(n_classes)
        ]
    content = {
        "rows": rows,
        "names": names if rows else [],
        "n_classes": n_classes,
        "pairs": pairs,
        "accuracy": f"{evaluation.accuracy:.4f}",
        "n": f"{int(known.sum()):,}",
        "source": evaluation.source,
    }
    return Section(name=name, title=title, content=content, missing=missing)


def misclassified_section(
    evaluation: Evaluation | None, class_names: tuple[str, ...], n_shown: int, missing: tuple[str, ...]
) -> Section:
    """Return the misclassified images, the surest first."""
    name, title = "misclassified", "Misclassified images"
    if evaluation is None or evaluation.images is None or evaluation.accuracy is None:
        why = ("No images with labels. Name some with --input, such as digits:test; data sets are in --data-root.",)
        return Section(name=name, title=title, missing=missing or why)

    def class_name(k: int) -> str:
        return class_names[k] if k < len(class_names) else str(k)

    has = evaluation.has_image
    wrong = [int(at) for at in evaluation.wrong]
    shown = [at for at in wrong if has is None or has[at]][: max(1, n_shown * 3 // 4)]
    content = {
        "n_wrong": len(wrong),
        "n": f"{int((evaluation.labels >= 0).sum()):,}",
        "source": evaluation.source,
        "images": [
            {
                "id": evaluation.ids[at],
                "label": class_name(int(evaluation.labels[at])),
                "predicted": class_name(int(evaluation.predicted[at])),
                "uri": image_uri(evaluation.images[at]),
                "sample": index,
            }
            for index, at in enumerate(shown)
        ],
    }
    return Section(name=name, title=title, content=content, missing=missing)
