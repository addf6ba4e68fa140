"""A float ONNX file made int8 by ONNX Runtime: static (calibrated) or dynamic, with its scales or with ours."""

import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from ..packages import package, quiet
from .onnx_run import reason

METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
ENTROPY_BINS = 512  # of the histogram, from -max to max


def static_int8(
    file: bytes,
    calibration: torch.Tensor,
    *,
    method: str = "minmax",
    percentile: float = 99.99,
    scales: dict[str, tuple] | None = None,
    per_channel: bool = True,
    signed_activations: bool = False,
    reduce_range: bool = False,
    batch_size: int = 100,
) -> bytes:
    """int8 copy of a float ONNX file: weights as codes, and activations on ranges seen over `calibration` (n, ...).

    Written as QDQ: the float graph with a QuantizeLinear, DequantizeLinear pair at every tensor that gets codes, from
    which the runtime builds integer kernels. Weights are int8, symmetric, one scale a channel; activations uint8,
    asymmetric, one scale a tensor; a ReLU is left to the codes' lower end.

    method: minmax, percentile (a range symmetric about 0 that keeps `percentile` % of the values, then cut to the
    extremes) or entropy (least KL divergence; seconds a tensor, and all activations in memory at once), each ONNX
    Runtime's own. scales: ours instead, for the tensors named in it: {name: (scale, zero_point)}, names
    and shapes as `read_scales` gives them; the other tensors are calibrated. signed_activations: int8 activations,
    slower on x86. reduce_range: 7-bit weights, for x86 processors without VNNI, whose 16-bit sums of two products
    overflow otherwise (`measure.int8_instructions`).

    ValueError if `calibration` is empty or holds NaN or infinity, and if `scales` names a tensor that gets no codes of
    its own.
    """
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if not 0 < percentile <= 100:
        raise ValueError(f"percentile must be in (0, 100], got {percentile}")
    check_calibration(calibration)
    ort = package("onnxruntime.quantization")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    graph = _graph(file)
    if len(graph.input) != 1:
        raise ValueError(f"file must have one input, got {', '.join(value.name for value in graph.input) or 'none'}")
    given = {name: _pair(name, *pair) for name, pair in (scales or {}).items()}
    _check_names(given, graph, lowest=-128 if signed_activations else 0)
    signs = ort.QuantType.QInt8, ort.QuantType.QUInt8

    def write(source: Path, target: Path) -> None:
        source.write_bytes(_own_weights(source.read_bytes(), beside=("Gather",)))
        ranges = source.with_name("ranges.json")
        _save_ranges(source, ranges, graph.input[0].name, calibration, method, percentile, batch_size)
        ort.quantize_static(
            source,
            target,
            calibration_cache_path=ranges,
            calibrate_method=ort.CalibrationMethod[METHODS[method]],
            quant_format=ort.QuantFormat.QDQ,
            per_channel=per_channel,
            reduce_range=reduce_range,
            activation_type=signs[0] if signed_activations else signs[1],
            weight_type=signs[0],
            extra_options={"TensorQuantOverrides": _overrides(given, graph)},
        )

    result = _rewritten(file, write)
    _check_taken(given, read_scales(result))
    return result


def dynamic_int8(
    file: bytes, convolutions: bool = False, *, embeddings: bool = False, keep: str | Iterable[str] = ()
) -> bytes:
    """int8 copy of a float ONNX file whose matrix products scale their input anew at every call; no calibration.

    Linear layers only, unless `convolutions`: those run in the kernel ConvInteger, slower than float, and it takes
    unsigned weights. With `embeddings` the tables of nn.Embedding layers are stored as 8-bit codes too, one scale a
    table. `keep`: modules, named as in `export_onnx`, that stay float with all that is in them. A layer with a bias
    that is called twice, or shares its weight, is stored once for each call.

    ValueError for a name in `keep` without anything that would become int8.
    """
    ort = package("onnxruntime.quantization")
    operators = ["MatMul", "Gemm"] + ["Conv"] * convolutions + ["Gather"] * embeddings
    weights = ort.QuantType.QUInt8 if convolutions else ort.QuantType.QInt8
    kept = _kept_nodes(_graph(file), operators, [keep] if isinstance(keep, str) else keep)

    def write(source: Path, target: Path) -> None:
        source.write_bytes(_own_weights(source.read_bytes()))
        ort.quantize_dynamic(
            source, target, op_types_to_quantize=operators, weight_type=weights, per_channel=True, nodes_to_exclude=kept
        )

    return _rewritten(file, write)


