"""From a torch model to an ONNX file, whose tensors are named after the modules that made them."""

import ast
import copy

import torch
from torch import nn

from ..packages import package, quiet

OPSET = 20  # version of ONNX's operators; what torch's exporter writes without converting afterwards


def export_onnx(model: nn.Module, example_inputs: torch.Tensor | tuple) -> bytes:
    """ONNX file of `model` in eval mode, as bytes: float32, weights inside, any number of examples a batch.

    The file speaks torch's names: its input is `x` (`x0`, `x1` ... where there are several), the output of a module
    has the module's name (`3.body.0`) and its weight the parameter's (`3.body.0.weight`). Batch normalisation is
    folded into the convolution before it, so there the output has the normalisation's name. Of a module called several
    times the last output has its name.

    `example_inputs`: one batch (n, ...), or a tuple of them. The model is left as it is. ValueError, in one sentence,
    if torch cannot trace the model, if ONNX has no operator for a step, or if the model holds on to one batch size.
    """
    package("onnxscript")
    inputs = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
    names = ["x"] if len(inputs) == 1 else [f"x{i}" for i in range(len(inputs))]
    batch = torch.export.Dim("batch")
    model = copy.deepcopy(model).eval()
    try:
        with quiet(), torch.no_grad():
            program = torch.onnx.export(
                model,
                inputs,
                dynamo=True,
                dynamic_shapes=tuple({0: batch} for _ in inputs),
                input_names=names,
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise ValueError(f"model cannot be exported to ONNX: {_reason(error)}") from error
    proto = program.model_proto
    fixed = next((v for v in proto.graph.input if v.type.tensor_type.shape.dim[0].HasField("dim_value")), None)
    if fixed is not None:
        n = fixed.type.tensor_type.shape.dim[0].dim_value
        raise ValueError(f"model must take any number of examples, it keeps to {n}: x.shape[0] instead of len(x)?")
    _name_after_modules_(proto.graph)
    _strip_notes_(proto)
    return proto.SerializeToString()


def _reason(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).strip().split("\n")[0]


def _name_after_modules_(graph) -> None:
    """Rename in place: a module's last output and the node that makes it, and a matrix that MatMul multiplies by."""
    taken = {value.name for value in [*graph.input, *graph.initializer]}
    constants = {value.name for value in graph.initializer}
    makers, new = {}, {}
    for node in graph.node:
        scopes = _modules(node)
        makers |= dict.fromkeys(scopes, node)
        if node.op_type == "MatMul" and node.input[1] in constants and scopes and "." not in node.input[1]:
            weight = f"{scopes[-1]}.weight"
            if weight not in new.values():
                new[node.input[1]] = weight
    new |= {node.output[0]: path for path, node in makers.items()}  # of modules around each other the innermost is last
    new = {old: name for old, name in new.items() if name not in taken}
    results = {name for node in graph.node for name in node.output}
    new |= {name: f"{name}()" for name in results & set(new.values()) - set(new)}  # a function named like a module
    for node in graph.node:
        if node.output[0] in new:
            node.name = new[node.output[0]]
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]
    for value in [*graph.initializer, *graph.value_info, *graph.output]:
        value.name = new.get(value.name, value.name)


def _strip_notes_(proto) -> None:
    """Drop what the exporter notes about its sources in place: kilobytes a node, with paths of this machine."""
    graph = proto.graph
    for part in [proto, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer]:
        del part.metadata_props[:]
        part.ClearField("doc_string")


def _modules(node) -> list[str]:
    """Paths of the modules around a node, outermost first, without the model itself."""
    for entry in node.metadata_props:
        if entry.key == "pkg.torch.onnx.name_scopes":
            return [path for path in ast.literal_eval(entry.value)[:-1] if path]
    return []
