"""wrap and collect, with small untrained networks of timm, torchvision and Hugging Face."""

import sys

import numpy as np
import pytest
import timm
import torch
import torchvision
import transformers
from PIL import Image
from torch import nn

from ood_helpers import Detector, ScoreExplorer, collect, wrap
from ood_helpers.engine.inference import run_model


def huggingface():
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, num_labels=5
    )
    return transformers.ViTForImageClassification(config)


class Named(nn.Module):
    """A last layer that is not the last module."""

    def __init__(self):
        super().__init__()
        self.out, self.body = nn.Linear(8, 5), nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 8), nn.ReLU())

    def forward(self, x):
        return self.out(self.body(x))


MODELS = {
    "timm resnet": (lambda: timm.create_model("test_resnet", num_classes=5), None, None),
    "timm vit": (lambda: timm.create_model("test_vit", num_classes=5, img_size=32), None, None),
    "torchvision resnet": (lambda: torchvision.models.resnet18(num_classes=5), None, 512),
    "torchvision mobilenet": (lambda: torchvision.models.mobilenet_v3_small(num_classes=5), None, 1024),
    "torchvision densenet": (lambda: torchvision.models.DenseNet(4, (1, 1), 8, num_classes=5), None, 10),
    "hugging face": (huggingface, None, 16),
    "by name": (Named, "out", 8),
}


@pytest.mark.parametrize("name", MODELS)
def test_features_and_classifier_give_the_models_logits(name):
    make, layer, size = MODELS[name]
    torch.manual_seed(0)
    model = make().eval()
    split = wrap(model, layer)
    images = torch.rand(3, 3, 32, 32)
    with torch.inference_mode():
        output = model(images)
        features, logits = split.features(images), split(images)
    assert isinstance(split.classifier, nn.Linear)
    assert features.shape == (3, size or model.num_features)
    torch.testing.assert_close(logits, getattr(output, "logits", output))
    assert sum(p.numel() for p in split.parameters()) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    "call, sentence",
    [
        (
            lambda: wrap(torchvision.models.squeezenet1_1(num_classes=5)),
            "the last layer of SqueezeNet, 'classifier.1', is Conv2d and not linear: scores of features do not apply",
        ),
        (lambda: wrap(timm.create_model("test_resnet", num_classes=0)), "Identity and not linear"),
        (lambda: wrap(Named(), "head"), "Named has no layer 'head'; its linear layers are out, body.1"),
        (lambda: wrap("resnet18"), "wrap takes a torch.nn.Module, not str"),
        (lambda: wrap(nn.Flatten()), "Flatten has no layer with weights"),
        (lambda: wrap(Named()).features(torch.rand(2, 3, 32, 32)), "name its last layer, as wrap"),
        (lambda: collect(Named(), {"a": "/"}), "reading image files for Named needs its preprocessing"),
    ],
)
def test_what_cannot_be_split_is_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


@pytest.fixture
def folders(tmp_path):
    """Two folders of images: one with subfolders and a damaged file, one without."""
    rng = np.random.default_rng(0)
    for i in range(25):
        name = tmp_path / "known" / "abcde"[i % 5] / f"{i:02}.png"
        name.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (40 + i, 50, 3), np.uint8)).save(name)
    (tmp_path / "known/a/00.png").write_bytes(b"not an image")
    (tmp_path / "other").mkdir()
    for i in range(4):
        Image.fromarray(rng.integers(0, 255, (40, 40), np.uint8)).save(tmp_path / f"other/{i}.jpg")
    return tmp_path


def test_folders_are_read_in_the_models_own_preprocessing(folders):
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=5)
    with pytest.warns(UserWarning, match=r"skipped 1 of 25 files, not readable as images: '00\.png'"):
        sets = collect(model, {"known": folders / "known", "other": str(folders / "other")}, progress=False)
    known, other = sets["known"], sets["other"]
    assert known.logits.shape == (24, 5) and known.features.shape == (24, model.num_features)
    assert known.labels.tolist() == [0] * 4 + [c for c in range(1, 5) for _ in range(5)]
    assert other.logits.shape == (4, 5) and other.labels is None
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    with torch.inference_mode(), Image.open(folders / "other/2.jpg") as image:
        expected = model.eval()(transform(image.convert("RGB"))[None])
    np.testing.assert_allclose(other.logits[2], expected[0], rtol=1e-4, atol=1e-5)


def test_labels_are_of_every_row_or_of_none(folders, monkeypatch):
    batches = [(torch.rand(3, 12), torch.arange(3)), torch.rand(2, 12), {"data": torch.rand(1, 12), "label": [0]}]
    model = nn.Linear(12, 5)
    assert run_model(model, batches[::2]).labels.tolist() == [0, 1, 2, 0]
    for mixed in (batches, batches[::-1]):
        outputs = run_model(model, mixed)
        assert len(outputs.logits) == 6 and outputs.labels is None
    Image.new("RGB", (40, 40)).save(folders / "known/beside.png")
    model = timm.create_model("test_resnet", num_classes=5)
    monkeypatch.setattr(sys.modules["ood_helpers.bridges.collect"], "BATCH_SIZE", 10)
    with pytest.warns(UserWarning, match="skipped 1 of 26"):
        known = collect(model, {"known": folders / "known"}, progress=False)["known"]
    assert len(known.logits) == 25 and known.labels is None


def test_a_hugging_face_processor_is_a_transform(folders):
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    sets = collect(wrap(huggingface(), transform=processor), {"other": folders / "other"}, progress=False)
    assert sets["other"].logits.shape == (4, 5)


def test_from_a_model_to_a_live_explorer_and_a_detector(folders, tmp_path):
    model = wrap(timm.create_model("test_resnet", num_classes=5))
    sets = collect(model, {"known": torch.rand(60, 3, 32, 32), "other": folders / "other"}, progress=False)
    explorer = ScoreExplorer.from_logits(sets["known"].logits, {"other": sets["other"].logits})
    explorer.to_html(tmp_path / "explorer.html")
    Detector(model).fit(sets["known"].logits).save(tmp_path / "detector.safetensors")
    assert (tmp_path / "explorer.html").stat().st_size > 10_000
    loaded = Detector.load(tmp_path / "detector.safetensors", model)
    assert loaded.accepts(torch.rand(2, 3, 32, 32)).shape == (2,)
    Detector(model, "knn").fit(torch.rand(30, 3, 32, 32), train=(torch.rand(60, 3, 32, 32), torch.arange(60) % 5))
