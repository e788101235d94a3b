"""The layout that the packaging, the import direction and the light imports rely on."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {
    "sqdr": ROOT / "src" / "sqdr",
    "sqdr.hw_configs": ROOT / "hw_configs",
    "sqdr.train": ROOT / "train",
    "sqdr.export": ROOT / "export",
    "sqdr.deploy": ROOT / "deploy",
}
SIBLINGS = {"hw_configs", "train", "export", "deploy"}
MAY_IMPORT: dict[str, set[str]] = {
    "sqdr": set(),
    "sqdr.hw_configs": set(),
    "sqdr.train": {"hw_configs"},
    # export runs what deploy will run: a bundle that is not equal is never finished
    "sqdr.export": {"hw_configs", "train", "deploy"},
    "sqdr.deploy": {"hw_configs"},
}
HEAVY = ["torch", "pennylane", "braket", "lava", "lightning", "matplotlib", "h5py", "boto3", "nir"]
HEAVY += ["onnx", "onnxruntime", "qiskit"]


def project() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)


def modules() -> dict[str, Path]:
    """Every module of the package: dotted name -> file."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join((package, *parts)).removesuffix(".__init__")
            found[name] = path
    return found


MODULES = modules()


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def package_of(module: str) -> str:
    return next((package for package in FOLDERS if package != "sqdr" and inside(module, package)), "sqdr")


def inside(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def imported_names(node: ast.AST, module: str, path: Path) -> list[str]:
    """Absolute dotted names that one node imports, its `from` names included."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            above = module.split(".")
            keep = len(above) - node.level + (path.name == "__init__.py")
            base = ".".join([*above[:keep], *([node.module] if node.module else [])])
        return [f"{base}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in (
        "import_module",
        "__import__",
    ):
        return [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    return []


def imports(tree: ast.Module, module: str, path: Path) -> Iterator[tuple[str, int, bool]]:
    """(dotted name, line, whether importing the module leaves it alone) of every import in a file."""

    def visit(node: ast.AST, is_lazy: bool) -> Iterator[tuple[str, int, bool]]:
        for name in imported_names(node, module, path):
            yield name, getattr(node, "lineno", 0), is_lazy
        is_lazy = is_lazy or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            is_types_only = isinstance(node, ast.If) and child in node.body and is_type_checking(node.test)
            yield from visit(child, is_lazy or is_types_only)

    yield from visit(tree, False)


def is_type_checking(test: ast.expr) -> bool:
    return getattr(test, "attr", getattr(test, "id", "")) == "TYPE_CHECKING"


def sibling_of(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "sqdr" and parts[1] in SIBLINGS else None


def wrong_imports(source: str, module: str, path: Path) -> list[str]:
    """What a file imports against the direction base <- hw_configs <- (train, deploy) <- export."""
    package = package_of(module)
    is_lazy_allowed = module == "sqdr" or inside(module, "sqdr.cli")
    wrong = []
    for name, line, is_lazy in imports(ast.parse(source), module, path):
        sibling = sibling_of(name)
        if name.split(".")[0] in SIBLINGS:
            wrong.append(f"{module}:{line} imports the root folder {name}")
        elif sibling is None or f"sqdr.{sibling}" == package or sibling in MAY_IMPORT[package]:
            continue
        elif not (is_lazy_allowed and is_lazy):
            wrong.append(f"{module}:{line} imports {name}")
    return wrong


def assigned_names(target: ast.expr) -> list[str]:
    if isinstance(target, ast.Name):
        return [target.id]
    if isinstance(target, ast.Tuple | ast.List):
        return [name for item in target.elts for name in assigned_names(item)]
    return []


def top_level(body: list[ast.stmt]) -> Iterator[tuple[str, ast.stmt]]:
    """Every name that a module's body defines or imports, with the statement; `if` and `try` included."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, node
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield from ((name, node) for name in assigned_names(target))
        elif isinstance(node, ast.AnnAssign):
            yield from ((name, node) for name in assigned_names(node.target))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (((alias.asname or alias.name).split(".")[0], node) for alias in node.names)
        elif isinstance(node, ast.If | ast.Try | ast.With):
            for block in ("body", "orelse", "finalbody"):
                yield from top_level(getattr(node, block, []))
            for handler in getattr(node, "handlers", []):
                yield from top_level(handler.body)


def exported(tree: ast.Module) -> list[str] | None:
    """The names in `__all__`, or None if the module has none."""
    for name, node in top_level(tree.body):
        if name == "__all__" and isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            value = ast.literal_eval(node.value)
            assert isinstance(value, list | tuple)
            return list(value)
    return None


def test_packages_are_the_folders_with_an_init() -> None:
    found = {name for name, path in MODULES.items() if path.name == "__init__.py"}
    declared = project()["tool"]["setuptools"]["packages"]
    assert len(found) >= len(FOLDERS)
    assert sorted(declared) == sorted(found)


def test_folders_with_modules_have_an_init() -> None:
    folders = {path.parent for path in MODULES.values()}
    assert len(folders) >= len(FOLDERS)
    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_package_dir_is_the_map_tested_here() -> None:
    declared = project()["tool"]["setuptools"]["package-dir"]
    assert {name: ROOT / folder for name, folder in declared.items()} == FOLDERS


@pytest.mark.parametrize("package", sorted(FOLDERS))
def test_imports_keep_the_direction(package: str) -> None:
    chosen = {name: path for name, path in MODULES.items() if package_of(name) == package}
    assert chosen
    wrong = [line for name, path in chosen.items() for line in wrong_imports(path.read_text("utf-8"), name, path)]
    assert wrong == []


def test_other_folders_import_no_root_folder() -> None:
    folders = [ROOT / name for name in ("tests", "benchmarks", "scripts", "examples")]
    paths = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    assert len(paths) > 1
    wrong = [
        f"{path}:{line} imports {name}"
        for path in paths
        for name, line, _ in imports(parsed(path), path.stem, path)
        if name.split(".")[0] in SIBLINGS
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("sqdr.timing", "import sqdr.train"),
        ("sqdr.timing", "def f():\n    from sqdr import train"),
        ("sqdr.timing", "if True:\n    from .deploy import bridge"),
        ("sqdr.timing", "if TYPE_CHECKING:\n    from sqdr.deploy import bridge"),
        ("sqdr.cli.run", "from sqdr.deploy import bridge"),
        ("sqdr", "if TYPE_CHECKING:\n    pass\nelse:\n    import sqdr.deploy"),
        ("sqdr", "from sqdr.train import fit"),
        ("sqdr.hw_configs.rules", "from sqdr.train import fit"),
        ("sqdr.train.loop", "import sqdr.export.bundle"),
        ("sqdr.train.loop", "from sqdr.deploy import bridge"),
        ("sqdr.deploy.verify.encoders", "from sqdr.export import api"),
        ("sqdr.deploy.bridge", "from ..train import fit"),
        ("sqdr.deploy.bridge", "def f():\n    from sqdr.export import bundle"),
        ("sqdr.deploy.bridge", "import importlib\nimportlib.import_module('sqdr.train.fit')"),
        ("sqdr.deploy.bridge", "from hw_configs import rules"),
    ],
)
def test_wrong_imports_names_an_import_against_the_direction(module: str, source: str) -> None:
    assert len(wrong_imports(source, module, Path("module.py"))) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("sqdr", "if TYPE_CHECKING:\n    from sqdr.deploy import bridge"),
        ("sqdr.cli.run", "def f():\n    from sqdr.deploy import bridge"),
        (
            "sqdr.export.bundle",
            "from sqdr.train import fit\nfrom sqdr.hw_configs import rules\nfrom sqdr.deploy import verify",
        ),
        ("sqdr.deploy.bridge", "from .heads import braket\nfrom sqdr import errors\nimport exporter"),
    ],
)
def test_wrong_imports_lets_an_import_along_the_direction_pass(module: str, source: str) -> None:
    assert wrong_imports(source, module, Path("module.py")) == []


