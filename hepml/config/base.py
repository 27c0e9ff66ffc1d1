"""What all settings share: their base, and types of values."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

# YAML 1.1 reads 1e-3 as text, so numbers are accepted as text too
Real = Annotated[float, Field(strict=False, allow_inf_nan=False)]
# names become files and wildcards: no dots, slashes or blanks
Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
# a number alone is an expression too
Expression = Annotated[str, Field(min_length=1, strict=False, coerce_numbers_to_str=True)]
# columns of every sample and of its scores
RESERVED = {"event_id", "fold", "label", "weight", "particles", "offsets"}
RESERVED |= {"logit", "llr", "llr_err", "llr_train"}


class Settings(BaseModel):
    """Base of all settings: unknown keys, wrong types and later changes are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True)
