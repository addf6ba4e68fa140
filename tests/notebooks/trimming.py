"""Exercises for a student: of their source stays what runs a trial, and nothing else."""

import ast
import symtable

GONE = {"solution", "expected", "mistakes"}  # what is left out of `Exercise(...)`


class _Recorded(ast.NodeTransformer):
    """Every `Exercise(...)` becomes a `RecordedExercise(...)` without what GONE names."""

    def __init__(self):
        self.solutions = set()

    def visit_Call(self, node):
        self.generic_visit(node)
        if getattr(node.func, "id", "") == "RecordedExercise":
            self.solutions |= {getattr(k.value, "id", "") for k in node.keywords if k.arg == "solution"}
            node.keywords = [keyword for keyword in node.keywords if keyword.arg not in GONE]
        return node

    def visit_Name(self, node):
        return ast.Name("RecordedExercise", node.ctx) if node.id == "Exercise" else node

    def visit_alias(self, node):
        return ast.alias("RecordedExercise") if node.name == "Exercise" else node


def trimmed(sources):
    """The modules of a package of exercises, {name: source}, down to what its list ALL reaches.

    The package itself has the name "". Comments go too. ValueError where a trial uses a solution.

    >>> print(trimmed({"": '''
    ... from ..lesson import Exercise, Mistake
    ... def right(x): return 2 * x
    ... def trial(fn): return fn(3)
    ... double = Exercise(key="0/double", title="Double", solution=right, trial=trial, expected=lambda: 6)
    ... ALL = (double,)
    ... '''})[""])
    from ..lesson import RecordedExercise
    <BLANKLINE>
    def trial(fn):
        return fn(3)
    double = RecordedExercise(key='0/double', title='Double', trial=trial)
    ALL = (double,)
    """
    recorded = {module: _Recorded() for module in sources}
    trees = {module: recorded[module].visit(ast.parse(source)) for module, source in sources.items()}
    defined = {}  # (module, name) -> the statements that define it; a later definition takes the place of an earlier
    for module, tree in trees.items():
        for node in tree.body:
            for name in _names(node):
                before = defined.get((module, name), []) if isinstance(node, ast.AugAssign) else []
                defined[module, name] = [*before, node]
    kept, todo = set(), [("", "ALL")]
    while todo:
        place = todo.pop()
        if place in defined and place not in kept:
            kept.add(place)
            todo += [used for node in defined[place] for used in _reached(*place, node)]
    stay = [(module, node) for module, name in kept for node in defined[module, name]]
    told = [node.name for module, node in stay if getattr(node, "name", "") in recorded[module].solutions]
    if told:
        raise ValueError(f"a trial must not use a solution, got {', '.join(told)}")
    result = {}
    for module, tree in trees.items():
        needed = {name for where, name in kept if where == module}
        for node in tree.body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                node.names = [alias for alias in node.names if _bound(alias) in needed]
        tree.body = [node for node in tree.body if _docstring(node) or (module, node) in stay]
        if needed:
            result[module] = ast.unparse(tree)
    return result


def _names(node) -> list[str]:
    """What a statement of a module defines."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [_bound(alias) for alias in node.names]
    if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        return [part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)]
    if _docstring(node):
        return []
    raise ValueError(f"a module of exercises must hold imports, definitions and assignments, got {ast.unparse(node)}")


def _reached(module, name, node):
    """(module, name) of everything that a statement uses."""
    if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module:
        return [(node.module, alias.name) for alias in node.names if name == _bound(alias)]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return []
    table = symtable.symtable(ast.unparse(node), module, "exec")
    used = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_referenced()}
    inner = table.get_children()
    while inner:
        scope = inner.pop()
        used |= {symbol.get_name() for symbol in scope.get_symbols() if symbol.is_global()}
        inner += scope.get_children()
    return [(module, other) for other in used]


def _docstring(node) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _bound(alias) -> str:
    """The name that an import defines."""
    return alias.asname or alias.name.split(".")[0]
