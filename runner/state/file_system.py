"""Detects the kind of file system of a directory."""
# Decision 0132.

import os
from pathlib import Path

_NETWORK = (
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
)
_FUSE = ("fuse.sshfs", "fuse.s3fs", "fuse.juicefs", "fuse.mountpoint-s3", "fuse.gcsfuse", "fuse.blobfuse2")


def on_network(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> bool:
    """Whether the file is on a network file system, where SQLite's write-ahead log does not work.

    Its index is shared memory, which other machines do not see (sqlite.org/wal.html). The rollback journal that is used
    there instead needs only the file system's own locks.
    """
    try:
        device = path.parent.stat().st_dev
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    number = f" {os.major(device)}:{os.minor(device)} "
    kinds = [line.rpartition(" - ")[2].split(" ")[0] for line in lines if number in line]
    return any(kind.removeprefix("fuse.").startswith(_NETWORK) or kind in _FUSE for kind in kinds)
