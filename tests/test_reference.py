"""What documents the config is current."""

from pathlib import Path

import pytest

from hepml import reference

REPOSITORY = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("path", "made"),
    [
        ("workflow/schemas/config.schema.json", reference.schema),
        ("docs/configuration.md", reference.page),
    ],
)
def test_current(path, made):
    assert (REPOSITORY / path).read_text(encoding="utf-8") == made(), f"run `make schema` ({path})"


def test_every_group_of_keys_has_its_place():
    page = reference.page()
    for group in ("samples.<name>", "models.<name>.training", "data.schema.particles", "cuts[]"):
        assert f"## `{group}`" in page
    assert "| `luminosity` | number | **required** | [fb⁻¹]; > 0 |" in page
