"""What the documentation's build makes by running sqdr: printed output, the notebooks, the command line's reference."""

import shutil
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from blocks import blocks_of
from command_reference import command_reference
from executed_notebooks import rendered_notebook
from mkdocs.structure.files import File, Files
from working_folder import WorkingFolder

__all__ = ["on_files", "on_page_markdown"]

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "docs" / "work"
COMMANDS = "reference/cli.md"
# Pages link to figures beside the results that they show; on GitHub these links work as they are.
FIGURES = "benchmarks/results/"


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made, and the figures that lie elsewhere."""
    files.append(File.generated(config, COMMANDS, content=command_reference()))
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
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
        markdown = _with_output(markdown, WORK / page.file.src_uri.removesuffix(".md"))
    up = "../" * page.file.src_uri.count("/")
    return markdown.replace(f"](../{up}{FIGURES}", f"]({up}{FIGURES}")


def _with_output(markdown: str, folder: Path) -> str:
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
        printed = work.python(block.text) if block.language == "python" else _shell(work, block.commands)
        if printed.strip():
            out += ["", '``` { .text .output title="prints" }', *printed.rstrip().split("\n"), "```", ""]
    return "\n".join([*out, *lines[done:]])


def _shell(work: WorkingFolder, commands: list[str]) -> str:
    # `sqdr fit` and `sqdr plan` say no with exit code 1, and what they print is the point
    return "".join(work.shell(command, codes=(0, 1)) for command in commands)
