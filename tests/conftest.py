"""How tests are shared between processes: files stay together, and users of one experiment."""

import pytest


def pytest_collection_modifyitems(items):
    for item in items:
        group = "finished" if "finished" in item.fixturenames else item.nodeid.split("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))
