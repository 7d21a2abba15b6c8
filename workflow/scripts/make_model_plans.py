"""Make the plans of one model from its base plans (rule `make_model_plans`)."""

from pathlib import Path

from segflow.files.content import file_sha256, read_own_json, write_json
from segflow.jobs.logs import logged
from segflow.models.model_plans import make_model_plans


def main(
    base: Path,
    pretrained: Path | None,
    name: str,
    model: dict,
    seed: int,
    plans: Path,
    nnunet_plans: Path,
) -> None:
    """Write the plans of the model `name` to `plans` and where nnU-Net expects them."""
    sha256 = file_sha256(pretrained) if pretrained else None
    made = make_model_plans(read_own_json(base), name, model, seed, sha256)
    write_json(nnunet_plans, made)
    write_json(plans, made)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        nnunet_folder = Path(snakemake.params.results, "nnUNet_preprocessed")
        model_name = snakemake.wildcards.model
        main(
            base=Path(snakemake.input.plans),
            pretrained=Path(snakemake.input.pretrained) if snakemake.input.pretrained else None,
            name=model_name,
            model=snakemake.params.model,
            seed=snakemake.params.seed,
            plans=Path(snakemake.output.plans),
            nnunet_plans=nnunet_folder / snakemake.params.nnunet_name / f"{model_name}.json",
        )
