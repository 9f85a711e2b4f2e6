"""What the documentation says of the code."""

from pathlib import Path

from graphids.core.captures.formats.text_formats import TEXT_FORMATS
from graphids.core.graphs.features import EDGE_FEATURES, NODE_FEATURES

DATA = (Path(__file__).parent.parent / "docs" / "data.md").read_text()


def test_every_feature_is_documented_with_its_unit() -> None:
    for column in (*NODE_FEATURES, *EDGE_FEATURES):
        if column.name.startswith("byte_"):
            statistic = column.name.split("_", 2)[2]
            assert f"| `byte_0_{statistic}` ... `byte_7_{statistic}` | {column.unit} |" in DATA
        else:
            assert f"| `{column.name}` | {column.unit} | {column.meaning} |" in DATA


def test_every_text_format_is_documented() -> None:
    for text_format in TEXT_FORMATS:
        words = text_format.name.removesuffix(" csv").removesuffix(" log").removesuffix(" trace")
        assert words in DATA, text_format.name
