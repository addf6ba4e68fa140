"""What a stranger's ONNX file may hold: looked at before any of it is run."""

import math
from collections.abc import Iterator

from ..packages import package

FILE_BYTES = 5_000_000
NODES, MESSAGES = 1000, 50_000  # in one file; MESSAGES counts every node, attribute, dimension ...
NUMBERS = 1_000_000  # in one tensor, for one image
# What the networks of the course are made of, float and int8: no loops, no branches, no random numbers, nothing whose
# result has a size that depends on the values of its input.
OPERATORS = frozenset(
    """
    Add Mul Sub Div Pow Sqrt Exp Log Neg Abs Erf Reciprocal Min Max Clip Sum Mean
    Relu LeakyRelu PRelu Elu Celu Selu Gelu Sigmoid HardSigmoid HardSwish Mish Swish Tanh Softmax LogSoftmax Softplus
    Conv ConvTranspose Gemm MatMul MaxPool AveragePool GlobalAveragePool GlobalMaxPool
    BatchNormalization LayerNormalization RMSNormalization GroupNormalization InstanceNormalization
    ReduceMean ReduceSum ReduceMax Attention LSTM GRU RNN
    Identity Constant Cast Shape Reshape Flatten Transpose Squeeze Unsqueeze Concat Split Slice Gather Pad Expand
    Dropout
    QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul ConvInteger MatMulInteger
    """.split()
)


class Refused(ValueError):
    """The file breaks a rule of submissions; it was not run."""


def check_size(data: bytes) -> None:
    if len(data) > FILE_BYTES:
        raise Refused(f"file must have at most {FILE_BYTES:,} bytes, got {len(data):,}")


def parsed(data: bytes):
    """The ONNX file as a ModelProto, nothing of it checked but its size; ValueError, in one sentence, if it is none."""
    check_size(data)
    onnx = package("onnx")
    try:
        proto = onnx.load_from_string(data)
        nodes = len(proto.graph.node)
    except Exception as error:  # protobuf's own; which one depends on its version
        raise ValueError("file is not an ONNX file, or was cut short") from error
    if not nodes:
        raise ValueError("file is not an ONNX file, or holds no network")
    return proto


def check(data: bytes):
    """The ONNX file as a ModelProto, if it keeps the rules; Refused, in one sentence, if not; nothing of it is run.

    The rules: at most FILE_BYTES, NODES and MESSAGES; operators of ONNX itself from OPERATORS; no functions, no graphs
    inside nodes, no sparse tensors, nothing in other files; no tensor, declared or found by ONNX's shape inference,
    above NUMBERS for one image; one float32 input (n, ...) and one float32 output (n, classes), n free.
    """
    proto = parsed(data)
    graph = proto.graph
    if len(graph.node) > NODES:
        raise Refused(f"file must have at most {NODES:,} nodes, got {len(graph.node):,}")
    try:
        _check_parts(proto)
        _check_operators(graph)
        _check_ends(graph)
        _check_shapes(proto)
    except ValueError:
        raise
    except Exception as error:
        raise ValueError(f"file is damaged: {type(error).__name__}") from error
    return proto


def _check_parts(proto) -> None:
    """Every message in the file, however deep (protobuf reads no more than 100 levels)."""
    size = proto.ByteSize()
    proto.DiscardUnknownFields()
    if proto.ByteSize() != size:
        raise Refused("file must hold what ONNX knows and nothing else")
    graphs = 0
    for count, part in enumerate(_parts(proto)):
        kind = type(part).__name__
        graphs += kind == "GraphProto"
        if count > MESSAGES:
            raise Refused(f"file must have at most {MESSAGES:,} parts")
        if kind in ("FunctionProto", "TrainingInfoProto", "SparseTensorProto") or graphs > 1:
            raise Refused("file must hold one plain graph, without functions, sparse tensors or graphs inside nodes")
        if kind == "TensorProto":
            if part.data_location or part.external_data:
                raise Refused("file must hold its weights itself, got a tensor that lies in another file")
            _check_numbers("a tensor", part.dims)


def _parts(message) -> Iterator:
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                yield from _parts(part)


def _check_operators(graph) -> None:
    for node in graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
            name = f"{node.domain}.{node.op_type}".lstrip(".")
            advice = ": let ONNX Runtime quantize with QuantFormat.QDQ" if node.domain == "com.microsoft" else ""
            raise Refused(f"file must be made of the operators of the course, got {name!r:.60}{advice}")


def _check_ends(graph) -> None:
    weights = {value.name for value in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    for what, values in (("input", inputs), ("output", graph.output)):
        if len(values) != 1:
            raise Refused(f"file must have one {what}, got {len(values)}")
        tensor = values[0].type.tensor_type
        if tensor.elem_type != package("onnx").TensorProto.FLOAT:
            raise Refused(f"the {what} must be float32")
        if not tensor.HasField("shape") or not tensor.shape.dim:
            raise Refused(f"the {what} must have a shape (n, ...)")
        if tensor.shape.dim[0].HasField("dim_value"):
            n = tensor.shape.dim[0].dim_value
            raise Refused(f"the {what} must take any number of images, got a first dimension fixed at {n}")


def _check_shapes(proto) -> None:
    """Sizes for one image, as far as they follow from the file; the rest is left to the limit of memory."""
    graph = package("onnx.shape_inference").infer_shapes(proto, data_prop=True).graph
    for value in [*graph.input, *graph.output, *graph.value_info]:
        _check_numbers(repr(value.name)[:60], (d.dim_value or 1 for d in value.type.tensor_type.shape.dim))


def _check_numbers(what: str, dims) -> None:
    dims = list(dims)
    if len(dims) > 8 or min(dims, default=0) < 0 or math.prod(dims) > NUMBERS:
        raise Refused(f"a tensor must have at most {NUMBERS:,} numbers for one image, got {what} of {dims}"[:200])
