from segflow.evaluation.flow import case_flow


def test_cases_are_counted_at_each_step(make_case):
    cases = [
        make_case("a", patient="x", group="x"),
        make_case("b", patient="x", group="x"),
        make_case("c", patient="y", group="x"),
        make_case("d"),
        make_case("e", split="test"),
        make_case("f", split="test", label=""),
    ]
    excluded = {"g": "no contrast", "h": "implant", "i": "no contrast"}
    found = case_flow(cases, excluded, {"val": {"a", "b", "c"}, "test": {"e"}})
    assert found.fillna({"reason": "", "n_patients": -1, "n_groups": -1}).to_numpy().tolist() == [
        ["found", 9, -1, -1, ""],
        ["excluded", 2, -1, -1, "no contrast"],
        ["excluded", 1, -1, -1, "implant"],
        ["converted", 6, 5, 4, ""],
        ["training", 4, 3, 2, ""],
        ["cross-validated", 3, 2, 1, ""],
        ["test", 2, 2, 2, ""],
        ["test without a reference", 1, 1, 1, ""],
        ["tested", 1, 1, 1, ""],
    ]


def test_nothing_needs_to_be_excluded_or_tested(make_case):
    found = case_flow([make_case("a")], {}, {"val": {"a"}}).set_index("step")["n_cases"]
    assert (found["found"], found["cross-validated"], found["tested"]) == (1, 1, 0)
    assert "excluded" not in found
