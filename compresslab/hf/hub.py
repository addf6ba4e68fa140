"""Any classifier of the Hugging Face hub by its name."""

import json
from pathlib import Path

from ..packages import package, quiet
from .models import Logits

TASKS = {  # task -> (the end of the name of transformers' class, what the model reads)
    "image-classification": ("ForImageClassification", "pixel_values"),
    "text-classification": ("ForSequenceClassification", "input_ids"),
}
WEIGHTS = ["config.json", "model*.safetensors", "model.safetensors.index.json"]  # numbers and names: no pickle, no code
SECONDS = 5.0  # to wait for the hub's answer


def load(name: str, task: str = "image-classification") -> Logits:
    """The model `name` of the hub ("google/vit-base-patch16-224"), or of a folder, in eval mode; see `Logits`.

    Downloaded once into the hub's own cache, and read from there without a network. No code that comes with a model is
    run. Each of these raises one sentence that says what to do: ValueError for a name that the hub does not know, a
    task other than image-classification or text-classification, a model without a trained head for the task and one
    without safetensors; PermissionError for a model behind an agreement; ConnectionError if there is no network and
    the model is not in the cache; ModuleNotFoundError without transformers.
    """
    if task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}, got {task!r}")
    head, input_name = TASKS[task]
    transformers = package("transformers")
    local = Path(name).is_dir()
    folder = name if local else _from_hub(name, WEIGHTS[:1])
    try:
        classes = json.loads(Path(folder, "config.json").read_text()).get("architectures") or ["none named"]
    except (OSError, ValueError) as error:
        raise ValueError(
            f"name must be a model of transformers, got {name!r} without a readable config.json"
        ) from error
    if not any(head in kind for kind in classes):
        raise ValueError(
            f"name must be a model with a trained head for {task} (a class ...{head}), got {name!r}: "
            f"{', '.join(classes)}; choose another model, or the task of this one"
        )
    folder = name if local else _from_hub(name, WEIGHTS)
    try:
        with quiet():
            auto = getattr(transformers, f"AutoModel{head}")
            model = auto.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, attn_implementation="eager"
            )
    except Exception as error:  # whatever transformers says of a class it lacks, or of files that do not fit
        reason = str(error).strip().split("\n")[0]
        raise ValueError(f"name must be a model that transformers can load, got {name!r}: {reason}") from error
    return Logits(model, input_name).eval()


def _from_hub(name: str, files: list[str]) -> str:
    """The folder with these files of a model, downloaded or from the cache; errors in one sentence each."""
    hub = package("huggingface_hub")
    errors = hub.errors
    try:
        with quiet():
            offline = not _answers(hub, name)  # asked once: a download would ask for 20 seconds and more
            return hub.snapshot_download(name, allow_patterns=files, local_files_only=offline, etag_timeout=SECONDS)
    except errors.GatedRepoError as error:
        raise PermissionError(
            f"{name!r} is behind an agreement: accept it at https://huggingface.co/{name}, then run `hf auth login`"
        ) from error
    except (errors.RepositoryNotFoundError, errors.HFValidationError) as error:
        raise ValueError(
            f"name must be a model of the hub, got {name!r}, which it does not know: look it up at "
            "https://huggingface.co/models, it reads like google/vit-base-patch16-224"
        ) from error
    except errors.RemoteEntryNotFoundError as error:
        raise ValueError(
            f"name must be a model of transformers, got {name!r} without a config.json: choose another"
        ) from error
    except Exception as error:  # of the network, of which there are many kinds
        raise ConnectionError(
            f"the hub does not answer, and {name!r} is not in the cache: try again with a network, or train a model "
            "here, as hf.models.digits_vit and hf.models.intent_bert do"
        ) from error


def _answers(hub, name: str) -> bool:
    """Whether the hub has the model; its own errors if it says no, False if it says nothing."""
    try:
        hub.get_hf_file_metadata(hub.hf_hub_url(name, "config.json"), timeout=SECONDS)
    except (hub.errors.RepositoryNotFoundError, hub.errors.HFValidationError, hub.errors.RemoteEntryNotFoundError):
        raise  # GatedRepoError is one of the first
    except Exception:
        return False
    return True
