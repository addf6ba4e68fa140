"""One job of LiteRT's converter, in a process of its own: `python -P _litert_job.py FOLDER PRECISION`.

float32 makes result.tflite of model.pt2; float16, dynamic_int8 and int8 make it of float.tflite, int8 with the examples
in calibration.npz, one array an input, its first dimension the batches. What goes wrong is told in error.txt. It runs
where compresslab may not be installed, so it imports nothing of it.
"""

import sys
from pathlib import Path


def converted(folder: Path) -> bytes:
    import litert_torch
    import torch

    program = torch.export.load(folder / "model.pt2")
    args, _ = program.example_inputs
    return litert_torch.convert(program.module(check_guards=False), args).model_content()


def quantized(folder: Path, precision: str) -> bytes:
    from ai_edge_quantizer import qtyping, quantizer, recipe
    from ai_edge_quantizer.algorithm_manager import AlgorithmName

    names = qtyping.TFLOperationName
    work = quantizer.Quantizer(folder / "float.tflite")
    if precision == "float16":
        half = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
        config = qtyping.OpQuantizationConfig(weight_tensor_config=half, explicit_dequantize=True)
        work.update_quantization_recipe(".*", names.ALL_SUPPORTED, config, AlgorithmName.FLOAT_CASTING)
    elif precision == "dynamic_int8":
        work.load_quantization_recipe(recipe.dynamic_wi8_afp32())
    else:
        work.load_quantization_recipe(recipe.static_wi8_ai8())
        for end in (names.INPUT, names.OUTPUT):  # whoever calls the file gives and gets floats
            work.update_quantization_recipe(".*", end, algorithm_key=AlgorithmName.NO_QUANTIZE)
    ranges = extremes(folder, work.get_quantization_recipe()) if work.need_calibration else None
    return bytes(work.quantize(ranges).quantized_model)


def extremes(folder: Path, recipe: list) -> dict:
    """Lowest and highest value of every tensor; `Quantizer.calibrate` averages those of the batches, which cuts off."""
    from ai_edge_quantizer import calibrator, recipe_manager
    from ai_edge_quantizer.utils import qsv_utils

    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(recipe)
    file = (folder / "float.tflite").read_bytes()
    watch = calibrator.Calibrator(file, num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    watch.calibrate({"serving_default": batches(folder)}, manager)
    return watch.get_model_qsvs()


def batches(folder: Path) -> list[dict]:
    import numpy as np

    with np.load(folder / "calibration.npz") as file:
        inputs = {name: file[name] for name in file}
    return [dict(zip(inputs, batch)) for batch in zip(*inputs.values())]


if __name__ == "__main__":
    place, wanted = Path(sys.argv[1]), sys.argv[2]
    try:
        made = converted(place) if wanted == "float32" else quantized(place, wanted)
    except Exception as error:
        (place / "error.txt").write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
        sys.exit(1)
    (place / "result.tflite").write_bytes(made)
