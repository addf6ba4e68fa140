"""The small library under the notebooks. Its parts are imported when they are first used:

>>> import compresslab
>>> compresslab.models.__name__
'compresslab.models'

`compresslab.report(model, example_inputs)` compresses a model of your own, `report_panel` does so with buttons:

>>> compresslab.report.__module__
'compresslab.own_model.report'
"""

from importlib import import_module

__version__ = "0.1.0"
__all__ = [
    "capstone", "compression", "data", "hf", "intervals", "layers", "lesson", "measure", "models", "optimizers",
    "parametrizations", "pruning", "quantization", "report", "report_panel", "runtimes", "search", "storage", "tour",
    "training",
]  # fmt: skip
_FUNCTIONS = {"report": ".own_model.report", "report_panel": ".own_model.panel"}  # the others are modules


def __getattr__(name):
    if name in _FUNCTIONS:
        return getattr(import_module(_FUNCTIONS[name], __name__), name)
    if name in __all__:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; its parts are {', '.join(__all__)}")


def __dir__():
    return sorted([*globals(), *__all__])
