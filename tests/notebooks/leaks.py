"""Where a body of code turns up again: in Python under other names, in notebooks with their outputs, in texts."""

import ast
import html
import inspect
import json
import re
import textwrap

BLOCK = re.compile(r"```\w*\n(.*?)```|<pre><code>(.*?)</code></pre>", re.DOTALL)


class Secret:
    """The body of a function, to be looked for."""

    def __init__(self, name, function):
        source = textwrap.dedent(inspect.getsource(function))
        self.name, self.body = name, bare(ast.parse(source).body[0].body)
        self.kinds, self.shape = kinds(self.body), shape(self.body)
        self.text = squashed("\n".join(source.splitlines()[self.body[0].lineno - 1 :]))


def bare(statements):
    """Without docstrings and imports."""

    def says_nothing(node):
        return isinstance(node, (ast.Import, ast.ImportFrom)) or (
            isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        )

    return [node for node in statements if not says_nothing(node)]


def kinds(statements):
    return tuple(type(node).__name__ for node in statements)


def shape(statements):
    """A text that is the same for the same statements with other names.

    >>> shape(ast.parse("y = 2 * x\\nreturn y").body) == shape(ast.parse("b = 2 * a  # twice\\nreturn b").body)
    True
    """
    names = {}
    module = ast.parse(ast.unparse(ast.Module(statements, [])))  # a copy
    for node in ast.walk(module):
        for field in ("id", "arg", "name"):
            if isinstance(getattr(node, field, None), str) and not isinstance(node, ast.keyword):
                setattr(node, field, names.setdefault(getattr(node, field), f"v{len(names)}"))
        if isinstance(node, ast.FunctionDef):
            node.body = bare(node.body)
    return ast.dump(module)


def squashed(text):
    return re.sub(r"\s+", "", text)


def runs(tree, lengths):
    """All statements that follow each other, as many as in `lengths`; and each value as `return value`."""
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            if isinstance(getattr(node, field, None), list):
                statements = bare(getattr(node, field))
                yield from (statements[i : i + n] for n in lengths for i in range(len(statements) - n + 1))
        if isinstance(node, ast.Lambda):
            yield [ast.Return(node.body)]
        elif isinstance(node, (ast.Assign, ast.Expr)):
            yield [ast.Return(node.value)]


def parts(path):
    """(programs, texts) of a file: what may be read as Python, and every string in it."""
    text = path.read_bytes().decode("utf-8", errors="replace")
    if path.suffix == ".py":
        constants = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
        return [text], [value for value in constants if isinstance(value, str)]
    texts = list(strings(json.loads(text))) if path.suffix in (".json", ".ipynb") else [text]
    blocks = [html.unescape(a or b) for string in texts for a, b in BLOCK.findall(string)]
    return blocks + texts * (path.suffix == ".ipynb"), texts


def strings(data):
    """All strings in JSON; a list of lines, as notebooks have it, is one."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, list) and data and all(isinstance(line, str) for line in data):
        yield "".join(data)
    elif isinstance(data, (list, dict)):
        for item in data.values() if isinstance(data, dict) else data:
            yield from strings(item)


def leaks(paths, secrets, open_texts=()):
    """{(path, name of a secret)} of all that is found. open_texts: what may be read by everybody, such as hints."""
    lengths = {len(secret.kinds) for secret in secrets}
    by_kinds = {}
    for secret in secrets:
        by_kinds.setdefault(secret.kinds, []).append(secret)
    allowed = sorted(map(squashed, open_texts), key=len, reverse=True)
    found = set()
    for path in paths:
        programs, texts = parts(path)
        for program in programs:
            try:
                tree = ast.parse(program)
            except (SyntaxError, ValueError):
                continue
            for run in runs(tree, lengths):
                if kinds(run) in by_kinds:
                    this = shape(run)
                    found |= {(path, secret.name) for secret in by_kinds[kinds(run)] if secret.shape == this}
        for text in texts:
            text = squashed(html.unescape(text))
            hit = [secret for secret in secrets if secret.text in text]
            if hit:
                for hint in allowed:
                    text = text.replace(hint, "")
            found |= {(path, secret.name) for secret in hit if secret.text in text}
    return found
