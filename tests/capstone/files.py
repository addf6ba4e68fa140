"""Small ONNX files made by hand for the tests: honest ones whose answers torch can compute, and hostile ones."""

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from compresslab import data
from compresslab.runtimes.onnx_int8 import static_int8

DIGITS = data.load("digits")


def weights(hidden: int, seed: int = 0) -> list[Tensor]:
    """64 -> hidden, fixed at random; hidden -> 10, by least squares on the training images: no training needed."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(64, hidden, generator=generator) / 4
    features = (DIGITS.train.x.flatten(1) @ first).relu()
    wanted = torch.nn.functional.one_hot(DIGITS.train.y, 10).float()
    gram = features.T @ features + 0.1 * torch.eye(hidden)
    return [first, torch.linalg.solve(gram, features.T @ wanted)]


def by_torch(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return (x.flatten(1) @ first).relu() @ second


def network(hidden: int = 200, seed: int = 0) -> bytes:
    return plain(*weights(hidden, seed))


def plain(first: Tensor, second: Tensor) -> bytes:
    nodes = [("Flatten", ["x"], ["rows"]), ("MatMul", ["rows", "a"], ["sums"]), ("Relu", ["sums"], ["hidden"])]
    return model([*nodes, ("MatMul", ["hidden", "b"], ["y"])], a=first, b=second)


def int8(file: bytes) -> bytes:
    return static_int8(file, DIGITS.train.x[:200])


def model(nodes, x=("batch", 1, 8, 8), y=("batch", 10), x_type=TensorProto.FLOAT, domain="", **constants) -> bytes:
    """ONNX file of `nodes`, each (operator, inputs, outputs) or (..., attributes), from "x" to "y"."""
    made = [
        helper.make_node(operator, inputs, outputs, domain=domain, **(attributes[0] if attributes else {}))
        for operator, inputs, outputs, *attributes in nodes
    ]
    arrays = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(made, "g", [value("x", x_type, x)], [value("y", TensorProto.FLOAT, y)], arrays)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def changed(file: bytes, change) -> bytes:
    """The file after `change(proto)`."""
    proto = onnx.load_from_string(file)
    change(proto)
    return proto.SerializeToString()


# ------------------------------------------------------------------------------------------ hostile


def external(place: str = "/etc/passwd") -> bytes:
    def change(proto):
        tensor = proto.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=place)

    return changed(network(), change)


def memory_bomb() -> bytes:
    """40 GB, with a shape that only a run reveals: exp(24) rows."""
    return model(
        [
            ("ReduceMean", ["x"], ["mean"], {"keepdims": 0}),
            ("Mul", ["mean", "zero"], ["nothing"]),
            ("Add", ["nothing", "many"], ["power"]),
            ("Exp", ["power"], ["size"]),
            ("Cast", ["size"], ["whole"], {"to": TensorProto.INT64}),
            ("Unsqueeze", ["whole", "front"], ["row"]),
            ("Concat", ["row", "ten"], ["shape"], {"axis": 0}),
            ("Expand", ["one", "shape"], ["y"]),
        ],
        zero=np.float32(0), many=np.float32(20.7), one=np.float32(1),
        front=np.array([0]), ten=np.array([10]),
    )  # fmt: skip


def slow(depth: int = 900) -> bytes:
    """A deep chain of convolutions of 300 channels: 47 billion products for one image."""
    nodes = [("Expand", ["x", "shape"], ["h0"])]
    nodes += [("Conv", [f"h{i}", "w"], [f"h{i + 1}"], {"pads": [1, 1, 1, 1]}) for i in range(depth)]
    nodes += [("GlobalAveragePool", [f"h{depth}"], ["m"]), ("Flatten", ["m"], ["r"]), ("MatMul", ["r", "v"], ["y"])]
    w = np.full((300, 300, 3, 3), 1e-4, np.float32)
    return model(nodes, shape=np.array([1, 300, 8, 8]), w=w, v=np.ones((300, 10), np.float32))


def not_a_number() -> bytes:
    return model([("Flatten", ["x"], ["r"]), ("MatMul", ["r", "w"], ["s"]), ("Log", ["s"], ["y"])],
                 w=-np.ones((64, 10), np.float32))  # fmt: skip


def knows_the_order(y: Tensor) -> bytes:
    """Takes answer number i from a table, whatever image number i shows: right only in the order of the test set."""
    table = torch.nn.functional.one_hot(y, 10).float().numpy()
    nodes = [
        ("Shape", ["x"], ["shape"]),
        ("Slice", ["shape", "zero", "one"], ["n"]),
        ("Slice", ["table", "zero", "n"], ["y"]),
    ]
    return model(nodes, table=table, zero=np.array([0]), one=np.array([1]))


def one_by_one_only() -> bytes:
    """Takes a batch of any size by its declaration, and has 64 written into a Reshape."""
    first, second = weights(50)
    nodes = [("Reshape", ["x", "shape"], ["r"]), ("MatMul", ["r", "a"], ["h"]), ("MatMul", ["h", "b"], ["y"])]
    return model(nodes, shape=np.array([64, 64]), a=first, b=second)


def deeply_nested(depth: int = 5000) -> bytes:
    """Graph in node in graph ..., so many levels deep, as protobuf writes it: a tag, a length, the message inside."""

    def field(number: int, content: bytes) -> bytes:
        length, size = bytearray(), len(content)
        while size > 127:
            length.append(size & 127 | 128)
            size >>= 7
        return bytes([number << 3 | 2]) + bytes([*length, size]) + content

    graph = b""
    for _ in range(depth):
        graph = field(1, field(5, field(6, graph)))  # GraphProto.node, NodeProto.attribute, AttributeProto.g
    return field(7, graph)
