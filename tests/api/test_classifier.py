"""A classifier follows scikit-learn, says how good it is, and comes back from its folder."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

import headstart as hs
from headstart.api.classifier import DESCRIPTION_FILE
from headstart.api.extractor import ExtractedFeatures
from headstart.heads.fitted_head import HEAD_FILE
from headstart.metrics.calibration import apply_temperature
from headstart.metrics.classification_metrics import compute_metrics
from tests.api.conftest import NAMES, patches

SIZES = {"input_size": 16, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def test_it_follows_scikit_learn(
    classifier: hs.Classifier, train: ExtractedFeatures, images: np.ndarray, labels: list[str]
) -> None:
    assert classifier.classes_.tolist() == list(NAMES)
    probabilities = classifier.predict_proba(images)
    assert probabilities.shape == (40, 4)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    predicted = classifier.predict(images)
    assert predicted.tolist() == classifier.classes_[probabilities.argmax(axis=1)].tolist()
    assert (predicted == labels).mean() == classifier.score(images, labels) > 0.8
    for same in (train, train.values[:, 0], train.values[:, 0].astype(np.float64)):
        np.testing.assert_allclose(classifier.predict_proba(same), probabilities, rtol=1e-5)


def test_probabilities_are_calibrated_on_tune(
    classifier: hs.Classifier, train: ExtractedFeatures
) -> None:
    logits = classifier.head.logits(train)[:, 0].astype(np.float64)
    raw = np.exp(logits - logits.max(axis=1, keepdims=True))
    raw /= raw.sum(axis=1, keepdims=True)
    temperature = classifier.temperatures["whole"]
    assert temperature != 1
    expected = apply_temperature(raw, temperature)
    np.testing.assert_allclose(classifier.predict_proba(train), expected, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize(
    "given",
    [[7, -3, 12, 0], np.array([7, -3, 12, 0], np.int16), ["7", "-3", "12", "0"], list("baca")],
)
def test_labels_come_back_as_they_were_given(
    extractor: hs.Extractor, images: np.ndarray, given: list[int] | list[str], tmp_path: Path
) -> None:
    labels = [given[i // 10] for i in range(40)]
    fitted = hs.RidgeHead().fit(extractor(images, labels))
    assert fitted.classes_.tolist() == sorted(set(np.asarray(given).tolist()))
    fitted.save(tmp_path / "run")
    again = hs.load(tmp_path / "run", extractor)
    assert again.predict(images).tolist() == fitted.predict(images).tolist()
    assert set(fitted.predict(images).tolist()) <= set(np.asarray(given).tolist())


def test_an_evaluation_has_intervals_and_is_printable(
    classifier: hs.Classifier, train: ExtractedFeatures, images: np.ndarray, labels: list[str]
) -> None:
    evaluation = classifier.evaluate(train, resamples=200, seed=1)
    expected = compute_metrics(classifier.predict_proba(train), train.examples.labels)
    assert evaluation.n == 40
    for name, (value, low, high) in evaluation.metrics.items():
        assert low <= value <= high
        assert value == pytest.approx(expected[name])
    assert str(evaluation).startswith("n = 40, one view, 95% bootstrap intervals\ntop1 ")
    assert str(classifier.evaluate(images, labels, resamples=200, seed=1)) == str(evaluation)
    with pytest.raises(hs.UserError, match="confidence is 95; give a number between 0 and 1"):
        classifier.evaluate(train, confidence=95)


def test_classes_of_val_may_be_fewer_and_never_others(
    classifier: hs.Classifier, extractor: hs.Extractor, images: np.ndarray, labels: list[str]
) -> None:
    few = extractor(images[25:], labels[25:])
    assert len(few.examples.classes) == 2
    correct = classifier.predict(few) == np.array(labels[25:])
    assert classifier.evaluate(few, resamples=10).metrics["top1"].value == correct.mean()
    assert classifier.score(few.values[:, 0], labels[25:]) == correct.mean()
    with pytest.raises(hs.UserError, match=r"images of 'waterr', and none .* mean 'water'\?"):
        classifier.score(images[:2], ["waterr", "cloud"])
    with pytest.raises(hs.UserError, match="images without a label; give a label for each"):
        classifier.evaluate(images)
    with pytest.raises(hs.UserError, match="there are 15 images and 2 labels"):
        classifier.evaluate(few, ["water", "cloud"])


def test_features_of_another_extractor_are_refused(
    classifier: hs.Classifier, images: np.ndarray
) -> None:
    other = hs.Extractor("pixels", cache=None, device="cpu")
    with pytest.raises(hs.UserError, match="the head was trained on other features"):
        classifier.predict(other(images[:2]))
    with pytest.raises(hs.UserError, match="width: 2048 then, 3 now"):
        classifier.predict(np.zeros((2, 3)))


def test_ten_crops_are_averaged_and_have_their_own_temperature(
    tmp_path: Path, images: np.ndarray, labels: list[str]
) -> None:
    extractor = hs.Extractor("pixels", ten_crop=True, cache=tmp_path, device="cpu")
    val = extractor(images[1::2], labels[1::2])
    train = extractor(images[::2], labels[::2], augmented_views=0)
    fitted = hs.RidgeHead().fit(train, tune=val)
    assert fitted.temperatures.keys() == {"whole", "ten_crop"}
    assert fitted.temperatures["whole"] != fitted.temperatures["ten_crop"]
    evaluation = fitted.evaluate(val, resamples=10)
    assert "ten crops" in str(evaluation)

    logits = fitted.head.logits(replace(val, examples=val.examples)).astype(np.float64)
    p = np.exp(logits - logits.max(axis=2, keepdims=True))
    p = (p / p.sum(axis=2, keepdims=True)).mean(axis=1)
    expected = apply_temperature(p, fitted.temperatures["ten_crop"])
    np.testing.assert_allclose(fitted.predict_proba(images[1::2]), expected, rtol=1e-4, atol=1e-9)

    fitted.save(tmp_path / "run")
    again = hs.load(tmp_path / "run", cache=tmp_path, device="cpu")
    assert isinstance(again, hs.Classifier)
    np.testing.assert_array_equal(again.predict_proba(val), fitted.predict_proba(val))
    assert again.extractor.settings == extractor.settings


def test_it_comes_back_from_its_folder(
    tmp_path: Path, classifier: hs.Classifier, images: np.ndarray
) -> None:
    classifier.save(tmp_path / "deep" / "run")
    assert {path.name for path in (tmp_path / "deep" / "run").iterdir()} == {
        HEAD_FILE,
        DESCRIPTION_FILE,
    }
    again = hs.load(tmp_path / "deep" / "run", cache=None, device="cpu")
    assert isinstance(again, hs.Classifier)
    assert again.extractor.name == "bundled"
    expected = classifier.predict_proba(images[:3])
    np.testing.assert_array_equal(again.predict_proba(images[:3]), expected)


def test_a_modules_classifier_wants_the_module_again(
    tmp_path: Path, images: np.ndarray, labels: list[str], extractor: hs.Extractor
) -> None:
    def start(side: int) -> hs.Extractor:
        module = nn.Sequential(nn.AdaptiveAvgPool2d(side), nn.Flatten())
        return hs.Extractor(module, **SIZES, cache=None, device="cpu")

    fitted = hs.RidgeHead().fit(start(4)(images, labels))
    fitted.save(tmp_path / "run")
    with pytest.raises(hs.UserError, match="of the module Sequential; give `load` an Extractor"):
        hs.load(tmp_path / "run")
    for other in (start(2), extractor):
        with pytest.raises(hs.UserError, match="trained on features of another network"):
            hs.load(tmp_path / "run", other)
    again = hs.load(tmp_path / "run", start(4))
    assert again.predict(images).tolist() == fitted.predict(images).tolist()


def test_damaged_and_foreign_folders_are_said(
    tmp_path: Path, classifier: hs.Classifier, extractor: hs.Extractor
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(hs.UserError, match=r"holds no classifier \(classifier.json is missing\)"):
        hs.load(folder, extractor)
    classifier.save(folder)
    files = {path: path.read_bytes() for path in folder.iterdir()}
    described = json.loads(files[folder / DESCRIPTION_FILE])
    damages = [
        (folder / HEAD_FILE, b""),
        (folder / HEAD_FILE, files[folder / HEAD_FILE][:-1] + b"!"),
        (folder / DESCRIPTION_FILE, b"{"),
        (folder / DESCRIPTION_FILE, b"[]"),
        (folder / DESCRIPTION_FILE, json.dumps({"name": "x"}).encode()),
        (folder / DESCRIPTION_FILE, json.dumps(described | {"temperatures": 3}).encode()),
        (folder / DESCRIPTION_FILE, json.dumps(described | {"temperatures": {}}).encode()),
    ]
    for path, content in damages:
        path.write_bytes(content)
        with pytest.raises(hs.UserError, match="is damaged or of another version; train and save"):
            hs.load(folder, extractor)
        path.write_bytes(files[path])
    (folder / HEAD_FILE).unlink()
    with pytest.raises(hs.UserError, match=r"holds no classifier \(head.safetensors is missing\)"):
        hs.load(folder, extractor)


def test_new_images_that_cannot_be_read_are_named(classifier: hs.Classifier) -> None:
    gray = Image.fromarray(np.zeros((4, 4), np.float32))
    with pytest.raises(hs.UserError, match="1 of 2 images can't be read:\n  1: white"):
        classifier.predict([patches("cloud")[0], gray])
