"""Every command in README and the documentation is run, in order, page by page.

How they are read: `blocks` in scripts/docs. What is not run as it is written: `doc_table`.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blocks import blocks_of, code_spans_of, words_of
from command_reference import command_reference, root_command
from doc_table import NOT_RUN, REPLACED, SHORTENED, Shortened
from markdown_it import MarkdownIt
from working_folder import CommandFailed, WorkingFolder

from sqdr.bundle import write_zip
from sqdr.deploy.fakes import FakeBraket
from sqdr.deploy.fakes.pytest_plugin import OTHER_VARIABLES

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    str(path.relative_to(ROOT)) for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md"))
)
TEXTS = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
REDIRECTIONS = {">", "|", "&&", ";"}
# What the reader of a page has by then, where the page does not make it itself.
NETWORK = "theirs.net"
BUNDLES = ("digits.sqdr", "mnist.sqdr", "mnist10k.sqdr", "out/demo/bundle")
TIMEOUT_S = 240


def commands() -> Iterator[tuple[str, str]]:
    """(page, command) of every shell block."""
    for page, text in TEXTS.items():
        for block in blocks_of(text):
            if block.is_run and block.language != "python":
                for command in block.commands:
                    yield page, command


def as_run(command: str) -> Shortened:
    """What is done with a command; as it is, where no entry fits."""
    words = " ".join(words_of(command))
    return next((each for each in SHORTENED if words.startswith(each.start)), Shortened(start="", why="as written"))


def is_not_run(command: str) -> bool:
    return " ".join(words_of(command)) in {" ".join(words_of(each)) for each in NOT_RUN}


def parse(command: str) -> None:
    """Let the command line read a command, without running it; an unknown command or option raises."""
    words = words_of(command)
    cut = next((index for index, word in enumerate(words) if word in REDIRECTIONS), len(words))
    name, command_, words, context = words[0], root_command(), words[1:cut], None
    while True:
        context = command_.make_context(name, list(words), parent=context)
        if not hasattr(command_, "resolve_command"):
            return
        rest = [*context._protected_args, *context.args]
        if not rest:
            return
        name, command_, words = command_.resolve_command(context, rest)


@pytest.mark.parametrize("page", [page for page, text in TEXTS.items() if any(b.is_run for b in blocks_of(text))])
@pytest.mark.slow
@pytest.mark.lava
@pytest.mark.skipif(sys.version_info[:2] != (3, 10), reason="Lava runs on Python 3.10 only, and pages run it")
@pytest.mark.timeout(900)
def test_every_command_of_a_page_runs(
    page: str, tmp_path: Path, bundle_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package, extra in (("braket", "braket"), ("lava", "lava"), ("qiskit", "plan"), ("onnxruntime", "onnx")):
        pytest.importorskip(package, reason=f"needs the {extra} extra")
    for name in OTHER_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    text = TEXTS[page]
    _provide_bundles(text, tmp_path, bundle_path)
    n_run, failure = 0, ""
    with FakeBraket(seed=1) as service:
        environment = {**service.environment(), "PYTHONPATH": str(tmp_path / "installed"), "MPLBACKEND": "agg"}
        work = WorkingFolder(tmp_path, environment, timeout_s=TIMEOUT_S)
        for block in blocks_of(text):
            try:
                n_run += _run(page, block, work)
            except CommandFailed as error:
                failure = f"{page}:{block.line}: {error}"
                break
    if failure:
        pytest.fail(failure, pytrace=False)
    assert n_run or all(is_not_run(command) for where, command in commands() if where == page)


def _run(page: str, block: Any, work: WorkingFolder) -> int:
    """Run a block; return how many commands that were."""
    if block.file_name is not None:
        work.write(block)
        return 0
    if not block.is_run:
        return 0
    if block.language == "python":
        script = block.text
        for each in REPLACED:
            if each.page == page:
                script = script.replace(each.old, each.new)
        work.python(script)
        return 1
    to_run = [command for command in block.commands if not is_not_run(command)]
    for command in to_run:
        how = as_run(command)
        # without the comment behind it, so that options can follow
        words = re.sub(r"\s+#\s.*$", "", command)
        work.shell(f"{words} {how.more}" if how.more else words, how.codes)
    return len(to_run)


def _provide_bundles(text: str, folder: Path, bundle: Path) -> None:
    if NETWORK in text:
        shutil.copy(bundle / "encoder.net", folder / NETWORK)
    for name in BUNDLES:
        path = folder / name
        if f"--out {name}" in text or name not in text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix:
            write_zip(bundle, path)
        else:
            shutil.copytree(bundle, path)


def test_commands_are_found() -> None:
    found = list(commands())
    assert len(found) > 30
    assert ("README.md", "sqdr cost out/garnet") in found


@pytest.mark.parametrize(
    ("page", "command"), [(page, command) for page, command in commands() if words_of(command)[0] == "sqdr"]
)
def test_sqdr_command_has_only_options_that_exist(page: str, command: str) -> None:
    parse(command)


def test_examples_in_the_help_have_only_options_that_exist() -> None:
    examples = [
        command for block in blocks_of(command_reference()) if block.language == "sh" for command in block.commands
    ]
    assert len(examples) > 15
    for example in examples:
        parse(example)


@pytest.mark.parametrize(
    ("page", "span"),
    [(page, span) for page, text in TEXTS.items() for span in code_spans_of(text) if span.startswith("sqdr ")],
)
def test_command_inside_a_sentence_exists(page: str, span: str) -> None:
    """Sentences name commands in part: what is named must exist, with its options."""
    command, known = root_command(), {"--help"}
    for word in words_of(span)[1:]:
        known |= {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        if word.startswith("--"):
            assert word in known, f"{page}: `{span}` names {word}"
        elif word in getattr(command, "commands", {}):
            command = command.commands[word]
        elif hasattr(command, "commands"):
            assert word in ("...", "COMMAND"), f"{page}: `{span}` names {word}"


def test_no_command_hides_in_an_indented_block() -> None:
    """Only fenced blocks are run."""
    tokens = [(page, token) for page, text in TEXTS.items() for token in MarkdownIt().parse(text)]
    hidden = [
        (page, line)
        for page, token in tokens
        if token.type == "code_block"
        for line in token.content.splitlines()
        if re.match(r"\$ |(sqdr|make|python|pip)\s", line)
    ]
    assert not hidden


def test_script_inside_a_sentence_exists() -> None:
    spans = [words_of(span)[1] for text in TEXTS.values() for span in code_spans_of(text) if span.startswith("python ")]
    files = {block.file_name for text in TEXTS.values() for block in blocks_of(text)}
    scripts = [span for span in spans if span.endswith(".py") and span not in files]
    assert scripts
    assert not [script for script in scripts if not (ROOT / script).is_file()]


def test_what_is_not_run_exists() -> None:
    """A command that is not run is still there: a target of make, or a file."""
    known = {" ".join(words_of(command)) for _, command in commands()}
    for command in NOT_RUN:
        words = words_of(command)
        assert " ".join(words) in known, f"no page has `{command}` any more: remove it from NOT_RUN"
        if words[0] == "make":
            asked = subprocess.run(["make", "-n", words[1]], cwd=ROOT, capture_output=True, text=True, check=False)
            assert asked.returncode == 0, asked.stderr
        else:
            assert (ROOT / words[-1]).exists() or words[0] == "."


def test_no_entry_of_the_table_is_left_over() -> None:
    used = {as_run(command).start for _, command in commands() if not is_not_run(command)}
    assert not {each.start for each in SHORTENED} - used
    for each in REPLACED:
        assert any(each.old in block.text for block in blocks_of(TEXTS[each.page]) if block.language == "python")


def test_a_broken_command_fails(tmp_path: Path) -> None:
    work = WorkingFolder(tmp_path)
    with pytest.raises(CommandFailed, match="exit code 2: sqdr run --no-such-option"):
        work.shell("sqdr run --no-such-option")
    with pytest.raises(CommandFailed, match="exit code 1"):
        work.python("raise SystemExit(1)")
    slow = WorkingFolder(tmp_path, timeout_s=0.5)
    with pytest.raises(CommandFailed, match="no end within"):
        slow.shell("sleep 60 & wait")
    with pytest.raises(Exception, match="no-such-option"):
        parse("sqdr run digits.sqdr --no-such-option")


def test_commands_run_with_this_interpreter(tmp_path: Path) -> None:
    found = WorkingFolder(tmp_path).shell('python -c "import sys; print(sys.prefix)"')
    assert found.strip() == sys.prefix
