"""What an administrator does at Home Assistant, over its web socket: `set-up URL`, or `record URL TOKEN`. Runs in its environment."""

import asyncio
import json
import sys

import aiohttp
import pyotp

NAME, PASSWORD = "op", "correct horse"


async def ask(socket, number, kind, **values):
    """The result of one command."""
    await socket.send_json({"id": number, "type": kind, **values})
    while True:
        answer = await socket.receive_json()
        if answer.get("id") != number:
            continue
        if answer["type"] == "result" and not answer["success"]:
            raise RuntimeError(answer)
        if answer["type"] == "event":
            return answer["event"]
        if answer["result"] is not None:
            return answer["result"]


async def opened(session, url, token):
    """The web socket, logged in."""
    socket = await session.ws_connect(f"{url}/api/websocket")
    await socket.receive_json()
    await socket.send_json({"type": "auth", "access_token": token})
    assert (await socket.receive_json())["type"] == "auth_ok"
    return socket


async def set_up(session, url):
    """The first user, with a one-time code from now on; its seed, and a token for the record."""
    client = f"{url}/"
    user = {"client_id": client, "name": "Op", "username": NAME, "password": PASSWORD, "language": "en"}
    code = (await (await session.post(f"{url}/api/onboarding/users", json=user)).json())["auth_code"]
    form = {"grant_type": "authorization_code", "code": code, "client_id": client}
    token = (await (await session.post(f"{url}/auth/token", data=form)).json())["access_token"]
    signed = {"Authorization": f"Bearer {token}"}
    for step, body in (
        ("core_config", {}),
        ("analytics", {}),
        ("integration", {"client_id": client, "redirect_uri": client}),
    ):
        (await session.post(f"{url}/api/onboarding/{step}", json=body, headers=signed)).raise_for_status()
    socket = await opened(session, url, token)
    flow = await ask(socket, 1, "auth/setup_mfa", mfa_module_id="totp")
    seed = flow["description_placeholders"]["code"]
    given = {"flow_id": flow["flow_id"], "user_input": {"code": pyotp.TOTP(seed).now()}}
    done = await ask(socket, 2, "auth/setup_mfa", **given)
    assert done["type"] == "create_entry", done
    kept = await ask(socket, 3, "auth/long_lived_access_token", client_name="record", lifespan=2)
    return {"username": NAME, "password": PASSWORD, "totp_seed": seed, "token": kept}


async def record(session, url, token):
    """The traces of all scripts, and how many refresh tokens the user has."""
    socket = await opened(session, url, token)
    traces = await ask(socket, 1, "trace/list", domain="script")
    tokens = await ask(socket, 2, "auth/refresh_tokens")
    return {"traces": traces, "sessions": sum(one["type"] == "normal" for one in tokens)}


async def main():
    """One command; its answer as JSON on standard output."""
    async with aiohttp.ClientSession() as session:
        does = {"set-up": set_up, "record": record}[sys.argv[1]]
        print(json.dumps(await does(session, *sys.argv[2:])))


asyncio.run(main())
