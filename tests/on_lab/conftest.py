"""One virtual switch for each file of tests, and a skip with its reason where it cannot be had."""

import os
import shutil

import pytest

from lab import BIN, Lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A switch with a daemon, and nothing running when the module ends."""
    if os.geteuid() != 0:
        pytest.skip("the virtual switch makes network namespaces and loads BPF programs: run as root")
    for needed in (BIN / "telegen-lab", BIN / "telegen-sonic"):
        if not needed.exists():
            pytest.fail("{} is not built; `cargo build`, or TELEGEN_BIN_DIR".format(needed))
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server")
    with Lab(tmp_path_factory.mktemp("switch")) as switch:
        yield switch


@pytest.fixture(autouse=True)
def no_jobs_left(request):
    """Every test begins and ends without jobs, and without what their sessions had in the ASIC: nobody else has any."""
    yield
    if "lab" in request.fixturenames:
        switch = request.getfixturevalue("lab")
        switch.run(BIN / "telegen-sonic", "stop", "--all", check=False)
        assert switch.jobs() == []
        assert switch.mirror_objects() == []
