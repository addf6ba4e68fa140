"""A model by its name: from a folder, from a hub that answers as it likes, and from one that does not answer."""

import http.server
import json
import socket
import sys
import threading
import time

import pytest
import torch

from compresslab.hf import hub


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """ask(address): the hub is there, and the cache is empty."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)

    def at(address):
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
        path = "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + path)

    return at


@pytest.fixture
def answers(ask):
    """A hub whose answer stands in the name of the model: nobody/<code of the error>."""

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            code = self.path.split("/")[2]  # /nobody/<code>/resolve/main/config.json
            self.send_response({"GatedRepo": 403}.get(code, 404))
            self.send_header("X-Error-Code", code)
            self.end_headers()

        do_GET = do_HEAD

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ask(f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    server.server_close()


def test_a_saved_model_is_the_same_again(vit, bert, digits, tokens, tmp_path):
    vit.model.save_pretrained(tmp_path / "vit")
    bert.model.save_pretrained(tmp_path / "bert")
    with torch.no_grad():
        loaded = hub.load(str(tmp_path / "vit"))
        assert torch.equal(loaded(digits.test.x[:9]), vit(digits.test.x[:9])) and not loaded.training
        assert torch.equal(hub.load(str(tmp_path / "bert"), task="text-classification")(tokens), bert(tokens))
    sentence = (
        "with a trained head for image-classification .*, got '.*bert': BertForSequenceClassification; choose another"
    )
    with pytest.raises(ValueError, match=sentence):
        hub.load(str(tmp_path / "bert"))


def test_a_model_without_a_head_of_the_task_is_refused_before_its_weights_are_read(vit, tmp_path):
    for content, named in (({}, "none named"), ({"architectures": ["ViTMAEForPreTraining"]}, "ViTMAEForPreTraining")):
        (tmp_path / "config.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match=f"a trained head for image-classification .*{named}"):
            hub.load(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="without a readable config.json"):
        hub.load(str(tmp_path))
    vit.model.config.save_pretrained(tmp_path)  # and no weights
    config = json.loads((tmp_path / "config.json").read_text()) | {"architectures": ["ViTForImageClassification"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="name must be a model that transformers can load, got .*safetensors"):
        hub.load(str(tmp_path))


@pytest.mark.parametrize(
    "code, error, sentence",
    [
        ("RepoNotFound", ValueError, "name must be a model of the hub, got 'nobody/RepoNotFound', .* look it up at"),
        ("EntryNotFound", ValueError, "'nobody/EntryNotFound' without a config.json: choose another"),
        ("GatedRepo", PermissionError, "'nobody/GatedRepo' is behind an agreement: accept it at https://hugging"),
    ],
)
def test_what_the_hub_refuses_is_said_in_a_sentence(answers, code, error, sentence):
    with pytest.raises(error, match=sentence):
        hub.load(f"nobody/{code}")


def test_without_a_network_it_says_so_at_once(ask, monkeypatch):
    """No route, a hub that takes the call and says nothing, and transformers' own offline mode."""
    monkeypatch.setattr(hub, "SECONDS", 0.5)
    sentence = "the hub does not answer, and 'google/vit' is not in the cache: try again with a network, or train a"
    start = time.monotonic()
    with socket.socket() as silent, socket.socket() as closed:
        for server in (silent, closed):
            server.bind(("127.0.0.1", 0))
        silent.listen()
        for server in (silent, closed):
            ask("http://{}:{}".format(*server.getsockname()))
            with pytest.raises(ConnectionError, match=sentence):
                hub.load("google/vit")
    assert time.monotonic() - start < 40  # the library's own way asks again and again, for 23 seconds each
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match=sentence):
        hub.load("google/vit")


def test_what_is_in_the_cache_needs_no_network(vit, digits, ask, tmp_path):
    """Laid out as the hub's cache is: a commit's folder, and its name under refs."""
    folder = tmp_path / "cache" / "models--me--digits"
    vit.model.save_pretrained(folder / "snapshots" / "abc")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    ask("http://127.0.0.1:9")
    with torch.no_grad():
        assert torch.equal(hub.load("me/digits")(digits.test.x[:9]), vit(digits.test.x[:9]))


def test_bad_names_and_tasks_are_refused(ask):
    ask("http://127.0.0.1:9")
    with pytest.raises(ValueError, match="task must be one of image-classification, text-classification, got 'speech'"):
        hub.load("a/b", task="speech")
    with pytest.raises(ValueError, match="name must be a model of the hub, got 'not a name!', which it does not know"):
        hub.load("not a name!")


def test_without_transformers_a_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModuleNotFoundError, match="transformers is not installed: python -m pip install transformers"):
        hub.load("a/b")
