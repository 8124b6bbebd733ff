"""A small API of jobs behind a password and a one-time code, to write a profile for. Standard library only.

python3 bakery.py [PORT]: listens on 127.0.0.1, port 8765 where none is given.
"""

import base64
import hmac
import json
import secrets
import struct
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

BAKER = {"name": "baker", "pass": "sourdough"}
SEED = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
BAKING_SECONDS = {"panettone": 600.0}  # anything else: six

tickets: set[str] = set()  # logins that wait for their code
tokens: dict[str, float] = {}  # and until when each is good
bakes: list[dict[str, Any]] = []


def codes() -> set[str]:
    """The one-time codes of now and of the step before (RFC 6238)."""
    found = set()
    for step in (int(time.time()) // 30, int(time.time()) // 30 - 1):
        digest = hmac.digest(base64.b32decode(SEED), struct.pack(">Q", step), "sha1")
        number = struct.unpack(">I", digest[digest[-1] & 15 :][:4])[0] & 0x7FFFFFFF
        found.add(f"{number % 10**6:06}")
    return found


def shown(bake: dict[str, Any]) -> dict[str, Any]:
    """A bake as the API shows it: it rises, it bakes, it is ready."""
    took = min(time.time(), bake["stopped"] or time.time()) - bake["began"]
    done = min(1.0, took / BAKING_SECONDS.get(bake["what"], 6.0))
    stage = "binned" if bake["stopped"] else "rising" if done < 0.3 else "baking" if done < 1 else "ready"
    return {"number": bake["number"], "what": bake["what"], "stage": stage, "done": round(done, 2)}


class Bakery(BaseHTTPRequestHandler):
    """The API."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """POST /login, /login/code and /bakes."""
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        if self.path == "/login":
            self.login(body)
        elif self.path == "/login/code":
            self.code(body)
        elif self.trusted():
            self.bake(body)

    def login(self, body: dict[str, Any]) -> None:
        """A right password gets a ticket, with which a code is to be sent."""
        if body != BAKER:
            return self.say(403, {"problem": "no such baker"})
        tickets.add(ticket := secrets.token_hex(8))
        return self.say(202, {"want": "code", "ticket": ticket})

    def code(self, body: dict[str, Any]) -> None:
        """A right code gets a token, good for ten minutes."""
        if body["ticket"] not in tickets or body["code"] not in codes():
            return self.say(403, {"problem": "wrong code"})
        tokens[token := secrets.token_hex(16)] = time.time() + 600
        return self.say(200, {"token": token, "seconds": 600})

    def bake(self, body: dict[str, Any]) -> None:
        """A new bake, or the one that was ordered with the same number before."""
        before = next((bake for bake in bakes if bake["order"] == body["order"]), None)
        if before is None:
            bakes.append({**body, "number": len(bakes) + 1, "began": time.time(), "stopped": None})
        self.say(201, shown(before or bakes[-1]))

    def do_GET(self) -> None:
        """GET /bakes, with ?number=1 or ?stage=rising,baking."""
        if self.trusted():
            wanted = {key: values[0].split(",") for key, values in parse_qs(urlsplit(self.path).query).items()}
            found = [bake for bake in map(shown, bakes) if all(str(bake[key]) in wanted[key] for key in wanted)]
            self.say(200, {"bakes": found[::-1]})

    def do_DELETE(self) -> None:
        """DELETE /bakes/1."""
        if self.trusted():
            bake = bakes[int(self.path.rpartition("/")[2]) - 1]
            if shown(bake)["stage"] == "ready":
                return self.say(409, {"problem": "it is ready"})
            bake["stopped"] = time.time()
            return self.say(200, shown(bake))
        return None

    def trusted(self) -> bool:
        """Whether the token is good; says so where it is not."""
        good = tokens.get(self.headers.get("X-Token", ""), 0) > time.time()
        if not good:
            self.say(401, {"problem": "log in first"})
        return good

    def say(self, status: int, body: Any) -> None:
        """Answer."""
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_values: object) -> None:
        """Quiet."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if sys.argv[1:] else 8765), Bakery).serve_forever()
