"""Strict models and YAML: every fault is one line that names the key, the rule and what to do."""

import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from sqdr.errors import ConfigError
from sqdr.strict import MAX_YAML_BYTES, StrictModel, load_yaml, parse

# PyYAML's writer itself loses control characters such as U+0085
TEXT = st.text("aZ09 .:-#?!&*'\"\n\téß漢", max_size=8)
PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
DOCUMENTS = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


class Inner(StrictModel):
    threshold: float = Field(default=1.0, gt=0)
    n_steps: int = 8


class Outer(StrictModel):
    inner: Inner = Inner()
    names: dict[str, int] = Field(default_factory=dict)
    items: tuple[int, ...] = ()


def message_of(data: Any) -> str:
    with pytest.raises(ConfigError, match="^config.yaml: ") as caught:
        parse(Outer, data, "config.yaml")
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    message.encode("utf-8")
    return message


@pytest.fixture
def read(tmp_path: Path):
    """Write bytes or text to a file and load it as YAML."""

    def load(content: str | bytes) -> Any:
        path = tmp_path / "file.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return load_yaml(path)

    return load


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"inner": {"n_step": 3}}, "inner: unknown key 'n_step'; did you mean 'n_steps'?"),
        ({"inner": {"qwxz": 3}}, "inner: unknown key 'qwxz'; valid keys: threshold, n_steps."),
        ({"inner": {"threshold": 0}}, "inner.threshold: Input should be greater than 0, got 0"),
        ({"inner": {"threshold": float("nan")}}, "inner.threshold: Input should be a finite number, got nan"),
        ({"inner": {"threshold": float("inf")}}, "inner.threshold: Input should be a finite number, got inf"),
        ({"inner": {"n_steps": 1.5}}, "inner.n_steps: Input should be a valid integer"),
        ({1: 2}, "unknown key '1'; valid keys"),
        (None, "Input should be a valid dictionary"),
        ([1], "Input should be a valid dictionary"),
    ],
)
def test_parse_names_the_key_and_the_rule(data: Any, message: str) -> None:
    assert message in message_of(data)


def test_parse_names_every_violation_at_once() -> None:
    message = message_of({"inner": {"threshold": -1, "n_steps": "x"}, "items": [1, "y"]})
    assert all(part in message for part in ("inner.threshold: ", "inner.n_steps: ", "items.1: "))


@pytest.mark.parametrize("key", ["a\nb", "a\rb", "a\u2028b", "a\ud800"])
def test_parse_stays_on_one_printable_line_when_a_key_does_not(key: str) -> None:
    assert "unknown key" in message_of({key: 1})
    assert "names" in message_of({"names": {key: "x"}})


def test_parse_shortens_what_would_flood_the_terminal() -> None:
    # 80 characters of the value and ten violations are shown; 3,000 leaves room for the rules' own words
    assert len(message_of({"inner": {"n_steps": "9" * 3000 + "x"}})) < 3000
    message = message_of({"items": ["x"] * 5000})
    assert len(message) < 3000
    assert message.endswith("and 4990 more")


def test_model_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Outer().inner = Inner()  # type: ignore[misc]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=DOCUMENTS)
def test_load_yaml_reads_back_what_yaml_wrote(read, document: Any) -> None:
    text = yaml.safe_dump(document, allow_unicode=True)
    if "&id" not in text:  # dumped with an alias
        assert read(text) == document


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.sampled_from("ab01.:-,?!&*<>[]{}|'\"#%@\\\n \t~=_xeoTn"), max_size=40))
def test_load_yaml_reads_or_refuses_any_text(read, text: str) -> None:
    message = ""
    try:
        read(text)
    except ConfigError as error:
        message = str(error)
    assert len(message.splitlines()) <= 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: &x 1\nb: *x\n", r"aliases \(\*name\) are not allowed"),
        ("a: &x [*x]\n", "aliases"),
        ("base: &x {n: 1}\nb: {<<: *x}\n", "aliases|merge"),
        ("a: 1\nb: 2\na: 3\n", "key 'a' is given twice"),
        ("x:\n  a: 1\n  a: 1\n", "key 'a' is given twice"),
        ("1: a\n0x1: b\n", "key '1' is given twice"),
        ("!!set {a, a}\n", "key 'a' is given twice"),
        ("? [a]\n: 1\n", "a key must be a plain word"),
        ("a: 1\n---\nb: 2\n", "single document"),
        ("a: [1, 2\n", "not valid YAML"),
        ("\tb: 1\n", "not valid YAML"),
        ("a: 2024-13-45\n", "not valid YAML: month must be"),
        ("!!bool maybe\n", "not valid YAML"),
        ("!!int ''\n", "not valid YAML"),
        ("!!float ''\n", "not valid YAML"),
        ("!!timestamp x\n", "not valid YAML"),
        ("!!map [a]\n", "expected a mapping"),
        ("!!set [a]\n", "expected a mapping"),
        ("!!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
        ("!!python/name:os.system ''\n", "could not determine a constructor"),
        (b"a: \x00\n", "not valid YAML"),
        (b"a: \xff\xfe\n", "is not UTF-8 text. Is it the right file"),
        ("a: b\n".encode("utf-16"), "is not UTF-8 text"),
        ("[" * 3000, "not valid YAML: maximum recursion depth"),
        ("{a: " * 3000, "not valid YAML: maximum recursion depth"),
        ("- " * 3000, "not valid YAML: maximum recursion depth"),
        (b"a" * (MAX_YAML_BYTES + 1), f"is larger than {MAX_YAML_BYTES} bytes. Is it the right file"),
    ],
    ids=lambda value: ascii(value)[:24],
)
def test_load_yaml_refuses_in_one_line(read, content: str | bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read(content)
    assert len(str(caught.value).splitlines()) == 1
    assert "file.yaml" in str(caught.value)


def test_load_yaml_refuses_many_keys_in_a_bounded_time(read) -> None:
    n_keys = MAX_YAML_BYTES // len("k00000: 1\n")
    content = "".join(f"k{i:05}: 1\n" for i in range(n_keys - 2)) + "k00000: 2\n"
    start = time.monotonic()
    with pytest.raises(ConfigError, match="key 'k00000' is given twice"):
        read(content)
    # about 2 s on one slow core: the limit on the size is what bounds it
    assert time.monotonic() - start < 60


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.yaml", "hardware file .*missing.yaml cannot be read: No such file"),
        (".", "cannot be read: Is a directory"),
        ("x" * 300, "cannot be read: File name too long"),
    ],
)
def test_load_yaml_says_why_a_file_cannot_be_read(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_yaml(tmp_path / name, "hardware file")


def test_load_yaml_stops_reading_an_endless_file() -> None:
    with pytest.raises(ConfigError, match="/dev/zero is larger than"):
        load_yaml(Path("/dev/zero"))


def test_load_yaml_reads_a_file_with_a_byte_order_mark(read) -> None:
    assert read("\ufeffa: 1\r\nb: ü\r\n") == {"a": 1, "b": "ü"}
