"""Models from elsewhere that try to run code, or to write where they should not."""

import json
import os
import pickle
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from segflow.models.checkpoints import BEST, find_start, read_checkpoint
from segflow.models.prediction import load_predictor
from segflow.models.trust import check_architecture, load_checkpoint, unpack_archive
from segflow.predictors.archives import install
from segflow.run.descriptions import load_descriptions

MODEL = "Dataset001_x/nnUNetTrainer__nnUNetPlans__2d"
NETWORK = "dynamic_network_architectures.architectures.unet.PlainConvUNet"
PLANS = {"configurations": {"2d": {"architecture": {"network_class_name": NETWORK}}}}
DATASET = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "x": 1}}


class Evil:
    """Runs code when it is unpickled."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def marker(tmp_path):
    """Return a folder that exists if the code of a hostile file has run."""
    path = tmp_path / "it ran"
    yield path
    assert not path.exists()


def save_evil(path, marker, legacy):
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {"network_weights": {"w": torch.zeros(1)}, "segflow": Evil(marker)}
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)


@pytest.fixture(params=[False, True], ids=["zip", "legacy"])
def evil_checkpoint(request, tmp_path, marker):
    path = tmp_path / "results" / "fold_0" / BEST
    save_evil(path, marker, request.param)
    return path


def test_a_checkpoint_with_code_is_not_loaded(evil_checkpoint):
    with pytest.raises((ValueError, RuntimeError), match="checkpoint_best"):
        load_checkpoint(evil_checkpoint)


def test_training_does_not_go_on_from_a_checkpoint_with_code(evil_checkpoint, capsys):
    assert read_checkpoint(evil_checkpoint) is None
    assert find_start(evil_checkpoint.parent, {}) is None
    assert "not a usable checkpoint" in capsys.readouterr().out


def test_prediction_refuses_a_checkpoint_with_code(tmp_path, evil_checkpoint):
    from segflow.files.content import file_sha256

    manifest = tmp_path / "training.json"
    manifest.write_text(json.dumps({"checkpoints": {"best": file_sha256(evil_checkpoint)}}))
    plans = {"segflow": {"prediction": {"checkpoint": "best"}}}
    with pytest.raises((ValueError, RuntimeError), match="checkpoint_best"):
        load_predictor(evil_checkpoint.parents[1], {0: manifest}, plans, torch.device("cpu"))


def test_a_bare_pickle_is_not_loaded(tmp_path, marker):
    path = tmp_path / "checkpoint.pth"
    path.write_bytes(pickle.dumps(Evil(marker), protocol=2))
    with pytest.raises(ValueError, match=r"checkpoint\.pth: .* could run code; it is not loaded"):
        load_checkpoint(path)


def test_what_nnunet_keeps_in_checkpoints_is_loaded(tmp_path):
    state = {
        "network_weights": {"w": torch.arange(3.0)},
        "_best_ema": np.float64(0.5),
        "logging": {"dice": [np.float32(0.25)], "n": np.arange(2)},
        "init_args": {"device": torch.device("cpu"), "fold": 0},
        "optimizer_state": {"momentum": 0.99, "state": None},
    }
    torch.save(state, tmp_path / "checkpoint.pth")
    found = load_checkpoint(tmp_path / "checkpoint.pth")
    assert found["_best_ema"] == 0.5
    assert found["logging"]["dice"] == [0.25]
    assert torch.equal(found["network_weights"]["w"], torch.arange(3.0))


@pytest.mark.parametrize(
    "architecture",
    [
        {"network_class_name": "subprocess.Popen"},
        {"network_class_name": "torch.hub.load"},
        {"network_class_name": "torch.nnx.Evil"},
        {
            "network_class_name": NETWORK,
            "arch_kwargs": {"conv_op": "os.system"},
            "_kw_requires_import": ["conv_op"],
        },
        {"network_class_name": ["os.system"]},
    ],
)
def test_plans_may_name_nothing_but_networks(architecture):
    plans = {"configurations": {"2d": {"architecture": architecture}}}
    with pytest.raises(ValueError, match=r"plans\.json: configuration 2d: the architecture names"):
        check_architecture(plans, Path("plans.json"))


def test_plans_of_nnunet_are_let_through():
    architecture = {
        "network_class_name": NETWORK,
        "arch_kwargs": {"conv_op": "torch.nn.modules.conv.Conv3d", "dropout_op": None},
        "_kw_requires_import": ["conv_op", "dropout_op"],
    }
    configurations = {"2d": {"architecture": architecture}, "lowres": {"inherits_from": "2d"}}
    check_architecture({"configurations": configurations}, Path("plans.json"))


def link(name):
    member = zipfile.ZipInfo(name)
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


def archive_of(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return path


@pytest.mark.parametrize(
    ("member", "said"),
    [
        ("../evil.json", r"'\.\./evil\.json' would leave its folder"),
        ("a/../../evil.json", "would leave its folder"),
        ("/tmp/evil.json", "would leave its folder"),
        ("..\\evil.json", "would leave its folder"),
        (link("a/plans.json"), "'a/plans.json' is a link"),
    ],
)
def test_an_archive_writes_nowhere_but_into_its_folder(tmp_path, member, said):
    archive = archive_of(tmp_path / "model.zip", {"a/fine.json": "{}", member: "/etc/hosts"})
    with pytest.raises(ValueError, match=rf"model\.zip: .*{said}"):
        unpack_archive(archive, tmp_path / "target", lambda name: True)
    assert [path.name for path in tmp_path.iterdir()] == ["model.zip"]


def test_an_archive_that_is_torn_is_named(tmp_path):
    archive = archive_of(tmp_path / "model.zip", {"a/fine.json": "x" * 1000})
    archive.write_bytes(archive.read_bytes()[:700])
    with pytest.raises(ValueError, match=r"model\.zip: not a zip archive that can be read"):
        unpack_archive(archive, tmp_path / "target", lambda name: True)


def test_an_archive_that_does_not_fit_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    archive = archive_of(tmp_path / "model.zip", {"a/large.json": "x" * 5_000_000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Disk", (), {"free": 1e6}))
    with pytest.raises(ValueError, match=r"holds 5 MB, but .* has 1 MB"):
        unpack_archive(archive, tmp_path / "target", lambda name: True)


def test_only_what_is_wanted_is_unpacked(tmp_path):
    archive = archive_of(tmp_path / "model.zip", {"a/plans.json": "{}", "a/evil.py": "boom"})
    found = unpack_archive(archive, tmp_path / "target", lambda name: name.endswith(".json"))
    assert found == [tmp_path / "target/a/plans.json"]
    assert not (tmp_path / "target/a/evil.py").exists()


def pack(tmp_path, checkpoint=b"", plans=PLANS, model=MODEL, **others):
    members = {
        f"{model}/plans.json": json.dumps(plans),
        f"{model}/dataset.json": json.dumps(DATASET),
        f"{model}/fold_0/checkpoint_final.pth": checkpoint,
    }
    members = {name: content for name, content in members.items() if content}
    return archive_of(tmp_path / "model.zip", members | others)


def test_a_model_with_code_in_its_checkpoint_is_not_installed(tmp_path, marker):
    save_evil(tmp_path / "evil.pth", marker, legacy=False)
    archive = pack(tmp_path, (tmp_path / "evil.pth").read_bytes())
    with pytest.raises(ValueError, match=r"checkpoint_final\.pth: .* could run code"):
        install(archive, "", {}, tmp_path / "results")


@pytest.mark.parametrize(
    ("changes", "configuration", "said"),
    [
        ({}, "", "2d has no checkpoint_final.pth"),
        ({"checkpoint": b"x"}, "3d_fullres", r"one of its models .*__2d'\], found '3d_fullres'"),
        ({"checkpoint": b"x", "model": "a/b"}, "", r"one of its models \[\], found ''"),
        (
            {"checkpoint": b"x", "model": MODEL.replace("2d", "3d_cascade_fullres"), "plans": {
                "configurations": {"3d_cascade_fullres": {"previous_stage": "3d_lowres"}}
            }},
            "",
            "is the second stage of a cascade",
        ),
        (
            {"checkpoint": b"x", "plans": {"configurations": {"2d": {"architecture": {
                "network_class_name": "os.system"}}}}},
            "",
            "the architecture names 'os.system'",
        ),
    ],
)  # fmt: skip
def test_an_archive_that_is_no_model_is_refused(tmp_path, changes, configuration, said):
    with pytest.raises(ValueError, match=said):
        install(pack(tmp_path, **changes), configuration, {}, tmp_path / "results")


@pytest.mark.parametrize(
    ("others", "folds"), [([], (0,)), (["1", "all"], (0, 1)), (["10", "2"], (0, 10, 2))]
)
def test_the_folds_of_an_archive_are_those_that_nnunet_takes(tmp_path, others, folds):
    torch.save({"network_weights": {}}, tmp_path / "checkpoint.pth")
    checkpoint = (tmp_path / "checkpoint.pth").read_bytes()
    more = {f"{MODEL}/fold_{fold}/checkpoint_final.pth": checkpoint for fold in others}
    archive = pack(tmp_path, checkpoint, plans={"configurations": {"2d": {}}}, **more)
    assert install(archive, "", {}, tmp_path / "results").folds == {"foreign": [folds]}


@pytest.mark.parametrize("kind", ["dataset", "model"])
def test_yaml_makes_no_objects(tmp_path, monkeypatch, marker, kind):
    folder = tmp_path / "config" / f"{kind}s"
    folder.mkdir(parents=True)
    (folder / "evil.yaml").write_text(f"title: !!python/object/apply:os.mkdir ['{marker}']\n")
    monkeypatch.setattr("segflow.run.descriptions.PROJECT", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"evil\.yaml: not valid YAML"):
        load_descriptions(kind)
