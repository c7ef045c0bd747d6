"""From ``MODULE:FLOW`` or ``path/file.py:flow`` to a workflow, telling apart what can go wrong on the way."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from attune_dsl.cli.errors import UsageError, UserCodeError, did_you_mean, either
from attune_dsl.dsl.stage import Stage
from attune_dsl.dsl.workflow import Workflow


class Target(NamedTuple):
    """What was asked for: a module by name, or a file; and the attribute in it, if one was named."""

    text: str
    module: str
    file: Path | None
    attribute: str | None


def parse(text: str) -> Target:
    """Read ``MODULE``, ``MODULE:FLOW``, ``path/file.py`` or ``path/file.py:flow``.

    Raises :class:`UsageError` when it is none of them.
    """
    place, colon, attribute = text.rpartition(":")
    if not colon or "/" in attribute or "\\" in attribute:  # no colon, or only that of a Windows drive
        place, attribute = text, ""
    if place.endswith(".py"):
        file = Path(place)
        return Target(text, file.stem, file, attribute or None)
    if "/" in place or "\\" in place:
        hint = f"; did you mean {place}.py?" if Path(f"{place}.py").is_file() else "; a path ends in .py"
        raise UsageError(f"{place!r} is neither a module nor a Python file{hint}")
    if not all(part.isidentifier() for part in place.split(".")):
        raise UsageError(f"{text!r} names no workflow; write MODULE:FLOW or path/file.py:flow")
    return Target(text, place, None, attribute or None)


def resolve(text: str) -> Workflow[..., Any]:
    """Import what ``text`` names and return its workflow.

    Raises :class:`UsageError` when the module, the attribute or the workflow does not exist, and
    :class:`UserCodeError` (from the user's exception) when the module itself fails while it is imported.
    """
    target = parse(text)
    module = _import(target)
    if target.attribute is None:
        return _only_workflow(module)
    return _as_workflow(_attribute(module, target.attribute), module, target.attribute)


def _import(target: Target) -> ModuleType:
    folder = _folder_of(target.file) if target.file else Path.cwd()
    if target.file or not {"", str(folder)} & set(sys.path):
        sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(target.module)
    except ModuleNotFoundError as error:
        if _is_missing(error, target.module):
            raise UsageError(_not_found(target.module)) from None
        raise _failed(target, error) from error
    except (Exception, SystemExit) as error:
        raise _failed(target, error) from error
    if target.file:
        _check_origin(module, target.file)
    return module


def _folder_of(file: Path) -> Path:
    if not file.is_file():
        known = (str(path) for path in file.parent.glob("*.py")) if file.parent.is_dir() else ()
        raise UsageError(f"there is no file {str(file)!r}{did_you_mean(str(file), known)}")
    if "." in file.stem:
        raise UsageError(f"{str(file)!r} cannot be imported: its name has a dot in it; rename the file")
    return file.resolve().parent


def _check_origin(module: ModuleType, file: Path) -> None:
    origin = getattr(module, "__file__", None)
    if origin is None or not Path(origin).samefile(file):
        raise UsageError(
            f"{str(file)!r} cannot be imported: Python already has another module named {module.__name__!r}"
            f" ({origin or 'built in'}); rename the file"
        )


def _is_missing(error: ModuleNotFoundError, module: str) -> bool:
    """Whether ``module`` itself was not found, rather than something that it imports."""
    is_on_the_way = error.name is not None and f"{module}.".startswith(f"{error.name}.")
    return is_on_the_way and not any(_is_foreign(name) for name in _files_of(error))


def _files_of(error: BaseException) -> Iterator[str]:
    step = error.__traceback__
    while step is not None:
        yield step.tb_frame.f_code.co_filename
        step = step.tb_next


def _is_foreign(file: str) -> bool:
    return file not in (__file__, importlib.__file__) and not file.startswith("<frozen importlib")


def _failed(target: Target, error: BaseException) -> UserCodeError:
    what = f"import of {target.text.rpartition(':')[0] or target.text} failed"
    if isinstance(error, SystemExit):
        return UserCodeError(f'{what}: it called exit(); keep that under `if __name__ == "__main__":`')
    return UserCodeError(f"{what}: {type(error).__name__}: {error}{_package_hint(target, error)}")


def _package_hint(target: Target, error: BaseException) -> str:
    """For a file that uses relative imports: how to run it as a part of its package."""
    if target.file is None or "relative import" not in str(error):
        return ""
    name, folder = target.module, target.file.resolve().parent
    while (folder / "__init__.py").is_file():
        name, folder = f"{folder.name}.{name}", folder.parent
    flow = f":{target.attribute}" if target.attribute else ""
    return f"; it belongs to a package: run {name}{flow} in {folder}" if "." in name else ""


def _not_found(name: str) -> str:
    parent, _, last = name.rpartition(".")
    package = sys.modules.get(parent) if parent else None
    if package is None:
        first = name.partition(".")[0]
        hint = did_you_mean(first, _modules_near_by())
        return f"there is no module {first!r} here or among the installed packages{hint}"
    if isinstance(getattr(package, last, None), Workflow):
        return f"there is no module {name!r}; did you mean {parent}:{last}?"
    inside = [module.name for module in pkgutil.iter_modules(getattr(package, "__path__", []))]
    return f"there is no module {name!r}{did_you_mean(last, inside, show=parent + '.{}')}"


def _modules_near_by() -> Iterator[str]:
    for module in pkgutil.iter_modules([str(Path.cwd())]):
        yield module.name
    for module in pkgutil.iter_modules():
        yield module.name


def _attribute(module: ModuleType, dotted: str) -> Any:
    value: Any = module
    place = module.__name__
    for part in dotted.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise UsageError(_no_attribute(module, value, place, part)) from None
        except Exception as error:
            raise UserCodeError(f"reading {place}.{part} failed: {type(error).__name__}: {error}") from error
        place = f"{place}.{part}"
    return value


def _no_attribute(module: ModuleType, holder: Any, place: str, name: str) -> str:
    flows = _workflows(module) if holder is module else {}
    by_name = {flow.name: attribute for attribute, flow in flows.items()}
    if name in by_name:
        hint = f"; the workflow with this name is {module.__name__}:{by_name[name]}"
    else:
        hint = did_you_mean(name, flows) or did_you_mean(name, (n for n in dir(holder) if n[0] != "_"))
    return f"{place!r} has no attribute {name!r}{hint or _the_workflows(flows)}"


def _as_workflow(value: Any, module: ModuleType, attribute: str) -> Workflow[..., Any]:
    if isinstance(value, Workflow):
        return value
    flows = _workflows(module)
    nearest = did_you_mean(attribute, flows) or _the_workflows(flows)
    raise UsageError(f"{module.__name__}:{attribute} is not a workflow but {_kind(value)}{nearest}")


def _kind(value: Any) -> str:
    if isinstance(value, Stage):
        return "a stage, which runs inside a workflow"
    if isinstance(value, type):
        return "a class"
    if isinstance(value, ModuleType):
        return "a module"
    if callable(value):
        return "a function without @workflow"
    return f"of type {type(value).__name__}"


def _workflows(module: ModuleType) -> dict[str, Workflow[..., Any]]:
    """Return the module's workflows by attribute; those that it only imports count if it has no own."""
    found = {name: value for name, value in vars(module).items() if isinstance(value, Workflow)}
    own = {name: flow for name, flow in found.items() if getattr(flow.fn, "__module__", None) == module.__name__}
    return own or found


def _the_workflows(flows: dict[str, Workflow[..., Any]]) -> str:
    return f"; its workflows: {', '.join(flows)}" if flows else "; it has no workflows"


def _only_workflow(module: ModuleType) -> Workflow[..., Any]:
    flows = _workflows(module)
    distinct = {id(flow): flow for flow in flows.values()}
    if len(distinct) == 1:
        return next(iter(distinct.values()))
    if not flows:
        raise UsageError(f"module {module.__name__!r} has no workflow; mark a function with @workflow")
    choices = either([f"{module.__name__}:{name}" for name in flows])
    raise UsageError(f"module {module.__name__!r} has {len(flows)} workflows; say which: {choices}")
