"""The cells that are measured once run, in small, and a missed bound is said."""

from pathlib import Path

import pytest

from tests.bench.figures import Figure, quantile
from tests.bench.perdure_subject import SQLITE
from tests.bench.single import CELLS, SMOKE, measure


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", CELLS)
async def test_a_cell_gives_its_figures(name: str, tmp_path: Path) -> None:
    figures = await measure([name], SQLITE, SMOKE, tmp_path)
    assert figures
    assert all(figure.value > 0 or figure.at_most == 0 for figure in figures)
    assert len({figure.name for figure in figures}) == len(figures)
    assert [figure for figure in figures if figure.name == "W3 ended early" and figure.value] == []


def test_a_missed_bound_is_said() -> None:
    assert "MISSED: at most 5" in Figure("restart", 6.0, "s", at_most=5.0).line()
    assert "held" in Figure("restart", 5.0, "s", at_most=5.0).line()
    assert not Figure("restart", 6.0, "s", at_most=5.0).held


def test_quantiles_are_nearest_rank() -> None:
    values = [float(n) for n in range(1, 101)]
    assert (quantile(values, 0.5), quantile(values, 0.99), quantile([3.0], 0.99)) == (50.0, 99.0, 3.0)
