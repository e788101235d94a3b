"""How pages are read, and what is committed of the notebooks."""

import json
from pathlib import Path

from blocks import blocks_of, code_spans_of, words_of

ROOT = Path(__file__).resolve().parents[2]

PAGE = """# Title

With `sqdr run --json` in it.

```sh run
# a comment
sqdr train \\
    --out a   # why
sqdr verify a
```

- in a list

  ```console
  $ sqdr doctor
  all is well
  ```

```yaml
# mine.yaml
data: {}
```

```
sqdr is only a word here
```

| `sqdr fit` | in a table |
|---|---|
| `sqdr plan` | too |
"""


def test_blocks_are_read_with_their_place_language_and_flags() -> None:
    blocks = blocks_of(PAGE)
    assert [(block.language, block.flags) for block in blocks] == [
        ("sh", ("run",)),
        ("console", ()),
        ("yaml", ()),
        ("", ()),
    ]
    lines = PAGE.split("\n")
    assert [lines[block.line - 1].strip()[:3] for block in blocks] == ["```"] * 4
    assert [lines[block.last_line - 1].strip() for block in blocks] == ["```"] * 4


def test_commands_are_joined_and_output_is_left_out() -> None:
    sh, console, file, plain = blocks_of(PAGE)
    assert sh.commands == ["sqdr train --out a # why", "sqdr verify a"]
    assert words_of(sh.commands[0]) == ["sqdr", "train", "--out", "a"]
    assert console.commands == ["sqdr doctor"]
    assert (file.file_name, file.is_run, plain.is_run) == ("mine.yaml", False, False)


def test_code_in_sentences_and_tables_is_found() -> None:
    assert code_spans_of(PAGE) == ["sqdr run --json", "sqdr fit", "sqdr plan"]


def test_notebooks_are_committed_without_output() -> None:
    paths = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
    assert len(paths) >= 2
    for path in paths:
        cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
        assert cells
        assert not [cell for cell in cells if cell["outputs"] or cell["execution_count"]], path.name
