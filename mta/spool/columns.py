"""What the tables are made of: how names are given, and the usual columns."""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, MetaData, Text, false

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def ms(name: str, **options: Any) -> Column[int]:
    """A moment."""
    options.setdefault("nullable", False)
    return Column(name, BigInteger, **options)


def text_column(name: str, **options: Any) -> Column[str]:
    """A text; "" where there is none."""
    return Column(name, Text, nullable=False, **options)


def flag(name: str) -> Column[bool]:
    """What most messages have not; a program of before the column need not know it."""
    return Column(name, Boolean, nullable=False, server_default=false())