def _kept_nodes(graph, operators: list[str], keep: Iterable[str]) -> list[str]:
    """Names of the nodes that multiply by, or look up, a weight of the modules in `keep`."""
    constants = {value.name for value in graph.initializer if value.name.endswith(".weight")}
    module = {
        node.name: name.removesuffix(".weight")
        for node in graph.node
        if node.op_type in operators
        for name in constants & set(node.input)
    }
    kept = []
    for name in keep:
        inside = [node for node, path in module.items() if f"{path}.".startswith(f"{name}.")]
        if not inside:
            raise ValueError(f"keep must name modules among or around {', '.join(module.values())}, got {name!r}")
        kept += inside
    return kept + [f"{node}_MatMul" for node in kept]  # ONNX Runtime makes a Gemm one of these before it looks


def _own_weights(file: bytes, beside: tuple[str, ...] = ()) -> bytes:
    """The file with a weight for each Gemm alone; with `beside`, only where such a node reads it too.

    ONNX Runtime transposes the weight of a Gemm as if no other node read it, and gives a table one scale where a Gemm
    has one for each channel.
    """
    model = package("onnx").load_from_string(file)
    weights = {value.name: value for value in model.graph.initializer}
    readers = Counter(name for node in model.graph.node for name in node.input)
    shared = {name for node in model.graph.node for name in node.input if not beside or node.op_type in beside}
    for node in model.graph.node:
        name = node.input[1] if node.op_type == "Gemm" else ""
        if name in weights.keys() & shared and readers[name] > 1:
            readers[name] -= 1
            node.input[1] = f"{name}.{node.name}"
            model.graph.initializer.add().CopyFrom(weights[name])
            model.graph.initializer[-1].name = node.input[1]
    return model.SerializeToString()


def read_scales(file: bytes) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """{tensor: (scale, zero_point)} of an int8 file: float32 and int32, shape () or, one a channel, (channels,).

    A tensor that another's codes pass through unchanged (pooling, reshaping) has none of its own, nor has a bias:
    its codes are int32, on the scale input scale * weight scale.
    """
    from_proto = package("onnx.numpy_helper").to_array
    values = {value.name: value for value in _graph(file).initializer}
    found = {}
    for name in values:
        tensor = name.removesuffix("_scale")
        if tensor != name and not tensor.endswith("_quantized") and f"{tensor}_zero_point" in values:
            scale, zero_point = (from_proto(values[f"{tensor}_{part}"]) for part in ("scale", "zero_point"))
            found[tensor] = torch.tensor(scale), torch.tensor(zero_point.astype(np.int32))
    return found


def _graph(file: bytes):
    onnx = package("onnx")
    try:
        graph = onnx.load_from_string(file).graph
    except Exception:  # protobuf's own; which one depends on its version
        graph = onnx.GraphProto()
    if not graph.node:
        raise ValueError(f"file must be the bytes of an ONNX file, got {type(file).__name__} {file!r:.40}")
    return graph


def _rewritten(file: bytes, write) -> bytes:
    """What `write(source, target)` makes of the file after the shape inference and folding that it asks for."""
    prepare = package("onnxruntime.quantization.shape_inference").quant_pre_process
    with tempfile.TemporaryDirectory() as folder, quiet():
        source, ready, target = (Path(folder, name) for name in ("float.onnx", "ready.onnx", "int8.onnx"))
        _graph(file)
        source.write_bytes(file)
        try:
            prepare(source, ready)
        except Exception as error:
            raise ValueError(f"file cannot be prepared by ONNX Runtime: {reason(error)}") from error
        write(ready, target)
        return target.read_bytes()


