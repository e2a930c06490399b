"""Every scenario is a test or comes later with a reason, and every difference is listed with a reason."""

import pytest

from tests.acceptance.differences import (
    LATER,
    PAGE,
    SCENARIOS,
    differences_relied_on,
    listed_differences,
    module_texts,
    scenario_numbers,
    scenarios_tested,
)


def test_every_scenario_is_a_test_or_comes_later_and_never_both() -> None:
    if not SCENARIOS.is_file():
        pytest.skip("the list of scenarios lies beside the repository and is not in this checkout")
    wanted, tested = scenario_numbers(SCENARIOS.read_text(encoding="utf-8")), scenarios_tested(module_texts())
    assert len(wanted) > 40
    assert sorted(wanted - tested - set(LATER)) == []
    assert sorted(tested & set(LATER)) == []
    assert set(LATER) <= wanted
    assert all(LATER.values())


def test_every_difference_is_listed_with_its_reason_and_relied_on_by_a_test() -> None:
    listed, relied_on = listed_differences(PAGE.read_text(encoding="utf-8")), differences_relied_on(module_texts())
    assert len(listed) == len(set(listed))
    assert sorted(relied_on - set(listed)) == [], "tests rely on differences that docs/differences.md does not list"
    assert sorted(set(listed) - relied_on) == [], "docs/differences.md lists what no test relies on"


def test_the_reader_of_scenarios_sees_their_sections() -> None:
    page = "## A. Start\n1. **C start** - x\n2. **B limits** - y\n\n## G. Stores\n66. **C queries** - z\n"
    assert scenario_numbers(page) == {1, 2}
    assert scenario_numbers(page, "G") == {66}


def test_the_reader_of_tests_sees_their_numbers() -> None:
    text = "async def test_scenario_07_x(): ...\ndef test_scenario_41_y(): ...\ndef test_other(): ...\n"
    assert scenarios_tested([text]) == {7, 41}


def test_the_reader_of_differences_sees_what_is_listed_and_what_is_relied_on() -> None:
    page = "| id | difference | reason |\n|---|---|---|\n| a-b | x | y |\n| no-reason | x |  |\n"
    assert listed_differences(page) == ["a-b"]
    assert differences_relied_on(["@differs('a-b', 'c')\ndef test_x(): ...\n"]) == {"a-b", "c"}
