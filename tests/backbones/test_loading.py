"""Backbones: fitting weights are loaded, others are named, and provenance tells all."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from headstart.backbones.loading import check_backbone, load_backbone
from headstart.config import Backbone
from headstart.config.backbones import BUNDLED
from headstart.core.errors import UserError

SHARED = Path(__file__).parents[3] / "shared"


def backbone(architecture: str = "resnet18", weights: str = "none", **changes: Any) -> Backbone:
    return Backbone.model_validate({"architecture": architecture, "weights": weights, **changes})


def saved(path: Path, architecture: str, **arguments: Any) -> str:
    torch.manual_seed(1)
    state = timm.create_model(architecture, **arguments).state_dict()
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state}, path)
    return str(path)


def test_random_weights_are_those_of_their_seed_and_leave_torchs_generator_alone() -> None:
    before = torch.get_rng_state()
    digests = [load_backbone(backbone(seed=s)).provenance["weights"] for s in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_a_local_file_gives_the_features_of_the_network_that_it_was_saved_from(
    tmp_path: Path, name: str
) -> None:
    weights = saved(tmp_path / name, "resnet18", num_classes=7)
    loaded = load_backbone(backbone(weights=weights))
    torch.manual_seed(1)
    saved_from: Any = timm.create_model("resnet18", num_classes=7).eval()
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        expected = saved_from.forward_head(saved_from.forward_features(x), pre_logits=True)
        torch.testing.assert_close(loaded.network(x), expected)


def test_provenance_is_the_weights_not_the_file(tmp_path: Path) -> None:
    one = saved(tmp_path / "one.safetensors", "resnet18")
    other = saved(tmp_path / "other.pth", "resnet18")
    a, b = (load_backbone(backbone(weights=weights)).provenance for weights in (one, other))
    assert a == b
    c = load_backbone(backbone(weights=one, input_size=64)).provenance
    assert c != a
    assert c["preprocessing"]["input_size"] == 64


def test_a_file_that_changed_under_its_name_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    weights = saved(path, "resnet10t", num_classes=2)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    pinned = backbone("resnet10t", weights, sha256=digest)
    check_backbone(pinned)
    load_backbone(pinned)
    save_file({key: x + 1 for key, x in load_file(path).items()}, path)
    changed = hashlib.sha256(path.read_bytes()).hexdigest()
    for use in (check_backbone, load_backbone):
        with pytest.raises(UserError, match=f"has sha256 {changed}, and {digest} was asked for"):
            use(pinned)
    check_backbone(backbone("resnet10t", weights))


@pytest.mark.parametrize(
    ("architecture", "told"),
    [
        ("resnet34", "80 keys missing"),
        ("resnet10t", "keys unexpected"),
        ("resnet18d", "tensors of another shape"),
    ],
)
def test_weights_of_another_architecture_are_refused_by_name(
    tmp_path: Path, architecture: str, told: str
) -> None:
    weights = saved(tmp_path / "w.safetensors", "resnet18")
    wrong = backbone(architecture, weights)
    for find_out in (check_backbone, load_backbone):
        with pytest.raises(UserError, match=f"holds no weights of {architecture}: .*{told}"):
            find_out(wrong)


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04 no zip"])
@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_a_file_that_holds_no_weights(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match="is not a file of weights that can be read safely"):
        load_backbone(backbone(weights=str(tmp_path / name)))


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (str(tmp_path / "run"),))

    torch.save({"state_dict": Attack()}, tmp_path / "w.pth")
    with pytest.raises(UserError, match="is not a file of weights"):
        load_backbone(backbone(weights=str(tmp_path / "w.pth")))
    assert not (tmp_path / "run").exists()


def test_without_a_hub_the_fix_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="can't get the weights of resnet18 from the hub"):
        load_backbone(backbone(weights="hub"))


def test_arguments_that_the_architecture_does_not_take() -> None:
    with pytest.raises(UserError, match="resnet18 doesn't take model_args"):
        check_backbone(backbone(model_args={"depth": 3}))


@pytest.mark.parametrize(
    ("alias", "size"), [("inception_v3", 299), ("resnet50", 224)], ids=lambda value: str(value)
)
def test_the_papers_backbones_are_2048_wide(alias: str, size: int) -> None:
    from headstart import config

    shipped = config.load_params(Path(__file__).parents[2] / "params.yaml").single_backbones[alias]
    loaded = load_backbone(shipped.model_copy(update={"weights": "none"}))
    assert loaded.preprocessing.input_size == size
    with torch.inference_mode():
        assert loaded.network(torch.zeros(1, 3, size, size)).shape == (1, 2048)


def test_the_real_mobilenet_weights() -> None:
    weights = SHARED / "weights" / "mobilenetv2_100.tf2_ptq.safetensors"
    if not weights.exists():
        pytest.skip("the pretrained MobileNetV2 is not on this machine")
    of = backbone("mobilenetv2_100", str(weights), model_args={"pad_type": "same"})
    loaded = load_backbone(of)
    with torch.inference_mode():
        assert loaded.network(torch.zeros(1, 3, 224, 224)).shape == (1, 1280)


@pytest.mark.parametrize(
    ("architecture", "fits", "too_small"),
    [("inception_v3", 75, 8), ("convnext_atto", 32, 8), ("vit_tiny_patch16_224", 224, 64)],
)
def test_a_size_that_the_network_does_not_take_is_found_without_computing(
    architecture: str, fits: int, too_small: int
) -> None:
    check_backbone(backbone(architecture, input_size=fits))
    with pytest.raises(
        UserError, match=f"^input_size: {architecture} takes no images of {too_small} px"
    ):
        check_backbone(backbone(architecture, input_size=too_small))


def test_the_widest_layer_is_that_of_a_real_pass() -> None:
    network: Any = timm.create_model("resnet18", num_classes=0).eval()
    seen = []
    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda _, x, y: seen.append(x[0].numel() + y.numel()))
    with torch.inference_mode():
        network(torch.zeros(1, 3, 64, 64))
    assert check_backbone(backbone(input_size=64)) == max(seen)


def test_one_flipped_bit_of_the_bundled_weights_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in BUNDLED.iterdir():
        shutil.copy(file, tmp_path)
    monkeypatch.setattr("headstart.config.backbones.BUNDLED", tmp_path)
    bundled = backbone("resnet14t", "bundled", model_args={"base_width": 32})
    check_backbone(bundled)
    path = tmp_path / "resnet14t.safetensors"
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    for use in (check_backbone, load_backbone):
        with pytest.raises(UserError, match="is not the file that came with the project"):
            use(bundled)
    (tmp_path / "resnet14t.sha256").unlink()
    with pytest.raises(UserError, match="is not the file that came with the project"):
        load_backbone(bundled)
