#!/bin/sh
# Lays out below /rootfs what the image adds to its base: the virtual environment, byte-compiled, and the state directory.
set -eu

bin=/opt/sync-runner/bin
find "$bin" -type f ! -name sync-runner -delete  # activation and the scripts of dependencies
"$bin/python" -m compileall -q -f --invalidation-mode unchecked-hash /opt/sync-runner/lib

mkdir -p /rootfs/opt /rootfs/var/lib/sync-runner
cp -a /opt/sync-runner /rootfs/opt/
chmod -R a+rX,go-w /rootfs/opt

# Whatever user and group the container is given may write its state; files in it are made with mode 0600.
chown 65532:0 /rootfs/var/lib/sync-runner
chmod 1777 /rootfs/var/lib/sync-runner

# A builder that looks for a copy it made before compares content and no times: with the time in the content, what it
# made for another time is not taken for this one's.
echo "$SOURCE_DATE_EPOCH" > /rootfs/opt/sync-runner/source-date-epoch
find /rootfs -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +
