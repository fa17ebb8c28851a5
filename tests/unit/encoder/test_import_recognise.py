"""Recognition of every published checkpoint layout; incomplete and other checkpoints are rejected."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests import checkpoint_files
from vjepa_core.encoder.architecture import Architecture
from vjepa_core.encoder.checkpoints.family import CHOICES, family_from_file_name
from vjepa_core.encoder.checkpoints.read import Checkpoint, read
from vjepa_core.encoder.checkpoints.recognise import Recognised, recognise
from vjepa_core.errors import EncoderError


def recognise_file(path: Path, family: str | None = None) -> Recognised:
    return recognise(read(path), None if family is None else CHOICES[family])


@pytest.mark.parametrize(
    ("kind", "family", "licence", "ambiguous"),
    [
        ("v-jepa", "V-JEPA", "CC BY-NC 4.0", True),
        ("v-jepa-2", "V-JEPA 2", "MIT", True),
        ("v-jepa-2.1", "V-JEPA 2.1", "MIT", False),
        ("v-jepa-2.1-giant", "V-JEPA 2.1", "MIT", False),
        ("echojepa", "EchoJEPA", "MIT", True),
        ("hugging-face", "V-JEPA 2", "MIT", False),
        ("hugging-face-shards", "V-JEPA 2", "MIT", False),
    ],
)
def test_every_release_is_recognised(
    tmp_path: Path, kind: str, family: str, licence: str, ambiguous: bool
) -> None:
    found = recognise_file(checkpoint_files.write(kind, tmp_path))
    assert (found.family, found.licence, found.ambiguous) == (family, licence, ambiguous)
    assert found.architecture.name == checkpoint_files.ARCHITECTURES[kind]
    assert found.dtype == "float32"
    assert any(licence in line for line in found.assumed)
    weights = checkpoint_files.weights_of(kind)
    if kind != "v-jepa":  # the only release that uses its table
        weights.pop("pos_embed", None)
    assert found.parameters == sum(value.numel() for name, value in weights.items() if name != "pos_embed")
    assert found.weights.keys() == weights.keys()
    for name, value in weights.items():  # the moving average, not the other weights
        torch.testing.assert_close(torch.cat(found.weights[name]), value, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("width", "depth", "hidden", "form", "tokens", "file", "name"),
    [
        (768, 12, 3072, "vjepa21", 0, "vjepa2_1_vitb_dist_vitG_384.pt", "vit_base_patch16_384_t2"),
        (1024, 24, 4096, "vjepa21", 0, "vjepa2_1_vitl_dist_vitG_384.pt", "vit_large_patch16_384_t2"),
        (1408, 40, 6144, "vjepa21", 0, "vjepa2_1_vitg_384.pt", "vit_giant_patch16_384_t2"),
        (1664, 48, 8192, "vjepa21", 0, "vjepa2_1_vitG_384.pt", "vit_gigantic_patch16_384_t2"),
        (1024, 24, 4096, "vjepa1", 8 * 14**2, "vitl16.pth.tar", "vit_large_patch16_224_t2.vjepa1"),
        (1280, 32, 5120, "vjepa1", 8 * 24**2, "vith16-384.pth.tar", "vit_huge_patch16_384_t2.vjepa1"),
        (768, 12, 3072, "vjepa2", 0, "b.pt", "vit_base_patch16_256_t2.vjepa2"),
        (1024, 24, 4096, "vjepa2", 32 * 16**2, "vitl.pt", "vit_large_patch16_256_t2.vjepa2"),
        (1408, 40, 6144, "vjepa2", 32 * 24**2, "vitg-384.pt", "vit_giant_patch16_384_t2.vjepa2"),
    ],
)
def test_published_sizes(
    width: int, depth: int, hidden: int, form: checkpoint_files.Form, tokens: int, file: str, name: str
) -> None:
    weights = checkpoint_files.empty_weights(
        checkpoint_files.weight_shapes(width, depth, hidden, form, tokens)
    )
    if form == "vjepa1":
        weights["pos_embed"] = checkpoint_files.position_table(tokens, width)
    tensors = {f"ema_encoder.module.backbone.{key}": value for key, value in weights.items()}
    found = recognise(Checkpoint(file, (), "A file", tensors))
    assert found.architecture.name == name
    counted = sum(value.numel() for key, value in weights.items() if key != "pos_embed")
    assert found.parameters == counted


@pytest.mark.parametrize(("width", "depth", "heads"), [(1408, 40, [16, 22]), (1664, 48, [16, 26])])
def test_the_largest_sizes_of_the_two_releases_have_different_heads(
    width: int, depth: int, heads: list[int]
) -> None:
    weights = checkpoint_files.empty_weights(
        checkpoint_files.weight_shapes(width, depth, 4 * width, "vjepa1", 8 * 14**2)
    )
    found = [
        recognise(Checkpoint("g.pt", (), "A file", weights), CHOICES[family]).architecture
        for family in ("v-jepa", "v-jepa-2")
    ]
    assert [one.num_heads for one in found] == heads
    assert [Architecture.parse(one.name).num_heads for one in found] == heads


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("vitl16.pth.tar", "V-JEPA"),
        ("vith16-384.pth.tar", "V-JEPA"),
        ("jepa-latest.pth.tar", "V-JEPA"),
        ("vitl.pt", "V-JEPA 2"),
        ("vitg-384.pt", "V-JEPA 2"),
        ("vjepa2-ac-vitg.pt", "V-JEPA 2"),
        ("vjepa2_1_vitG_384.pt", "V-JEPA 2.1"),
        ("vitl-kinetics-pt220-an55.pt", "EchoJEPA"),
        ("EchoJEPA_L.pt", "EchoJEPA"),
        ("weights.pt", None),
        ("vitl16 (1).pth.tar", "V-JEPA"),
        ("vjepa1-ours.pt", "V-JEPA"),
        ("vitl (1).pt", "V-JEPA 2"),
        ("vjepa_vitg-384.pt", None),
        ("vitl160.pt", None),
        ("checkpoint.pth.tar", None),
    ],
)
def test_family_from_file_name(name: str, family: str | None) -> None:
    assert family_from_file_name(name) == family


def test_the_user_can_choose_the_family_of_ambiguous_weights(tmp_path: Path) -> None:
    path = checkpoint_files.write("v-jepa", tmp_path, "weights.pt")
    found = recognise_file(path)
    assert (found.family, found.ambiguous) == ("V-JEPA 2", True)
    assert any("--family v-jepa." in line for line in found.assumed)
    chosen = recognise_file(path, "v-jepa")
    assert (chosen.family, chosen.ambiguous) == ("V-JEPA", False)
    assert chosen.architecture.form == "vjepa1"
    assert not any("--family" in line for line in chosen.assumed)
    assert recognise_file(path, "echojepa").family == "EchoJEPA"
    assert recognise_file(path, "echojepa").architecture.form == "vjepa2"


@pytest.mark.parametrize(
    ("kind", "family", "reason"),
    [
        ("v-jepa-2.1", "v-jepa-2", "one norm for each output depth"),
        ("v-jepa-2", "v-jepa-2.1", "a single norm"),
        ("hugging-face", "v-jepa", "has no position table"),
    ],
)
def test_an_impossible_family_is_rejected(tmp_path: Path, kind: str, family: str, reason: str) -> None:
    with pytest.raises(EncoderError, match=reason):
        recognise_file(checkpoint_files.write(kind, tmp_path), family)


def test_a_position_table_for_other_clips_is_not_v_jepa(tmp_path: Path) -> None:
    def with_longer_table(weights: checkpoint_files.State) -> checkpoint_files.State:
        return weights | {"pos_embed": torch.zeros(1, 48, checkpoint_files.WIDTH)}

    path = checkpoint_files.write("v-jepa", tmp_path, change=with_longer_table)
    found = recognise_file(path)
    assert (found.family, found.ambiguous) == ("V-JEPA 2", False)
    assert any("table of 48 tokens" in line for line in found.recognised)
    with pytest.raises(EncoderError, match="its position table has 48 tokens, which is not 16 frames"):
        recognise_file(path, "v-jepa")


def test_the_unused_tables_of_published_v_jepa_2_are_not_v_jepa() -> None:
    for side in (16, 24):
        tokens = 32 * side**2
        weights = checkpoint_files.empty_weights(
            checkpoint_files.weight_shapes(
                checkpoint_files.WIDTH, checkpoint_files.DEPTH, checkpoint_files.HIDDEN, "vjepa2", tokens
            )
        )
        found = recognise(Checkpoint("vitl16.pth.tar", (), "A file", weights))
        assert (found.family, found.ambiguous) == ("V-JEPA 2", False)
        with pytest.raises(EncoderError, match=f"{tokens:,} tokens"):
            recognise(Checkpoint("vitl16.pth.tar", (), "A file", weights), CHOICES["v-jepa"])


def test_the_file_name_alone_does_not_identify_v_jepa(tmp_path: Path) -> None:
    def with_other_table(weights: checkpoint_files.State) -> checkpoint_files.State:
        return weights | {"pos_embed": weights["pos_embed"].flip(1)}

    path = checkpoint_files.write("v-jepa", tmp_path, change=with_other_table)
    found = recognise_file(path)
    assert (found.family, found.ambiguous) == ("V-JEPA 2", True)
    assert any("despite the file name" in line for line in found.assumed)
    chosen = recognise_file(path, "v-jepa")
    assert chosen.architecture.form == "vjepa1"
    assert any("the stored table is used" in line for line in chosen.assumed)
    torch.testing.assert_close(
        chosen.weights["pos_embed"][0], with_other_table(checkpoint_files.weights_of("v-jepa"))["pos_embed"]
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_sincos_table_is_recognised_in_every_dtype(tmp_path: Path, dtype: torch.dtype) -> None:
    assert recognise_file(checkpoint_files.write("v-jepa", tmp_path, dtype=dtype)).family == "V-JEPA"


@pytest.mark.parametrize(
    ("kind", "file", "rate"),
    [
        ("v-jepa", "vitl16.pth.tar", "V-JEPA was trained at about 7.5"),
        ("v-jepa-2", "vitl.pt", "V-JEPA 2 was trained at 4)"),
        ("v-jepa-2.1", "a.pt", "follow the heartbeat; for another rate"),
        ("echojepa", "echojepa.pt", "8 with ViT-L, at 24 with ViT-g"),
    ],
)
def test_the_assumed_rate_is_explained_with_that_of_the_training(
    tmp_path: Path, kind: str, file: str, rate: str
) -> None:
    found = recognise_file(checkpoint_files.write(kind, tmp_path, file))
    assert found.fps == 30
    (line,) = (line for line in found.assumed if "--fps" in line)
    assert line == found.rate_assumed
    assert rate in line


@pytest.mark.parametrize("wrap", ["{}", "encoder.{}", "model.{}", "module.{}", "state_dict.net.backbone.{}"])
def test_wrapped_state_dicts(tmp_path: Path, wrap: str) -> None:
    weights = {wrap.format(name): value for name, value in checkpoint_files.weights_of("v-jepa-2.1").items()}
    torch.save({"epoch": 3, **weights}, tmp_path / "a.pt")
    save_file(weights, tmp_path / "a.safetensors")
    for file in ("a.pt", "a.safetensors"):
        found = recognise_file(tmp_path / file)
        assert found.architecture.name == "vit_w128d4h2m256_patch16_224_t2"
        assert found.family == "V-JEPA 2.1"


def test_the_encoder_of_a_hugging_face_classifier_is_found(tmp_path: Path) -> None:
    weights = checkpoint_files.hugging_face_names(checkpoint_files.weights_of("hugging-face"))
    flat = {f"vjepa2.{name}": value for name, value in weights.items()}
    flat |= {"pooler.query_tokens": torch.zeros(1, 1, 8), "classifier.weight": torch.zeros(4, 8)}
    save_file(flat, tmp_path / "m.safetensors")
    found = recognise_file(tmp_path / "m.safetensors")
    assert found.architecture.name == "vit_w128d4h2m256_patch16_256_t2.vjepa2"
    assert any("left out: classifier, pooler" in line for line in found.recognised)


def save_own(folder: Path, kind: str = "v-jepa-2.1", /, **changes: object) -> Path:
    """Save an encoder of this program with its card; only the card states the number of heads."""
    path = folder / "run.safetensors"
    save_file(checkpoint_files.weights_of(kind), path)
    card = {
        "name": "run",
        "family": "V-JEPA 2.1" if kind == "v-jepa-2.1" else "V-JEPA 2",
        "architecture": "vit_w128d4h4m256_patch16_112_t2" + ("" if kind == "v-jepa-2.1" else ".vjepa2"),
        "parameters": 1,
        "licence": "Mine",
        "description": "",
        "trained": False,
        "checksum": hashlib.sha256(path.read_bytes()).hexdigest(),
        "file": path.name,
        "fps": 15.0,
        "depths": [1, 3],
    }
    path.with_suffix(".json").write_text(json.dumps(card | changes), encoding="utf-8")
    return path


def test_an_encoder_of_this_program_has_the_values_of_its_card(tmp_path: Path) -> None:
    found = recognise_file(save_own(tmp_path))
    assert found.architecture.name == "vit_w128d4h4m256_patch16_112_t2"
    assert (found.licence, found.fps, found.depths, found.trained) == ("Mine", 15.0, (1, 3), False)
    assert found.assumed == ()
    assert "V-JEPA 2.1, from the card in the same folder." in found.recognised


def test_another_family_for_a_file_of_this_program_changes_the_family_only(tmp_path: Path) -> None:
    path = save_own(tmp_path, "v-jepa-2")
    for option, family, form in (("echojepa", "EchoJEPA", "vjepa2"), ("v-jepa", "V-JEPA", "vjepa1")):
        found = recognise_file(path, option)
        assert (found.family, found.architecture.form, found.architecture.num_heads) == (family, form, 4)
        assert any("those of the card" in line for line in found.recognised)
        assert (found.licence, found.fps, found.depths, found.trained) == ("Mine", 15.0, (1, 3), False)
    with pytest.raises(EncoderError, match=r"is not a V-JEPA 2\.1"):
        recognise_file(path, "v-jepa-2.1")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"checksum": "0" * 64}, "is the card of other weights"),
        ({"file": "other.safetensors"}, "is the card of other weights"),
        ({"family": "V-JEPA 2"}, "do not match"),
        ({"family": "Mine"}, "do not match"),
        ({"architecture": "vit_w128d4h4m512_patch16_112_t2"}, "of another size"),
        ({"depths": [1, 4]}, "cannot be read as an encoder card"),
        ({"fps": -1}, "cannot be read as an encoder card"),
    ],
)
def test_a_card_of_another_file_is_ignored_with_a_message(
    tmp_path: Path, changes: dict[str, object], reason: str
) -> None:
    found = recognise_file(save_own(tmp_path, **changes))
    assert found.architecture.num_heads == 2
    assert (found.licence, found.fps, found.trained) == ("MIT", 30.0, True)
    (line,) = (line for line in found.assumed if "ignored" in line)
    assert reason in line


def test_a_file_that_is_not_a_card_is_ignored(tmp_path: Path) -> None:
    path = save_own(tmp_path)
    path.with_suffix(".json").write_text("{}", encoding="utf-8")
    assert recognise_file(path).architecture.num_heads == 2


def test_contradicting_config_json_and_card_are_rejected(tmp_path: Path) -> None:
    path = checkpoint_files.write("hugging-face", tmp_path)
    card = json.loads(save_own(tmp_path, "v-jepa-2").with_suffix(".json").read_text())
    card |= {"file": path.name, "checksum": hashlib.sha256(path.read_bytes()).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(
        EncoderError, match=r"2 attention heads according to its config\.json and 4 according to its card"
    ):
        recognise_file(path)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"hidden_act": "silu"}, "hidden_act"),
        ({"hidden_act": None}, "hidden_act"),
        ({"layer_norm_eps": 1e-5}, "layer_norm_eps"),
        ({"layer_norm_eps": "x"}, "layer_norm_eps"),
        ({"num_attention_heads": 3}, "do not divide"),
        ({"num_attention_heads": 0}, "do not divide"),
        ({"num_attention_heads": "2"}, "do not divide"),
    ],
)
def test_an_incompatible_config_json_is_rejected(
    tmp_path: Path, config: dict[str, object], reason: str
) -> None:
    path = checkpoint_files.write("hugging-face", tmp_path)
    path.with_name("config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(EncoderError, match=f"because its config.json has .*{reason}"):
        recognise_file(path)
    # It is ignored for weights with V-JEPA's names.
    recognise_file(checkpoint_files.write("v-jepa-2", tmp_path))


@pytest.mark.parametrize("wrap", ["{}", "encoder.{}", "model.{}"])
@pytest.mark.parametrize("kind", ["v-jepa-2", "v-jepa-2.1"])
def test_unused_weights_are_left_out_with_a_message(tmp_path: Path, wrap: str, kind: str) -> None:
    more = {"head.weight": torch.ones(3, 128), "classifier.bias": torch.ones(3), "predictor.x": torch.ones(3)}
    weights = checkpoint_files.weights_of(kind) | {"pos_embed": torch.ones(1, 8, 128)} | more
    torch.save({wrap.format(name): value for name, value in weights.items()}, tmp_path / "x.pt")
    found = recognise_file(tmp_path / "x.pt")
    assert any("left out: classifier, head, pos_embed, predictor." in line for line in found.recognised)


def without(*names: str) -> checkpoint_files.State:
    return {
        name: value for name, value in checkpoint_files.weights_of("v-jepa-2.1").items() if name not in names
    }


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (without("blocks.1.norm2.bias"), r"lacks blocks\.1\.norm2\.bias of an encoder"),
        (without("patch_embed_img.proj.bias", "norms_block.3.bias"), r"img\.proj\.bias and 1 more weights"),
        (without("img_mod_embed"), "lacks img_mod_embed"),
        (without("blocks.0.mlp.fc1.weight"), r"lacks blocks\.0\.mlp\.fc1\.weight"),
        (without() | {"blocks.0.ls1.gamma": torch.ones(3)}, r"has blocks\.0\.ls1\.gamma, which"),
        (without() | {"norm.weight": torch.ones(128)}, r"has norm\.weight, which"),
        (without() | {"blocks.0.norm1.weight": torch.ones(9)}, r"has blocks\.0\.norm1\.weight of the shape"),
        (
            without() | {"blocks.0.mlp.fc2.bias": torch.ones(128, dtype=torch.int8)},
            "int8, and quantised",
        ),
        (without() | {"blocks.0.mlp.fc2.bias": torch.ones(128).double()}, "float64: convert its weights to"),
        (
            without("img_mod_embed", "patch_embed_img.proj.weight", "patch_embed_img.proj.bias"),
            "trained without still images, since it lacks img_mod_embed and 2 more weights",
        ),
        (without() | {"cls_token": torch.ones(1, 1, 128)}, "class token"),
        (without() | {"blocks.0.attn.q_bias": torch.ones(128)}, "VideoMAE"),
        (without() | {"blocks.0.attn.qkv.lora_A.weight": torch.ones(4, 128)}, "LoRA"),
        (without() | {"patch_embed.proj.weight": torch.ones(128, 3, 16, 16)}, "still images"),
        (without() | {"patch_embed.proj.weight": torch.ones(128, 1, 2, 16, 16)}, "no encoder of the V-JEPA"),
        (without() | {"blocks.9999.norm1.bias": torch.ones(128)}, "larger than any"),
        ({"patch_embed.proj.weight": torch.ones(8, 3, 2, 16, 16)}, "it has 0 blocks"),
        (
            checkpoint_files.random_weights(checkpoint_files.weight_shapes(72, 4, 96, "vjepa21")),
            "do not contain the number of attention heads",
        ),
        (checkpoint_files.predictor(), "only the predictor"),
        ({"0.exp_avg": torch.ones(3), "0.exp_avg_sq": torch.ones(3)}, "state of an optimiser"),
        ({"conv1.weight": torch.ones(8, 3, 7, 7), "fc.bias": torch.ones(3)}, "convolutional network"),
        ({"classifiers.0.weight": torch.ones(3)}, "only a classifier"),
        ({"vision_model.embeddings.class_embedding": torch.ones(3)}, "class token"),
        ({"videomae.embeddings.patch_embeddings.projection.weight": torch.ones(3)}, "VideoMAE"),
        ({"base.q.lora_A.weight": torch.ones(3)}, "LoRA"),
        ({"w": torch.ones(3)}, r"contains 1 tensors \(w, \.\.\.\), but no encoder"),
    ],
)
def test_an_incomplete_or_other_model_is_rejected(
    tmp_path: Path, weights: checkpoint_files.State, message: str
) -> None:
    torch.save(weights, tmp_path / "x.pt")
    with pytest.raises(EncoderError, match=message) as caught:
        recognise_file(tmp_path / "x.pt")
    assert str(caught.value).startswith("x.pt ")
    assert "\n" not in str(caught.value)


def test_a_missing_key_projection_is_named(tmp_path: Path) -> None:
    weights = checkpoint_files.hugging_face_names(checkpoint_files.weights_of("hugging-face"))
    del weights["encoder.layer.2.attention.key.weight"]
    save_file(weights, tmp_path / "m.safetensors")
    with pytest.raises(EncoderError, match=r"lacks layer\.2\.attention\.key\.weight of"):
        recognise_file(tmp_path / "m.safetensors")
