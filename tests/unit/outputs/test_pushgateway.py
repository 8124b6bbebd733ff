"""What is stale at a Pushgateway, and what a push makes of the last successes that are there."""

from hypothesis import given
from hypothesis import strategies as st

from runner.outputs.pushgateway import Labels, Place, merged, stale

MINE = {"job": "sync_runner"}


def group(at: float, **labels: str) -> tuple[Labels, float]:
    return {"job": "sync_runner", **labels}, at


def test_what_nobody_renews_goes_and_what_somebody_renews_stays() -> None:
    kept = [
        group(0.0),  # our own, about to be renewed
        group(0.0, sync_type="health"),  # fails for long: its age is what the alert is about
        group(99.0, sync_type="workouts"),  # young
        group(99.0, instance="alive"),
        group(0.0, instance="alive", sync_type="health"),  # fails for long, on an instance that lives
        ({"job": "another"}, 0.0),
    ]
    gone = [
        group(0.0, sync_type="left"),
        group(0.0, instance="dead"),
        group(1.0, instance="dead", sync_type="health"),
    ]
    keep = [{**MINE, "sync_type": "health"}]
    assert stale([*kept, *gone], MINE, keep, before=50.0) == [labels for labels, _at in gone]


def test_an_empty_instance_label_is_no_instance() -> None:
    assert stale([({"job": "sync_runner", "instance": ""}, 0.0)], MINE, [], before=50.0) == []


_PLACES = st.tuples(st.sampled_from(["", "x", "y"]), st.sampled_from("ab"), st.floats(0, 100))


@given(st.lists(_PLACES, unique_by=lambda place: place[:2]))
def test_nothing_young_and_nothing_of_this_run_is_ever_deleted(seen: list[tuple[str, str, float]]) -> None:
    groups = [group(at, instance=instance, account=account, sync_type="s") for instance, account, at in seen]
    keep = [{**MINE, "account": "a", "sync_type": "s"}]
    for labels in stale(groups, MINE, keep, before=50.0):
        assert not (labels["instance"] == "" and labels["account"] == "a")
        assert all(at < 50.0 for other, at in groups if other == labels)


_SUCCESSES = st.dictionaries(st.tuples(st.sampled_from("abc"), st.sampled_from("xy")), st.floats(1, 100))


@given(
    _SUCCESSES,
    _SUCCESSES,
    st.sets(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"))),
    st.none() | st.floats(1, 100),
)
def test_a_last_success_never_goes_back_and_goes_only_where_it_is_stale_and_not_of_this_run(
    held: dict[Place, float], renewed: dict[Place, float], current: set[Place], before: float | None
) -> None:
    after = merged(held, renewed, current, before, 1e9)
    for place in [*held, *renewed]:
        newest = max(held.get(place, 0.0), renewed.get(place, 0.0))
        if place in current or before is None or newest >= before:
            assert after[place] == newest
        else:
            assert place not in after
    assert after.keys() <= held.keys() | renewed.keys()
