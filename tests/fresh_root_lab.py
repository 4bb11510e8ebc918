"""Start JupyterLab and run every cell of notebooks in it through the server's own interface, then stop it.

JupyterLab comes from `make lab`, or from `start.py lab` where there is no make.

python tests/fresh_root_lab.py notebooks/00-start-here.ipynb notebooks/01-instruct.ipynb      (see fresh_root.sh)
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import httpx
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

PORT = 8899


def start() -> tuple[subprocess.Popen, str]:
    """JupyterLab, and the token that it prints with its address. Raises RuntimeError if it does not come."""
    log = Path("jupyterlab.log")
    if shutil.which("make"):
        command = ["make", "lab", "BROWSER=0", f"PORT={PORT}"]
    else:
        command = ["python3", "start.py", "lab", "--no-browser", "--port", str(PORT)]
    with log.open("wb") as out:
        server = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    end = time.monotonic() + 120
    while time.monotonic() < end and server.poll() is None:
        found = re.search(rf"http://127\.0\.0\.1:{PORT}/\S*\?token=(\w+)", log.read_text(errors="replace"))
        if found:
            return server, found[1]
        time.sleep(0.5)
    if server.poll() is None:
        os.killpg(server.pid, signal.SIGKILL)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text(errors='replace')[-2000:]}")


def client(token: str) -> httpx.Client:
    """Requests to the server."""
    headers = {"Authorization": f"token {token}"}
    return httpx.Client(base_url=f"http://127.0.0.1:{PORT}", headers=headers, timeout=60, trust_env=False)


async def run(notebook: str, token: str) -> int:
    """Run the code cells one by one in a session of this notebook, as JupyterLab does. Returns how many ran.

    Raises RuntimeError at the first cell that ends in an error.
    """
    with client(token) as server:
        page = server.get(f"/lab/tree/{notebook}").raise_for_status().text
        if "jupyter-config-data" not in page:
            raise RuntimeError("The page is not JupyterLab.")
        content = server.get(f"/api/contents/{notebook}").raise_for_status().json()["content"]
        kernel = content["metadata"]["kernelspec"]["name"]
        wanted = {"path": notebook, "name": "", "type": "notebook", "kernel": {"name": kernel}}
        session = server.post("/api/sessions", json=wanted).raise_for_status().json()
    address = f"ws://127.0.0.1:{PORT}/api/kernels/{session['kernel']['id']}/channels"
    channel = await websocket_connect(HTTPRequest(address, headers={"Authorization": f"token {token}"}))
    cells = ["".join(cell["source"]) for cell in content["cells"] if cell["cell_type"] == "code"]
    for number, source in enumerate(cells, 1):
        ask = uuid.uuid4().hex
        header = {"msg_id": ask, "msg_type": "execute_request", "username": "", "session": "fresh", "version": "5.3"}
        content = {"code": source, "silent": False, "stop_on_error": True}
        await channel.write_message(
            json.dumps({"header": header, "parent_header": {}, "metadata": {}, "channel": "shell", "content": content})
        )
        while True:
            received = await asyncio.wait_for(channel.read_message(), 300)
            if received is None:
                raise RuntimeError(f"Cell {number}: the connection to the kernel has ended.")
            message = json.loads(received)
            if message["parent_header"].get("msg_id") == ask and message["msg_type"] == "execute_reply":
                break
        print(".", end="", flush=True)
        if message["content"]["status"] != "ok":
            raise RuntimeError(f"Cell {number}: {message['content'].get('ename')}: {message['content'].get('evalue')}")
    print()
    channel.close()
    with client(token) as server:
        server.delete(f"/api/sessions/{session['id']}").raise_for_status()  # its kernel ends, and its memory is free
    return len(cells)


if __name__ == "__main__":
    began = time.monotonic()
    lab, key = start()
    try:
        print(f"JupyterLab answers after {time.monotonic() - began:.0f} s")
        for notebook in sys.argv[1:]:
            began = time.monotonic()
            count = asyncio.run(run(notebook, key))
            print(f"{count} cells of {notebook} ran without an error in {time.monotonic() - began:.0f} s", flush=True)
    finally:
        os.killpg(lab.pid, signal.SIGTERM)
        try:
            lab.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(lab.pid, signal.SIGKILL)
