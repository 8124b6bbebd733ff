"""From the start of the process to its first request, within the container, beside the bare import of the libraries
that the runner must use. `python -m benchmarks.container_start [IMAGE]`; the figures stand in docs/deploy/docker.md.

Both are started in turn by one process in one container, so that a busy machine slows both alike.
"""

import argparse
import json
import subprocess

LIBRARIES = "pydantic_settings, httpx, pyotp, tenacity, prometheus_client, structlog"

# What runs in the container, with nothing but Python's own library.
PROBE = """
import json, os, pathlib, socket, statistics, subprocess, sys, time

rounds, libraries = int(sys.argv[1]), sys.argv[2]
secrets = pathlib.Path("/tmp/secrets")
secrets.mkdir()
for name, value in {"username": "demo", "password": "some-password", "totp_seed": "GEZDGNBVGY3TQOJQ"}.items():
    (secrets / name).write_text(value)
server = socket.create_server(("127.0.0.1", 0))
command = ["sync-runner", "--base-url", f"http://127.0.0.1:{server.getsockname()[1]}", "--secrets-dir", str(secrets)]
command += ["run", "health"]

def first_request():
    began = time.monotonic()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    connection, _ = server.accept()
    assert connection.recv(4).startswith(b"POST")
    spent = time.monotonic() - began
    process.kill()
    process.wait()
    connection.close()
    return spent

def bare_import():
    began = time.monotonic()
    subprocess.run(["/opt/sync-runner/bin/python", "-c", f"import {libraries}"], check=True)
    return time.monotonic() - began

first_request(), bare_import()  # the files are in the page cache from here on
pairs = [(first_request(), bare_import()) for _ in range(rounds)]
mine, bare = map(statistics.median, zip(*pairs))
ratio = statistics.median(a / b for a, b in pairs)
print(json.dumps({"rounds": rounds, "first request ms": round(1000 * mine), "bare import ms": round(1000 * bare),
                  "ratio": round(ratio, 2)}))
"""


def measured(image: str, rounds: int) -> dict[str, object]:
    """The medians of both, and of their ratio."""
    command = ["docker", "run", "--rm", "--interactive", "--network", "none", "--entrypoint", "python", image, "-"]
    done = subprocess.run([*command, str(rounds), LIBRARIES], input=PROBE, capture_output=True, text=True, check=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def main() -> None:
    """Print the figures as a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", nargs="?", default="sync-runner:dev")
    parser.add_argument("--rounds", type=int, default=21, metavar="N")
    arguments = parser.parse_args()
    print(json.dumps(measured(arguments.image, arguments.rounds)))


if __name__ == "__main__":
    main()
