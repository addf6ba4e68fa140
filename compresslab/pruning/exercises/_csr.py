"""Lesson 30: what a sparse matrix weighs."""

import numpy as np
from scipy import sparse

from ...lesson import Exercise, Mistake


def csr_bytes(rows, columns, nonzeros, index_bits, value_bits=32):
    bits = nonzeros * value_bits + nonzeros * index_bits + (rows + 1) * index_bits
    return bits / 8


# rows, columns, nonzeros, index bits, value bits
_MATRICES = ((300, 784, 23520, 32, 32), (100, 300, 3000, 64, 32), (50, 20, 100, 16, 64), (64, 128, 900, 32, 16))


def _by_scipy(rows, columns, nonzeros, index_bits, value_bits):
    places = np.random.default_rng(0).choice(rows * columns, nonzeros, replace=False)
    coordinates = np.unravel_index(places, (rows, columns))
    matrix = sparse.csr_array((np.ones(nonzeros), coordinates), shape=(rows, columns))
    values = matrix.data.astype(f"float{value_bits}")
    indices, pointers = (array.astype(f"int{index_bits}") for array in (matrix.indices, matrix.indptr))
    return values.nbytes + indices.nbytes + pointers.nbytes


def _with(formula):
    return lambda rows, columns, nonzeros, index_bits, value_bits: formula(
        rows, columns, nonzeros, index_bits, value_bits
    )


csr = Exercise(
    key="30/csr-bytes",
    title="Bytes of a sparse matrix",
    solution=csr_bytes,
    trial=lambda fn: [float(fn(*matrix)) for matrix in _MATRICES],
    expected=lambda: [float(_by_scipy(*matrix)) for matrix in _MATRICES],
    mistakes=(
        Mistake(
            "These are the values alone, the dense bytes times the density. A value without its place is lost: add the "
            "column indices and the row pointers.",
            _with(lambda r, c, n, i, v: n * v / 8),
        ),
        Mistake(
            "These are bits; a byte has 8 of them.",
            _with(lambda r, c, n, i, v: n * (v + i) + (r + 1) * i),
        ),
        Mistake(
            "The column indices are missing: each value needs one.",
            _with(lambda r, c, n, i, v: (n * v + (r + 1) * i) / 8),
        ),
        Mistake(
            "The row pointers are missing: rows + 1 of them say where each row begins and ends.",
            _with(lambda r, c, n, i, v: n * (v + i) / 8),
        ),
        Mistake(
            "One row pointer is missing: there are rows + 1, because the last row needs an end too.",
            _with(lambda r, c, n, i, v: (n * (v + i) + r * i) / 8),
        ),
        Mistake(
            "The pointers are of the rows: rows + 1 of them, not columns + 1.",
            _with(lambda r, c, n, i, v: (n * (v + i) + (c + 1) * i) / 8),
        ),
        Mistake(
            "A row and a column for each value is the COO format; CSR has rows + 1 pointers in place of the rows.",
            _with(lambda r, c, n, i, v: n * (v + 2 * i) / 8),
        ),
        Mistake(
            "The row pointers are positions too: they take index_bits each, not value_bits.",
            _with(lambda r, c, n, i, v: (n * (v + i) + (r + 1) * v) / 8),
        ),
        Mistake(
            "This is the dense matrix: CSR stores the nonzeros only.",
            _with(lambda r, c, n, i, v: r * c * v / 8),
        ),
        Mistake(
            "Everything takes value_bits here; the column indices and row pointers take index_bits.",
            lambda rows, columns, nonzeros, index_bits, value_bits: (2 * nonzeros + rows + 1) * value_bits / 8,
        ),
    ),
    hints=(
        "CSR is three lists: the values, the column of each value, and where in the first two each row begins.",
        "Two lists are `nonzeros` long. The third, the row pointers, has rows + 1 entries: the last is the end.",
        "Values take value_bits each; columns and row pointers index_bits each. Add the bits up and divide by 8.",
    ),
    rtol=0,
    atol=1e-3,  # whole bytes
)
