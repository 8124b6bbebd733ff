"""Which accounts a process works on: lists, folders, shards."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st

from runner.engine.fleet import Shard, accounts, configured, shard, shard_of
from runner.errors import UsageError
from runner.settings import Settings, load

BASE = {"base_url": "https://x.example", "syncs": ["health"]}
NAMES = st.lists(st.text(min_size=1), unique=True, max_size=30)


def settings(**more: object) -> Settings:
    return load({**BASE, **more}).settings


def listed(*names: str) -> list[dict[str, str]]:
    return [{"name": name, "secrets_dir": f"/run/{number}"} for number, name in enumerate(names)]


@given(NAMES, st.integers(1, 20))
def test_every_account_is_in_exactly_one_shard(names: list[str], count: int) -> None:
    shards = [{name for name in names if Shard(index, count).holds(name)} for index in range(count)]
    assert sum(map(len, shards)) == len(names)
    assert set().union(*shards) == set(names)


@trying(deadline=None)  # the first example loads the settings
@given(st.text(min_size=1), NAMES, st.integers(1, 20))
def test_an_account_keeps_its_shard_whatever_other_accounts_there_are(name: str, others: list[str], count: int) -> None:
    everybody = settings(accounts=listed(*dict.fromkeys([*others, name])), shard=f"{shard_of(name, count)}/{count}")
    assert name in {one.name for one in accounts(everybody, {})}


@given(st.text(min_size=1), st.integers(1, 20))
def test_one_more_shard_takes_accounts_and_moves_none_between_the_others(name: str, count: int) -> None:
    assert shard_of(name, count + 1) in (shard_of(name, count), count)


def test_shards_are_even_and_the_same_on_every_machine() -> None:
    found = [shard_of(f"user-{number:04}", 4) for number in range(1000)]
    assert [found.count(index) for index in range(4)] == [260, 252, 234, 254]


def test_a_pod_of_an_indexed_job_takes_the_shard_of_its_index() -> None:
    assert shard(settings(shards=4), {"JOB_COMPLETION_INDEX": "3"}) == Shard(3, 4)
    assert shard(settings(), {"JOB_COMPLETION_INDEX": "3"}) is None
    assert shard(settings(shards=4, shard="0/2"), {"JOB_COMPLETION_INDEX": "3"}) == Shard(0, 2)


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, "set --shard"),
        ({"JOB_COMPLETION_INDEX": "9" * 5000}, "set --shard"),
        ({"JOB_COMPLETION_INDEX": "²"}, "set --shard"),
        ({"JOB_COMPLETION_INDEX": "4"}, "not a shard of 4 (0 to 3)"),
    ],
)
def test_a_pod_that_can_not_tell_its_shard_says_what_to_do(environment: dict[str, str], told: str) -> None:
    with pytest.raises(UsageError) as caught:
        shard(settings(shards=4), environment)
    assert told in str(caught.value)


@pytest.mark.parametrize("text", ["4/4", "1", "1/", "/4", "-1/4", "1/0", "0/1001", "a/b", ""])
def test_what_is_no_shard_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(
        UsageError, match="shard: give the part and how many there are, such as 0/4; the last of four is 3/4"
    ):
        settings(shard=text)


def test_each_folder_is_an_account_whether_it_is_linked_or_not(tmp_path: Path) -> None:
    """Kubernetes mounts folders as links into `..data`, itself a link to a dated directory."""
    (tmp_path / "..2026_01_31_06_00_00.1" / "berta").mkdir(parents=True)
    (tmp_path / "..data").symlink_to("..2026_01_31_06_00_00.1")
    (tmp_path / "berta").symlink_to("..data/berta")
    (tmp_path / "anton").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "README").touch()
    found = configured(settings(accounts_dir=str(tmp_path)))
    assert [(one.name, one.secrets_dir) for one in found] == [
        ("anton", tmp_path / "anton"),
        ("berta", tmp_path / "berta"),
    ]
    assert not any(one.use_environment for one in found)
    assert [sync.type for sync in found[0].syncs] == ["health"]


def test_accounts_that_can_not_be_told_apart_or_found_are_errors(tmp_path: Path) -> None:
    for wrong, told in (
        ({"accounts": listed("a", "b", "a")}, "accounts: the name `a` is used twice"),
        ({"accounts": listed("a"), "accounts_dir": str(tmp_path)}, "accounts: `accounts_dir` is also set"),
        ({"accounts_dir": str(tmp_path)}, f"accounts_dir: {tmp_path}: has no account folder"),
        ({"accounts_dir": str(tmp_path / "none")}, "none: cannot be read (No such file or directory)"),
    ):
        with pytest.raises(UsageError) as caught:
            configured(settings(**wrong))
        assert told in str(caught.value)
