"""Run a notebook and turn it into a page, with the figures that it drew."""

import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert import MarkdownExporter

__all__ = ["executed", "rendered_notebook"]

CELL_TIMEOUT_S = 120
# Figures go into the notebook whatever a user's settings say.
KERNEL = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "PYTHONWARNINGS": "ignore"}


def executed(path: Path, folder: Path) -> nbformat.NotebookNode:
    """Return the notebook with its outputs, run in ``folder`` by this interpreter.

    Raises:
        CellExecutionError: a cell raised.
        CellTimeoutError: a cell took more than two minutes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT_S,
        kernel_name="python3",
        coalesce_streams=True,
        # errors alone: the kernel warns of its loopback connection
        extra_arguments=["--log-level=40"],
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env={**os.environ, **KERNEL})
    return notebook


def rendered_notebook(path: Path, folder: Path) -> tuple[str, dict[str, bytes]]:
    """Return a page's Markdown and its figures by name; what a cell wrote on standard error is left out."""
    notebook = executed(path, folder)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [each for each in cell.outputs if each.get("name") != "stderr"]
    resources = {"unique_key": path.stem, "output_files_dir": f"{path.stem}_files"}
    markdown, resources = MarkdownExporter().from_notebook_node(notebook, resources=resources)
    source = f"This page is the notebook `docs/notebooks/{path.name}`, run when the site was built."
    markdown = markdown.replace("![png](", "![What the cell above draws](")
    title, _, rest = markdown.lstrip().partition("\n")
    return f"{title}\n\n*{source}*\n{rest}", resources["outputs"]
