"""How tests are shared between processes."""

from xdist.scheduler import LoadScopeScheduling

# These use the same experiment, which takes minutes.
TOGETHER = [f"tests/workflow/test_{name}.py" for name in ("experiment", "reruns", "status")]


class Scheduling(LoadScopeScheduling):
    """The tests of a file run in one process, one after the other."""

    def _split_scope(self, nodeid):
        file = nodeid.split("::")[0]
        return TOGETHER[0] if file in TOGETHER else file


def pytest_xdist_make_scheduler(config, log):
    return Scheduling(config, log)
