"""The networks of `compresslab.models` that many tests go through."""

from compresslab import models

# name: (builder, image size)
NETS = {
    "mlp": (models.mlp, 8),
    "lenet300": (models.lenet300, 28),
    "lenet5": (models.lenet5, 28),
    "resnet20": (models.resnet20, 8),
    "depthwise": (models.depthwise, 8),
    "tiny_rnn": (models.tiny_rnn, 8),
    "tiny_transformer": (models.tiny_transformer, 8),
}
