"""Inputs that a kernel makes, or NumPy where there is none."""

import pytest

from hepml import kernels


@pytest.fixture(params=["kernel", "numpy"])
def made_by(request):
    """What holds for one holds for the other."""
    if request.param == "kernel":
        if not kernels.fit_for():
            pytest.skip(f"kernels: {kernels.description()}")
        yield
    else:
        with kernels.without_kernels():
            yield