def _save_ranges(source: Path, target: Path, name: str, x: torch.Tensor, method: str, percentile, batch_size) -> None:
    """ONNX Runtime's calibration of a float file, as a file for `quantize_static`."""
    ort = package("onnxruntime.quantization.calibrate")
    # quantize_static itself has 128 bins for 128 codes: one candidate, the whole range. Later batches would add bins,
    # to be tried one by one, so entropy gets one batch.
    options, batches = {"num_bins": ENTROPY_BINS}, [x]
    if method != "entropy":
        options, batches = {"percentile": percentile}, x.split(batch_size)
    calibrator = ort.create_calibrator(
        source,
        augmented_model_path=str(source.with_name("augmented.onnx")),
        calibrate_method=ort.CalibrationMethod[METHODS[method]],
        extra_options=options,
    )
    for batch in batches:
        try:
            calibrator.collect_data(_Once({name: batch.detach().numpy()}))
        except Exception as error:
            raise ValueError(f"calibration cannot be taken by the file: {reason(error)}") from error
    ort.save_tensors_data(calibrator.compute_data(), target)


class _Once:
    """ONNX Runtime's CalibrationDataReader of one batch."""

    def __init__(self, feed: dict):
        self.feeds = [feed, None]

    def get_next(self) -> dict | None:
        return self.feeds.pop(0)


def check_calibration(x: torch.Tensor) -> None:
    if not isinstance(x, torch.Tensor):
        raise ValueError(f"calibration must be a tensor (n, ...), got {type(x).__name__}")
    if x.ndim == 0 or len(x) == 0:
        raise ValueError("calibration must hold at least one example, got none: give a few hundred training examples")
    bad = int((~x.isfinite()).flatten(1).any(1).sum()) if x.ndim > 1 else int((~x.isfinite()).sum())
    if bad:
        raise ValueError(f"calibration must hold finite numbers, got NaN or infinity in {bad} of {len(x)} examples")


def _pair(name: str, scale, zero_point) -> tuple[torch.Tensor, torch.Tensor]:
    scale = torch.as_tensor(scale, dtype=torch.float32)
    if not (scale.isfinite() & (scale > 0)).all():
        raise ValueError(f"scales must be finite and above 0, got {scale.min().item()} for {name!r}")
    return scale, torch.as_tensor(zero_point, dtype=torch.int32).expand_as(scale)


def _check_names(given: dict, graph, lowest: int) -> None:
    makers = {name: node.op_type for node in graph.node for name in node.output}
    known = [value.name for value in [*graph.input, *graph.initializer]] + list(makers)
    for name, (_, zero_point) in given.items():
        if name not in known:
            raise ValueError(f"scales must name tensors of the file ({', '.join(known)}), got {name!r}")
        if makers.get(name) == "Relu" and (zero_point != lowest).any():
            raise ValueError(
                f"scales of a ReLU's output must have zero_point {lowest}, which cuts off what is negative in its "
                f"place, got {zero_point.tolist()} for {name!r}"
            )


def _check_taken(given: dict, used: dict) -> None:
    for name, pair in given.items():
        if name not in used:
            raise ValueError(f"scales must name tensors with codes of their own ({', '.join(used)}), got {name!r}")
        if not all(torch.equal(ours, theirs) for ours, theirs in zip(pair, used[name])):
            raise ValueError(
                f"scales of {name!r} do not fit its codes: ONNX Runtime would take {used[name]}, got {pair}"
            )


def _overrides(given: dict, graph) -> dict[str, list[dict]]:
    """The scales as ONNX Runtime's TensorQuantOverrides: a list of one entry, or of one a channel."""
    users = {name: node for node in graph.node for name in node.input}
    overrides = {}
    for name, pair in given.items():
        numbers = zip(*(part.flatten().numpy() for part in pair))
        overrides[name] = [{"scale": np.array(scale), "zero_point": np.array(zero)} for scale, zero in numbers]
        if pair[0].ndim:
            overrides[name][0]["axis"] = _channel_axis(users[name])
    return overrides


def _channel_axis(node) -> int:
    """Dimension of a node's weight that holds the output channels."""
    transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
    return 1 if node.op_type == "MatMul" or (node.op_type == "Gemm" and not transposed) else 0
