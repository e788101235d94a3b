"""Finding encoders and data sets by name, in packages that are there and in broken ones."""

import sys
from pathlib import Path

import pytest

from sqdr.errors import ConfigError, MissingDependencyError
from sqdr.plugins import EXTRA_OF_MODULE, load_plugin, missing, plugin_names

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package with one working plugin and two whose import fails."""
    (tmp_path / "some_plugin.py").write_text("def load():\n    return 'loaded'\n", encoding="utf-8")
    (tmp_path / "needs_torch.py").write_text("raise ModuleNotFoundError('x', name='torch.nn')\n", encoding="utf-8")
    (tmp_path / "needs_rare.py").write_text("import a_rare_package_of_nobody\n", encoding="utf-8")
    info = tmp_path / "some_plugin-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: some-plugin\nVersion: 1\n", encoding="utf-8")
    lines = ["works = some_plugin:load", "torchy = needs_torch:load", "rare = needs_rare:load"]
    (info / "entry_points.txt").write_text("\n".join(["[sqdr.datasets]", *lines]), encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("package")
def test_plugin_of_another_package_is_found_and_loaded() -> None:
    assert {"works", "digits"} <= set(plugin_names("sqdr.datasets"))
    assert load_plugin("sqdr.datasets", "works")() == "loaded"


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "torchy",
            r"^dataset 'torchy' needs the package 'torch', .*: pip install 'sqdr\[train\]', then see `sqdr doct",
        ),
        ("rare", "needs the package 'a_rare_package_of_nobody', which cannot be imported: install it, then"),
    ],
)
def test_plugin_names_the_extra_that_it_lacks(name: str, message: str) -> None:
    with pytest.raises(MissingDependencyError, match=message):
        load_plugin("sqdr.datasets", name)


@pytest.mark.parametrize(
    ("group", "name", "message"),
    [
        ("sqdr.datasets", "digit", "unknown dataset 'digit'. Did you mean 'digits'\\? Known: .*mnist10k"),
        (
            "sqdr.encoders",
            "lavva",
            "unknown encoder 'lavva'. Did you mean 'lava'\\? Known: integer, lava, onnx, slayer",
        ),
        ("sqdr.datasets", "zzzzzz", r"unknown dataset 'zzzzzz'\. Known: cifar10"),
        ("sqdr.datasets", "", r"unknown dataset ''\. Known: cifar10"),
    ],
)
def test_unknown_name_is_refused_with_the_nearest(group: str, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_plugin(group, name)


def test_missing_stays_on_one_line_when_the_import_error_does_not() -> None:
    message = str(missing(ImportError("\n\nIMPORTANT: PLEASE READ THIS\n\nand this\n"), "training"))
    assert message.startswith("training needs the package 'IMPORTANT: PLEASE READ THIS and this', which cannot")
    assert len(message.splitlines()) == 1


def test_every_extra_that_is_advised_exists() -> None:
    root = Path(__file__).resolve().parents[2]
    with (root / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    assert EXTRA_OF_MODULE
    assert set(EXTRA_OF_MODULE.values()) <= set(extras)
