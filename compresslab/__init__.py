"""The small library under the notebooks. Its parts are imported when they are first used:

>>> import compresslab
>>> compresslab.models.__name__
'compresslab.models'
"""

from importlib import import_module

__version__ = "0.1.0"
__all__ = [
    "compression", "data", "hf", "intervals", "layers", "lesson", "measure", "models", "optimizers", "parametrizations",
    "pruning", "quantization", "runtimes", "search", "storage", "tour", "training",
]  # fmt: skip


def __getattr__(name):
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; its parts are {', '.join(__all__)}")


def __dir__():
    return sorted([*globals(), *__all__])
