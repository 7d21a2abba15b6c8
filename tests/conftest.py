"""How tests are shared between processes."""

from xdist.scheduler import LoadScopeScheduling

# Files whose tests use the same experiment, or the same preparation of one, which takes minutes.
TOGETHER = [
    {f"tests/workflow/test_{name}.py" for name in names}
    for names in (("experiment", "reruns", "sharing", "status"), ("training", "devices"))
]


class Scheduling(LoadScopeScheduling):
    """The tests of a file run in one process, one after the other."""

    def _split_scope(self, nodeid):
        file = nodeid.split("::")[0]
        return next((min(files) for files in TOGETHER if file in files), file)


def pytest_xdist_make_scheduler(config, log):
    return Scheduling(config, log)
