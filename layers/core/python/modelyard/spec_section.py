"""What every table of a TOML file is made of: its base class, and the values that several of them hold."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from modelyard import spec_rules


class Section(BaseModel):
    """One table of a TOML file: immutable, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


PathInside = Annotated[str, AfterValidator(spec_rules.path_inside)]
Column = Annotated[str, AfterValidator(spec_rules.column)]
KeyPart = Annotated[str, AfterValidator(spec_rules.key_part)]
Setting = Annotated[float | int | bool | str, BeforeValidator(spec_rules.setting)]
