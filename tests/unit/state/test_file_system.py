"""Where the ledger's write-ahead log is not used: on file systems of several machines or in user space, by the list of mounts."""

import os
from pathlib import Path

import pytest

from runner.state.file_system import needs_rollback_journal


@pytest.mark.parametrize(
    ("kind", "needed"),
    [("ext4", False), ("overlay", False), ("tmpfs", False), ("nfs", True), ("nfs4", True), ("cifs", True), ("smb3", True),
     ("ceph", True), ("fuse.glusterfs", True), ("fuse.sshfs", True), ("fuse", True), ("fuse.fuse-overlayfs", True),
     ("fuse.rclone", True), ("virtiofs", True), ("9p", True)],
)  # fmt: skip
def test_a_file_system_of_several_machines_or_in_user_space_is_known_by_its_kind(
    tmp_path: Path, kind: str, needed: bool
) -> None:
    device = tmp_path.stat().st_dev
    mine, other = f"{os.major(device)}:{os.minor(device)}", "0:9999"
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        f"36 35 {other} / /elsewhere rw,noatime shared:1 - nfs4 server:/export rw\n"
        f"37 35 {mine} / {tmp_path} rw,noatime shared:2 - {kind} server:/export rw\n"
    )
    assert needs_rollback_journal(tmp_path / "ledger.sqlite3", mounts) is needed


def test_without_a_list_of_mounts_the_file_system_counts_as_local(tmp_path: Path) -> None:
    assert not needs_rollback_journal(tmp_path / "ledger.sqlite3", tmp_path / "nowhere")
