import pytest

from tests.fuzz import fuzz

pytest.importorskip("resource")                          # not on Windows


def test_damaged_inputs_are_errors_or_read_exactly_and_cost_no_more_than_undamaged_ones(codec, mnist, tmp_path):
    # The even cases are the second and third of each kind's ways of damage, the costly ones; the odd are damaged bytes.
    # None takes 0.4 s. A slow and busy machine may take ten times as long, and what is quadratic takes longer still.
    table, failures = fuzz(codec, mnist[1][:1001], tmp_path, first=2, cases=4, seconds=8)
    assert not failures, "\n".join(failures)
    assert all(outcomes["error"] for _, outcomes, *_ in table)
