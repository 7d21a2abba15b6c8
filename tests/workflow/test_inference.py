"""Ways to predict, measured on the validation cases of a finished experiment."""

import json

import pandas as pd

STUDY = {
    "models": ["tiny_3d"],
    "settings": {
        "not_mirrored": {"mirroring": False},
        "in_pairs": {"mirroring": False, "windows": 2, "channels_last": True},
        "rough": {"mirroring": False, "step_size": 1, "precision": "bfloat16"},
    },
}


def test_ways_to_predict_are_measured_and_some_proposed(project):
    project.configure(inference_study=STUDY)
    planned = project.planned()
    assert {"study_inference", "summarise_inference", "plot_inference"} <= planned
    assert planned.isdisjoint({"train_fold", "predict_fold", "ensemble_predictions"})
    project.snakemake("inference")
    folder = project.results / "hippocampus"
    found = pd.read_csv(folder / "inference.csv").set_index("setting")
    # Training mirrored nothing, so nnU-Net's settings mirror nothing either.
    assert set(found.index) == {"nnunet", *STUDY["settings"]}
    assert (found["n"] == 8).all()
    assert found.loc["nnunet", ["speed", "lost", "equal"]].tolist() == [1, 0, 1]
    assert found.loc["not_mirrored", "equal"] == 1
    assert found.loc["in_pairs", "equal"] > 0.999
    assert (found["seconds"] > 0).all()
    assert (found["peak_mb"] > 100).all()
    rows = pd.concat(pd.read_csv(folder / f"tiny_3d/inference/fold_{n}.csv") for n in (0, 1))
    # As the run itself predicts them, before post-processing.
    metrics = pd.read_csv(folder / "tiny_3d/metrics.csv")
    raw = metrics[(metrics["split"] == "val") & (metrics["stage"] == "raw")]
    dice = raw.assign(dice=raw["dice"].fillna(1)).groupby("case")["dice"].mean()
    own = rows[rows["setting"] == "not_mirrored"].set_index("case")["dice"]
    assert (own - dice.reindex(own.index)).abs().max() < 1e-5
    chosen = json.loads((folder / "inference.json").read_text())["tiny_3d"]
    assert chosen["exact"]["prediction"]["step_size"] in (0.5, 1)
    assert chosen["fast"]["speed"] > 0

    times = rows["seconds"].tolist()
    project.edit("config/config.yaml", lambda config: config["inference_study"].update(cases=1))
    project.snakemake("inference")
    again = pd.concat(pd.read_csv(folder / f"tiny_3d/inference/fold_{n}.csv") for n in (0, 1))
    assert set(again["seconds"]) <= set(times)  # measured before, and kept
    project.snakemake()
    assert "Ways to predict" in (project.results / "report.html").read_text()


def test_a_setting_that_cannot_be_is_refused_at_start(fresh):
    for settings, message in (
        ({"quick": {"mirror": False}}, "inference_study.settings.quick: prediction"),
        ({"nnunet": {}}, "the name 'nnunet' is taken"),
        ({"body": {"region": "body"}}, "the first channel of hippocampus is MRI"),
        ({"looked_up": {"region": "previous"}}, "no previous_model says where to look"),
    ):
        fresh.configure(inference_study={"settings": settings})
        assert message in fresh.snakemake("--dry-run", check=False)
