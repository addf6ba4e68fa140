"""transformers models that take one tensor and answer with scores, so that every tool of the course takes them."""

from torch import Tensor, nn

from ..models import check_positive, seeded
from ..packages import package, quiet

INPUTS = ("pixel_values", "input_ids")
HEADS = ("num_attention_heads", "n_heads", "num_heads")  # BERT, RoBERTa, ViT, ...; DistilBERT; others


class Logits(nn.Module):
    """A transformers classifier as a function of one tensor: `input_name`, -> scores (n, classes).

    pixel_values: images, float32 (n, channels, height, width). input_ids: tokens, int64 (n, length); the attention
    leaves out those equal to `padding`, by default the model's own pad_token_id, or 0.
    """

    def __init__(self, model: nn.Module, input_name: str, padding: int | None = None):
        super().__init__()
        if input_name not in INPUTS:
            raise ValueError(f"input_name must be one of {', '.join(INPUTS)}, got {input_name!r}")
        own = getattr(model.config, "pad_token_id", None)
        self.model, self.input_name = model, input_name
        self.padding = next((token for token in (padding, own) if token is not None), 0)

    def forward(self, x: Tensor) -> Tensor:
        inputs = {self.input_name: x}
        if self.input_name == "input_ids":
            inputs["attention_mask"] = (x != self.padding).long()
        return self.model(**inputs).logits


def digits_vit(
    width: int = 64,
    depth: int = 4,
    heads: int = 4,
    *,
    patch_size: int = 2,
    seed: int | None = None,
) -> Logits:
    """Vision transformer on digits: images (n, 1, 8, 8) -> scores (n, 10); tokens are patches.

    transformers' ViTForImageClassification with random weights and 2 * width neurons in each feed-forward part.
    A. Dosovitskiy et al., "An image is worth 16x16 words: transformers for image recognition at scale" (2021).
    ValueError unless heads divide the width and patches the image.
    """
    check_positive(patch_size=patch_size)
    if 8 % patch_size:
        raise ValueError(f"patch_size must divide the 8 pixels of a side, got {patch_size}")
    sizes = dict(image_size=8, patch_size=patch_size, num_channels=1)
    return _built("ViT", "ForImageClassification", "pixel_values", width, depth, heads, 10, seed, **sizes)


def intent_bert(
    vocabulary: int,
    classes: int,
    width: int = 64,
    depth: int = 2,
    heads: int = 4,
    *,
    length: int = 64,
    seed: int | None = None,
) -> Logits:
    """Text classifier: tokens (n, at most length), int64 below `vocabulary`, 0 = padding -> scores (n, classes).

    transformers' BertForSequenceClassification with random weights and 2 * width neurons in each feed-forward part.
    J. Devlin et al., "BERT: pre-training of deep bidirectional transformers for language understanding" (2019).
    ValueError unless heads divide the width.
    """
    check_positive(vocabulary=vocabulary, length=length)
    sizes = dict(vocab_size=vocabulary, max_position_embeddings=length, type_vocab_size=1, pad_token_id=0)
    return _built("Bert", "ForSequenceClassification", "input_ids", width, depth, heads, classes, seed, **sizes)


def _built(family, head, input_name, width, depth, heads, classes, seed, **sizes) -> Logits:
    check_positive(width=width, depth=depth, heads=heads, classes=classes)
    if width % heads:
        raise ValueError(f"width must be a multiple of heads ({heads}), got {width}")
    transformers = package("transformers")
    with quiet(), seeded(seed):
        config = getattr(transformers, f"{family}Config")(
            hidden_size=width,
            num_hidden_layers=depth,
            num_attention_heads=heads,
            intermediate_size=2 * width,
            num_labels=classes,
            initializer_range=width**-0.5 / 2,  # 0.02, the default, is meant for widths near 768: 768**-0.5 / 2 = 0.018
            attn_implementation="eager",  # written out, so that its products are counted and exported
            **sizes,
        )
        return Logits(getattr(transformers, family + head)(config), input_name).eval()


def heads_attribute(model: nn.Module) -> str:
    """The attribute in which the attention modules of `model` keep their number of heads: `heads=` of the pruning.

    ValueError for a family that the pruning does not know: it needs the number beside nn.Linear layers, as in ViT,
    BERT and DistilBERT, not beside one layer for all of query, key and value (GPT-2) or beside none.
    """
    for module in model.modules():
        linear = [child for child in module.children() if isinstance(child, nn.Linear)]
        for name in HEADS:
            if len(linear) >= 3 and type(getattr(module, name, None)) is int:
                return name
    kind = type(getattr(model, "model", model)).__name__
    raise ValueError(
        f"model must be of a family that the pruning knows (ViT, BERT, DistilBERT, and others that keep {HEADS[0]}, "
        f"{HEADS[1]} or {HEADS[2]} beside three nn.Linear layers), got {kind}: take one of those"
    )
