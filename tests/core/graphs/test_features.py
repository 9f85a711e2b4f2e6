import numpy as np
import pytest

from graphids.core.graphs.features import (
    EDGE_FEATURES,
    EDGE_ROW,
    NODE_FEATURES,
    NODE_ROW,
    Column,
    EdgeRow,
    NodeRow,
    column_names,
)


@pytest.mark.parametrize(("row", "features"), [(NODE_ROW, NODE_FEATURES), (EDGE_ROW, EDGE_FEATURES)])
def test_a_records_fields_are_the_columns_in_their_order(row: np.dtype[np.void], features: tuple[Column, ...]) -> None:
    numbered = np.arange(len(features), dtype=np.float32).view(row)[0]

    for index, name in enumerate(column_names(features)):
        feature, byte = name, None
        if name.startswith("byte_"):
            _, digit, statistic = name.split("_", 2)
            feature, byte = f"byte_{statistic}", int(digit)
        assert numbered[feature][() if byte is None else byte] == index, name


@pytest.mark.parametrize(("row", "annotated"), [(NODE_ROW, NodeRow), (EDGE_ROW, EdgeRow)])
def test_compiled_code_sees_every_field_of_a_record(row: np.dtype[np.void], annotated: type) -> None:
    assert tuple(annotated.__annotations__) == row.names
