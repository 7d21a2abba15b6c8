"""Library of the workflow: importable, tested, and unaware of Snakemake's jobs."""
