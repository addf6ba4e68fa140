"""Lesson 90: how much of the multiplying really ran in int8."""

from ...lesson import Exercise, Mistake


def int8_share(operators, kinds):
    multiply = [kind for name, kind in zip(operators, kinds) if "Conv" in name or "MatMul" in name or "Gemm" in name]
    return multiply.count("int8") / len(multiply) if multiply else 0.0


_FLOAT = [
    ("Conv", "float"), ("Conv", "float"), ("MaxPool", "float"), ("Reshape", "float"), ("FusedGemm", "float"),
    ("Gemm", "float"),
]  # fmt: skip
_STATIC = [
    ("QuantizeLinear", "conversion"), ("QLinearConv", "int8"), ("QLinearConv", "int8"), ("NhwcMaxPool", "int8"),
    ("Reshape", "int8"), ("QGemm", "int8"), ("QGemm", "int8"), ("DequantizeLinear", "conversion"),
]  # fmt: skip
_DYNAMIC = [
    ("FusedConv", "float"), ("MaxPool", "float"), ("DynamicQuantizeLinear", "conversion"), ("MatMulInteger", "int8"),
    ("Cast", "other"), ("Mul", "float"), ("DynamicQuantizeMatMul", "int8"), ("Add", "float"),
]  # fmt: skip
_HALF = [
    ("QuantizeLinear", "conversion"), ("DequantizeLinear", "conversion"), ("FusedConv", "float"), ("Conv", "float"),
    ("Conv", "float"), ("Transpose", "int8"), ("Reshape", "int8"), ("QLinearMatMul", "int8"),
    ("DequantizeLinear", "conversion"),
]  # fmt: skip
_NONE = [("QuantizeLinear", "conversion"), ("Reshape", "int8"), ("Relu", "float")]
_INTEGER = [("ConvInteger", "int8"), ("Cast", "other"), ("MatMul", "float"), ("Softmax", "float")]
_MIXED = [
    ("Conv", "int8"), ("NhwcFusedConv", "int8"), ("QGemm", "float"), ("MatMul", "other"), ("Relu", "float"),
]  # fmt: skip
_RUNS = (_FLOAT, _STATIC, _DYNAMIC, _HALF, _INTEGER, _NONE, _MIXED)


def _trial(fn):
    return [fn([name for name, _ in run], [kind for _, kind in run]) for run in _RUNS]


def _counted():
    """(int8, all) of the kernels that multiply, counted by hand in each list above."""
    counts = ((0, 4), (4, 4), (2, 3), (1, 4), (1, 2), (0, 0), (2, 4))
    return [int8 / products if products else 0.0 for int8, products in counts]


def _share(counts, within):
    """Share of `counts(name, kind)` among the kernels that are `within(name, kind)`."""

    def fn(operators, kinds):
        part = [(name, kind) for name, kind in zip(operators, kinds) if within(name, kind)]
        return sum(bool(counts(*each)) for each in part) / len(part) if part else 0.0

    return fn


def _multiplies(name, kind=""):
    return any(word in name for word in ("Conv", "MatMul", "Gemm"))


def _is_int8(name, kind):
    return kind == "int8"


def _int8_of_products(operators, kinds):
    products = sum(map(_multiplies, operators))
    return kinds.count("int8") / products if products else 0.0


_ALL = "This is the share of all kernels. A Reshape of codes multiplies nothing: look at Conv, MatMul and Gemm only."
_NAMES = (
    "Kernels have compound names: QLinearConv, FusedGemm and MatMulInteger multiply too, so ask whether the word is "
)
_NAMES += "in the name."

int8_share = Exercise(
    key="90/int8-share",
    title="Really int8?",
    solution=int8_share,
    trial=_trial,
    expected=_counted,
    mistakes=(
        Mistake(_ALL, _share(_is_int8, lambda name, kind: True)),
        Mistake(
            "Without the conversions it is still the share of all kernels, and most of them multiply nothing: look at "
            "Conv, MatMul and Gemm only.",
            _share(_is_int8, lambda name, kind: kind != "conversion"),
        ),
        Mistake(
            "The numerator counts every int8 kernel, also Reshape and pooling: count those that multiply.",
            _int8_of_products,
        ),
        Mistake(_NAMES, _share(_is_int8, lambda name, kind: name in ("Conv", "MatMul", "Gemm"))),
        Mistake(_NAMES, _share(_is_int8, lambda name, kind: name.startswith(("Conv", "MatMul", "Gemm")))),
        Mistake(_NAMES, _share(_is_int8, lambda name, kind: name.endswith(("Conv", "MatMul", "Gemm")))),
        Mistake(
            "The name does not tell the numbers that a kernel read: kinds does.",
            _share(lambda name, kind: name.startswith("Q"), _multiplies),
        ),
        Mistake("This is the share that ran in float: turn it over.", _share(lambda n, k: k != "int8", _multiplies)),
        Mistake(
            "QuantizeLinear and its like only convert, they multiply nothing: leave them out.",
            _share(
                lambda name, kind: kind in ("int8", "conversion"),
                lambda name, kind: _multiplies(name) or kind == "conversion",
            ),
        ),
        Mistake(
            "Matrix products count too: MatMul and Gemm multiply like Conv.",
            _share(_is_int8, lambda name, kind: "Conv" in name),
        ),
        Mistake(
            "Convolutions count too: Conv multiplies like MatMul and Gemm.",
            _share(_is_int8, lambda name, kind: "MatMul" in name or "Gemm" in name),
        ),
    ),
    hints=(
        "First keep the kinds of the kernels that multiply; zip(operators, kinds) goes through both lists together.",
        '"Conv" in name or "MatMul" in name or "Gemm" in name tells that a kernel multiplies.',
        'multiply.count("int8") / len(multiply), and 0.0 where the list is empty.',
    ),
    rtol=1e-9,
    atol=1e-9,  # ratios of small whole numbers
)
