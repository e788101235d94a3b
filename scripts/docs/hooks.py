"""What the documentation's build makes by running sqdr: printed output, the notebooks, the command line's reference."""

import logging
import shutil
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from blocks import Block, blocks_of
from command_reference import command_reference
from executed_notebooks import rendered_notebook
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from plain_markdown import PlainMarkdown
from working_folder import CommandFailed, WorkingFolder

__all__ = ["on_config", "on_files", "on_page_markdown"]

LOG = logging.getLogger("mkdocs.hooks.sqdr")
ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "docs" / "work"
COMMANDS = "reference/cli.md"
# Pages link to figures beside the results that they show; on GitHub these links work as they are.
FIGURES = "benchmarks/results/"


def on_config(config: Any) -> Any:
    """Take <Z> in pages and docstrings as it is."""
    config.markdown_extensions.append(PlainMarkdown())
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made, and the figures that lie elsewhere."""
    files.append(File.generated(config, COMMANDS, content=command_reference()))
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        LOG.info("running %s", path.name)
        page, figures = rendered_notebook(path, WORK / "notebooks" / path.stem)
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=page))
        for name, data in figures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=data))
    for path in sorted((ROOT / FIGURES).glob("*.png")):
        files.append(File.generated(config, f"{FIGURES}{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Run the blocks marked ``run`` and put what they print under them."""
    blocks = blocks_of(markdown)
    if any("run" in block.flags for block in blocks):
        markdown = _with_output(markdown, page.file.src_uri)
    up = "../" * page.file.src_uri.count("/")
    return markdown.replace(f"](../{up}{FIGURES}", f"]({up}{FIGURES}")


def _with_output(markdown: str, page: str) -> str:
    folder = WORK / page.removesuffix(".md")
    shutil.rmtree(folder, ignore_errors=True)
    work = WorkingFolder(folder)
    lines, out, done = markdown.split("\n"), list[str](), 0
    for block in blocks_of(markdown):
        if block.file_name is not None:
            work.write(block)
        if "run" not in block.flags:
            continue
        out += [*lines[done : block.line - 1], f"```{block.language}", *lines[block.line : block.last_line]]
        done = block.last_line
        LOG.info("running %s:%d", page, block.line)
        try:
            printed = _printed_by(block, work)
        except CommandFailed as error:
            raise PluginError(f"{page}:{block.line}: {error}") from error
        if printed.strip():
            out += ["", '``` { .text .output title="prints" }', *printed.rstrip().split("\n"), "```", ""]
    return "\n".join([*out, *lines[done:]])


def _printed_by(block: Block, work: WorkingFolder) -> str:
    if block.language == "python":
        return work.python(block.text)
    return "".join(work.shell(command) for command in block.commands)