@pytest.mark.parametrize("module", sorted(MODULES))
def test_module_has_an_all_whose_names_exist(module: str) -> None:
    tree = parsed(MODULES[module])
    names = dict(top_level(tree.body))
    imported = ast.Import | ast.ImportFrom
    public = [n for n, node in names.items() if not n.startswith("_") and not isinstance(node, imported)]
    listed = exported(tree)
    if listed is None:
        assert public == [], f"{module} defines public names and has no __all__"
        return
    lazy = {"__getattr__"} & set(names)  # a module may hand out names on first use, as sqdr itself may
    assert sorted(set(listed)) == sorted(listed), "a name is listed twice"
    assert [name for name in listed if name not in names and not lazy] == []


@pytest.mark.parametrize("module", sorted(MODULES))
def test_exported_classes_and_functions_have_docstrings(module: str) -> None:
    tree = parsed(MODULES[module])
    listed = exported(tree) or []
    documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    bare = [
        name
        for name, node in top_level(tree.body)
        if name in listed and isinstance(node, documented) and not ast.get_docstring(node)
    ]
    assert bare == []


@pytest.mark.parametrize("module", ["sqdr", "sqdr.deploy"])
def test_import_stays_light(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, cwd="/"
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_command_line_starts_light() -> None:
    names = [*HEAVY, "numpy", "pydantic", "yaml"]
    code = f"import sys, sqdr.cli; print([name for name in {names!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, cwd="/"
    )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def entry_points() -> list[tuple[str, str]]:
    table = project()["project"]
    groups = {"scripts": table["scripts"], **table["entry-points"]}
    return [(f"{group}: {name}", target) for group, items in groups.items() for name, target in items.items()]


@pytest.mark.parametrize(("name", "target"), entry_points(), ids=lambda value: value)
def test_entry_point_names_what_exists(name: str, target: str) -> None:
    module, _, attribute = target.partition(":")
    assert module in MODULES, f"{name}: there is no module {module}"
    assert attribute in dict(top_level(parsed(MODULES[module]).body)), f"{name}: {module} has no {attribute}"
