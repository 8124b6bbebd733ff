# Two images from one file: `runner` (the default, last) and `sandbox` (the embedded API, for compose.yaml and tests).
# Two builds of one commit give the same files and times: every file that is not the base's own gets a fixed time, and byte code
# carries no time at all. Byte code is "unchecked": the interpreter need not compare it with sources that cannot change.
# Decisions 0010, 0011, 0012, 0048.

# A release gives its base by digest, and writes that into a label.
ARG BASE=python:3.13-slim-trixie

# The base without what a batch job does not use: pip, package managers, perl, bash, and every setuid bit. `sh` stays: GitLab
# and Jenkins run a job's script with it. dpkg's list of packages stays too: scanners read it. The standard library is
# byte-compiled: the published image comes without byte code, and a user who may not write would compile it on every start.
FROM ${BASE} AS trimmed
RUN set -eu; \
    find / -xdev -type f -perm /6000 -exec chmod a-s {} +; \
    find /usr/bin /usr/sbin /usr/libexec -type f -exec grep -qIE '^#!.*(perl|bash)' {} \; -delete; \
    rm -rf /usr/bin/apt* /usr/bin/dpkg* /usr/sbin/dpkg* /usr/bin/perl* /usr/bin/bash /usr/bin/rbash /usr/bin/debconf* \
      /usr/lib/apt /usr/lib/dpkg /usr/libexec/dpkg /etc/apt /etc/perl /var/lib/apt /var/cache/apt /var/cache/debconf \
      /usr/lib/*-linux-gnu/perl-base /usr/lib/*-linux-gnu/libapt* /usr/share/perl* /usr/share/bash-completion; \
    stdlib=$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))'); \
    packages=$(python -c 'import pathlib, pip; print(pathlib.Path(pip.__file__).parent.parent)'); \
    rm -rf "$packages"/pip "$packages"/pip-*-info /usr/bin/pip* /usr/local/bin/pip* /usr/local/bin/idle* \
      "$stdlib"/ensurepip "$stdlib"/idlelib "$stdlib"/tkinter "$stdlib"/turtledemo "$stdlib"/turtle.py; \
    python -m compileall -q -f --invalidation-mode unchecked-hash "$stdlib"; \
    find / -xdev -newer /usr/lib/os-release \
      ! -path '/proc*' ! -path '/sys*' ! -path '/dev*' ! -path /etc/hosts ! -path /etc/resolv.conf ! -path /etc/hostname \
      -exec touch --no-dereference --reference /usr/lib/os-release {} +

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements-build.lock requirements.lock ./
RUN python -m venv tools \
 && tools/bin/python -m pip install --quiet --require-hashes --only-binary :all: -r requirements-build.lock \
 && python -m venv --without-pip /opt/sync-runner \
 && tools/bin/python -m pip --python /opt/sync-runner/bin/python install --quiet --no-compile \
      --require-hashes --only-binary :all: -r requirements.lock
# The time of the build's own files, in Unix seconds; a release gives its commit's.
ARG SOURCE_DATE_EPOCH=1767225600
COPY pyproject.toml README.md LICENSE ./
COPY tools/build_hook.py tools/
COPY runner runner
RUN tools/bin/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . \
 && tools/bin/python -m pip --python /opt/sync-runner/bin/python install --quiet --no-compile \
      --no-deps --no-index --find-links dist sync-runner \
 && tools/bin/python -m pip --python /opt/sync-runner/bin/python check
COPY container/lay-out.sh ./

FROM build AS runner-files
RUN sh lay-out.sh

FROM build AS sandbox-files
COPY requirements-sandbox.lock ./
RUN tools/bin/python -m pip --python /opt/sync-runner/bin/python install --quiet --no-compile \
      --require-hashes --only-binary :all: -r requirements-sandbox.lock \
 && sh lay-out.sh

# From scratch, so that what was taken out of the base is gone and not merely hidden by a later layer. This layer depends
# on the base alone: images of several versions share it.
FROM scratch AS runtime
# hadolint ignore=DL3067
COPY --from=trimmed / /
ENV PATH=/opt/sync-runner/bin:/usr/local/bin:/usr/bin:/bin \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    SYNC_RUNNER_STATE__DIR=/var/lib/sync-runner
LABEL org.opencontainers.image.title="sync-runner" \
      org.opencontainers.image.description="Runs sync jobs behind a login with a one-time code" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.url="https://github.com/OWNER/sync-runner" \
      org.opencontainers.image.source="https://github.com/OWNER/sync-runner" \
      org.opencontainers.image.documentation="https://github.com/OWNER/sync-runner/tree/main/docs" \
      org.opencontainers.image.base.name="docker.io/library/python:3.13-slim-trixie"
# A number, so that Kubernetes can tell that it is not root. Any other works too: nothing below / depends on it.
USER 65532:0
# The one place that is written. Declared, so that it can be written below a read-only root without any option.
VOLUME ["/var/lib/sync-runner"]
# The kernel drops a signal to the first process that has no handler yet. Blocked, it waits until Python has one.
ENTRYPOINT ["env", "--block-signal=TERM", "--block-signal=INT", "sync-runner"]
# No HEALTHCHECK: a batch job that runs to its end has an exit code, not a health. The engine would start a process every
# few seconds to learn nothing, and an "unhealthy" job must not be restarted: its deadline ends it.

FROM runtime AS sandbox
COPY --from=sandbox-files /rootfs /
EXPOSE 8001
CMD ["sandbox", "--host", "0.0.0.0"]

FROM runtime AS runner
COPY --from=runner-files /rootfs /
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG BASE_DIGEST=
LABEL org.opencontainers.image.base.digest="${BASE_DIGEST}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
