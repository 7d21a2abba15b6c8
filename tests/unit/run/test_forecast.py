import pytest

from segflow.files.cases import Case
from segflow.run.configuration import Run
from segflow.run.forecast import forecast, training_hours
from show_machine import main


def case(name, split, shape="10 100 100"):
    texts = ["", "image.nii.gz", "label.nii.gz", "a", "b", "c"]
    return Case(name, name, name, split, *texts, shape, "1 1 1")


def test_hours_files_and_disk_by_hand():
    run = Run({"datasets": ["kits19"], "models": ["nnunet_3d_fullres", "resenc_l"], "n_folds": 5})
    found = forecast(run, "kits19", [case("a", "train"), case("b", "test")])
    assert found.trainings == 10
    assert found.hours == 5 * 9 + 5 * 35
    # One channel, shared data. Training: 1 + 3 + 4 + 1 and 2 of each model, 10 of each predictor.
    # Test: 1 + 3 + 4, 2 of each of ten networks, 8 of each predictor. Both: 2 of the viewer.
    assert found.files == (9 + 4 + 20 + 2) + (8 + 20 + 16 + 2)
    # 100,000 voxels: 2 bytes converted, 3.5 bytes of each preprocessing; label maps are smallest.
    images, maps = 100_000 * (2 + 3.5), 2 * 2 * 4096
    low = 2 * (images + maps) + 12 * 4096
    high = 2 * (images + maps) + 12 * 60_000
    assert found.gigabytes == pytest.approx((low / 1e9, high / 1e9))


def test_what_nobody_measured_is_not_told():
    run = Run({"datasets": ["hippocampus"], "models": ["unet_3d_quick"], "n_folds": 2})
    found = forecast(run, "hippocampus", None)
    assert (found.trainings, found.hours, found.files, found.gigabytes) == (2, None, None, None)
    assert training_hours(run.models["unet_3d_quick"]) is None


def test_shorter_trainings_take_less():
    run = Run({"datasets": ["kits19"], "models": ["nnunet_3d_fullres"]})
    model = run.models["nnunet_3d_fullres"]
    shorter = {**model, "training": {**model["training"], "epochs": 100}}
    assert training_hours(shorter) == pytest.approx(0.9)


def test_the_machine_is_shown_with_what_a_run_takes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    main([])
    text = capsys.readouterr().out
    for said in ("memory", "nnunetv2", "hippocampus", "known after `snakemake convert`", "SLURM"):
        assert said in text


def test_a_wrong_configuration_is_one_line(tmp_path):
    (tmp_path / "wrong.yaml").write_text("datasets: [nothing]\nmodels: []\n")
    with pytest.raises(SystemExit, match="unknown name 'nothing'"):
        main(["--configfile", str(tmp_path / "wrong.yaml")])
