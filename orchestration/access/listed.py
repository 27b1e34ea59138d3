"""The parameters of lists of named things."""

from typing import Annotated, Final, get_args

from orchestration.catalog.listing import Order
from orchestration.records.fields import About

Part = Annotated[str, About("Only those with this part in their names, in upper or lower case.", max_length=63)]
ORDERS: Final[tuple[Order, ...]] = get_args(Order)
By = Annotated[Order, About("By name, backwards (`-name`), or newest first (`-created`).")]
