"""Which groups at a Pushgateway are stale."""

from hypothesis import given
from hypothesis import strategies as st

from runner.observe.pushgateway import Labels, stale

MINE = {"job": "sync_runner"}


def group(at: float, **labels: str) -> tuple[Labels, float]:
    return {"job": "sync_runner", **labels}, at


def test_what_nobody_renews_goes_and_what_somebody_renews_stays() -> None:
    kept = [
        group(0.0),  # our own, about to be renewed
        group(0.0, account="a", sync_type="health"),  # fails for long: its age is what the alert is about
        group(99.0, account="b", sync_type="health"),  # young
        group(99.0, instance="alive"),
        group(0.0, instance="alive", account="c", sync_type="health"),  # fails for long, on an instance that lives
        ({"job": "another"}, 0.0),
    ]
    gone = [
        group(0.0, account="left", sync_type="health"),
        group(0.0, instance="dead"),
        group(1.0, instance="dead", account="a", sync_type="health"),
    ]
    keep = [{**MINE, "account": "a", "sync_type": "health"}]
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
