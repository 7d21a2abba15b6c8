"""Where this workflow's own files lie: scripts, library, descriptions of data sets and models.

Jobs need them as files. If Snakemake reads the workflow from a server, as a module of another one
(`github(...)`), the state that was asked for is first written below the working folder.
"""

import sys
import tarfile
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from snakemake.sourcecache import HostingProviderFile

HERE = workflow.current_basedir
if isinstance(HERE, HostingProviderFile):
    COMMIT = HERE.hosted_repo.repo.commit(HERE.ref)
    SOURCE = Path(".snakemake/segflow/source", COMMIT.hexsha).absolute()
    if not SOURCE.exists():
        SOURCE.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=SOURCE.parent) as folder:
            with Path(folder, "files.tar").open("w+b") as packed:
                COMMIT.repo.archive(packed, treeish=COMMIT.hexsha)
                packed.seek(0)
                with tarfile.open(fileobj=packed) as archive:
                    archive.extractall(Path(folder, "files"), filter="data")
            with suppress(FileExistsError):  # another process was first
                Path(folder, "files").rename(SOURCE)
else:
    SOURCE = Path(HERE).parent

sys.path.insert(0, str(SOURCE / "workflow/scripts"))
