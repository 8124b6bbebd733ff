#!/bin/sh
# Lays out below /rootfs what the image adds to its base: the virtual environment, byte-compiled, and the state directory.
# Decision 0053.
set -eu

bin=/opt/sync-runner/bin
packages=$(echo /opt/sync-runner/lib/python3*/site-packages)
find "$bin" -type f ! -name sync-runner -delete  # activation and the scripts of dependencies
find "$packages" \( -name '*.pyi' -o -name py.typed \) -delete  # types, for those who write code
find "$packages" \( -name '*.c' -o -name '*.h' -o -name '*.pyx' -o -name '*.px[id]' \) -delete  # what extensions were built from
find "$packages" -type d -empty -delete

# An engine lists the files of a layer by directory or by whole path, as it happens; the digest tells the difference.
# Both are one order where no name begins with that of a directory beside it and goes on with a character before "/", as
# httpx-1.0.dist-info beside httpx does. So what tells of a package stands apart, and is found by a line on the path.
mkdir "$packages/../distributions"
mv "$packages"/*.dist-info "$packages/../distributions/"
echo ../distributions > "$packages/distributions.pth"

"$bin/python" -m compileall -q -f --invalidation-mode unchecked-hash /opt/sync-runner/lib

# So do psycopg_binary and its libraries, which it looks for in psycopg_binary.libs beside itself.
mkdir /opt/sync-runner/lib/psycopg
mv "$packages/psycopg_binary" /opt/sync-runner/lib/psycopg/package
mv "$packages/psycopg_binary.libs" /opt/sync-runner/lib/psycopg/
ln -s ../../psycopg/package "$packages/psycopg_binary"

mkdir -p /rootfs/opt /rootfs/var/lib/sync-runner
cp -a /opt/sync-runner /rootfs/opt/
chmod -R a+rX,go-w /rootfs/opt

# Whatever user the container is given may make its state there, with mode 0600. Root owns it: a directory of another user is refused.
chown 0:0 /rootfs/var/lib/sync-runner
chmod 1777 /rootfs/var/lib/sync-runner

# A builder that looks for a copy it made before compares content and no times: with the time in the content, what it
# made for another time is not taken for this one's.
echo "$SOURCE_DATE_EPOCH" > /rootfs/opt/sync-runner/source-date-epoch
find /rootfs -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +
