# Segflow with its locked environment; docs/clusters.md says how to run it.
FROM python:3.12-slim

# torch.compile needs a C compiler when training starts.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/segflow
COPY envs envs
# As `make environment` does it: uv in the locked version, which checks every hash.
RUN pip install --no-cache-dir "$(sed -n 's/^\(uv==[^ ;]*\).*/\1/p' envs/requirements.txt)" \
    && uv pip sync --system --no-cache --compile-bytecode --require-hashes envs/requirements.txt

COPY Snakefile CITATION.cff LICENSE README.md ./
COPY config config
COPY profiles profiles
COPY resources resources
COPY rules rules
COPY workflow workflow
RUN python -m compileall -q workflow/scripts

# Any user may run the image; caches need a home that he may write to.
ENV HOME=/tmp
WORKDIR /data
ENTRYPOINT ["snakemake", "--snakefile", "/opt/segflow/Snakefile"]
