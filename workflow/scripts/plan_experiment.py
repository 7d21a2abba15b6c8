"""Make nnU-Net's base plans (rule `plan_experiment`)."""

from pathlib import Path

from segflow.files.content import write_json
from segflow.jobs.logs import logged
from segflow.models.base_plans import plan_experiment
from segflow.models.nnunet import use_folders


def main(results: Path, nnunet_name: str, planning: dict, plans: Path) -> None:
    """Write the plans where nnU-Net expects them, and to `plans`."""
    use_folders(results)
    stored = results / "nnUNet_preprocessed" / nnunet_name / plans.name
    stored.unlink(missing_ok=True)  # nnU-Net would keep configurations of earlier plans
    made = plan_experiment(nnunet_name, plans.stem, planning)
    write_json(stored, made)
    write_json(plans, made)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(
            results=Path(snakemake.params.results),
            nnunet_name=snakemake.params.nnunet_name,
            planning=snakemake.params.planning,
            plans=Path(snakemake.output.plans),
        )
