"""Kernels that were compiled, or a reason why these tests cannot run."""

import pytest

from hepml import kernels


@pytest.fixture(scope="session", autouse=True)
def _compiled():
    """Skip where there is no compiler."""
    description = kernels.description()
    if not description.startswith("compiled"):
        pytest.skip(f"kernels: {description}")
