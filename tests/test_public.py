"""The public names: all there, all typed, and all in the page of types."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import alimail_core

HERE = Path(__file__).parent


def imported(page: Path, package: str) -> set[str]:
    """Return the names that a file imports from a package."""
    tree = ast.parse(page.read_text("utf-8"))
    return {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == package
        for alias in node.names
    }


@pytest.mark.parametrize(
    "package",
    [
        "alimail_core",
        "alimail_core.commands",
        "alimail_core.pages",
        "alimail_core.powershell",
        "alimail_core.testing",
    ],
)
def test_every_public_name_is_there(package: str) -> None:
    """Each name of ``__all__`` can be had from its package, and none stands there twice."""
    module = importlib.import_module(package)
    names = module.__all__
    assert len(names) == len(set(names))
    for name in names:
        assert getattr(module, name) is not None


def test_what_type_checkers_see_is_what_is_public() -> None:
    """The names imported for type checkers alone are those of ``__all__``."""
    tree = ast.parse(Path(alimail_core.__file__).read_text("utf-8"))
    seen = {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
    } - {"annotations", "TYPE_CHECKING"}
    assert seen == set(alimail_core.__all__)


def test_the_page_of_types_uses_every_public_name() -> None:
    """``typing_api.py`` leaves none out, so that mypy holds all of them."""
    assert imported(HERE / "typing_api.py", "alimail_core") == set(alimail_core.__all__)


@pytest.mark.slow
def test_everything_can_be_had_by_an_asterisk() -> None:
    """``from alimail_core import *`` gives what is public, in a process that has imported nothing else."""
    code = "from alimail_core import *; import alimail_core; assert set(alimail_core.__all__) <= set(dir())"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr


def test_what_a_hook_may_implement_is_in_the_page_of_types() -> None:
    """Each hook has an implementation in ``typing_api.py``."""
    from alimail_core import hookspec

    hooks = {name for name in dir(hookspec) if name.startswith("alimail_")}
    tree = ast.parse((HERE / "typing_api.py").read_text("utf-8"))
    assert hooks == {node.name for node in tree.body if isinstance(node, ast.FunctionDef)} & hooks
