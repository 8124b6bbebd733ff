"""Detects the kind of file system of a directory."""
# Decisions 0132, 0201.

import os
from pathlib import Path

# How their names begin: of several machines, and in user space (FUSE), which may be either.
_KINDS = (
    "nfs",
    "cifs",
    "smb",
    "ceph",
    "9p",
    "afs",
    "lustre",
    "gluster",
    "beegfs",
    "gpfs",
    "orangefs",
    "ocfs2",
    "gfs2",
    "fuse",
    "virtiofs",
    "vboxsf",
)


def needs_rollback_journal(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> bool:
    """Whether the file is on a file system where SQLite's write-ahead log is not to be used.

    The log's index is shared memory, which other machines do not see (sqlite.org/wal.html); and where a FUSE file system
    hangs, the kernel keeps a process that has such a file mapped from ending. The rollback journal needs only the file
    system's own locks.
    """
    try:
        device = path.parent.stat().st_dev
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    number = f" {os.major(device)}:{os.minor(device)} "
    kinds = [line.rpartition(" - ")[2].split(" ")[0] for line in lines if number in line]
    return any(kind.startswith(_KINDS) for kind in kinds)
