"""docs/hub/jupyterhub_config.py in a real JupyterHub on loopback: three learners, each in a browser of their own.

`make hub-test` installs what it needs. Run as root, each learner gets a user id of their own that exists nowhere else.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest

from labs_helper import catalog
from labs_helper.course import workshop

pytestmark = [pytest.mark.hub, pytest.mark.timeout(420)]

ROOT = Path(__file__).resolve().parents[2]
LEARNERS = {"ada": 61001, "grace": 61002, "alan": 61003}  # user ids that no system gives to people
SECONDS = 400  # after that the hub ends by itself, also if the test was killed

# What is the hub's own matter, not the course's: who logs in, how servers start, which ports.
OWN = """
import os, signal, threading
from jupyterhub.spawner import SimpleLocalProcessSpawner

load_subconfig({course!r})
PASSWORD, UIDS, BECOME = {password!r}, {uids!r}, {become!r}


class OwnUser(SimpleLocalProcessSpawner):
    def start(self):
        uid = UIDS.get(self.user.name)
        if uid is not None:
            self.cmd = [*BECOME, f"--reuid={{uid}}", f"--regid={{uid}}", "jupyterhub-singleuser"]
        return super().start()


c.JupyterHub.spawner_class = OwnUser
c.SimpleLocalProcessSpawner.home_dir_template = {homes!r} + "/{{username}}"
c.Spawner.args = ["--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None"] + {more!r}
c.Spawner.start_timeout = c.Spawner.http_timeout = 120
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = PASSWORD
c.Authenticator.allowed_users = {learners!r}
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub_port}"
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{api_port}"
c.ConfigurableHTTPProxy.command = [{proxy!r}]
end = threading.Timer({seconds}, os.kill, (os.getpid(), signal.SIGTERM))
end.daemon = True
end.start()
"""

# What each learner runs in the kernel of notebook 00. The last line is what the test reads.
WORK = """
import json, os, pathlib
from labs_helper import catalog, check_setup, load
from labs_helper.course.reset import restore

report = check_setup("00")
model = load("endpoint")
answer = model.ask("Where is Changsha?", max_tokens=40, temperature=0)
shared = pathlib.Path(os.environ["LABS_MODELS_DIR"]) / "instruct-tiny"
refused = []
for what, attempt in {
    "a new file": lambda: (shared / "new").write_text("x"),
    "weights opened to be changed": lambda: (shared / "model.safetensors").open("r+b").close(),
    "a file deleted": lambda: (shared / "config.json").unlink(),
    "rights changed": lambda: (shared / "config.json").chmod(0o666),
    "the folder renamed": lambda: shared.rename(shared.with_name("other")),
}.items():
    try:
        attempt()
    except PermissionError:
        refused.append(what)
local = load(str(shared))
own = local.ask("Where is Changsha?", max_tokens=40, temperature=0).text
local.release()
notebook = pathlib.Path("~/phi35-labs/notebooks/00-start-here.ipynb").expanduser()
notebook.write_text(notebook.read_text("utf-8").replace("first question", "FIRST question"), "utf-8")
kept = restore("00").copy
print(json.dumps({"ok": report.ok, "report": str(report), "by": answer.model, "text": answer.text, "own": own,
                  "refused": refused, "uid": os.getuid(), "where": str(pathlib.Path.cwd()),
                  "home": str(catalog.course_folder()),
                  "kept": "FIRST question" in kept.read_text("utf-8")}))
"""


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def answers(port: int) -> bool:
    with socket.socket() as tried:
        tried.settimeout(2)
        return tried.connect_ex(("127.0.0.1", port)) == 0


def proxy() -> str | None:
    """The proxy that `make hub-test` puts beside the environment, or the one of the system."""
    beside = Path(sys.prefix) / "hub-proxy" / "node_modules" / ".bin" / "configurable-http-proxy"
    return str(beside) if beside.exists() else shutil.which("configurable-http-proxy")


def how_to_become(uid: int) -> list[str] | None:
    """The command that runs another as this user, able to use our environment; None where that cannot be.

    Where Python or the course lies in a folder that others may not enter (root's home), the user gets the one right to
    read it all the same. That is no right to write.
    """
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        return None
    plain = ["setpriv", "--clear-groups"]
    for become in (plain, [*plain, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]):
        # A Python that cannot read its own library goes on with another one: look which it has found.
        code = f"import os, labs_helper, jupyterhub; assert os.__file__ == {os.__file__!r}"
        command = [*become, f"--reuid={uid}", f"--regid={uid}", sys.executable, "-c", code]
        if subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=False).returncode == 0:
            return become
    return None


@pytest.fixture(scope="module")
def place():
    """A folder that other users may enter, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="labs-hub-"))
    folder.chmod(0o755)
    yield folder
    subprocess.run(["chmod", "-R", "u+w", str(folder)], check=False)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def course(place):
    """This working tree as a git repository with one commit, given out by git's own server. Yields its address."""
    bare = place / "git" / "phi35-labs.git"
    git = ["git", f"--git-dir={bare}", f"--work-tree={ROOT}"]
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(bare)], check=True)
    subprocess.run([*git, "add", "--all"], check=True, cwd=ROOT, timeout=60)
    subprocess.run(
        [
            *git,
            "-c",
            "user.name=test",
            "-c",
            "user.email=test@example.org",
            "commit",
            "--quiet",
            "--no-verify",
            "--message=The course",
        ],
        check=True,
        cwd=ROOT,
        timeout=60,
    )
    (port,) = free_ports(1)
    server = subprocess.Popen(
        ["git", "daemon", "--export-all", f"--base-path={bare.parent}", "--listen=127.0.0.1", f"--port={port}"],
        start_new_session=True,
    )
    yield f"git://127.0.0.1:{port}/phi35-labs.git"
    os.killpg(server.pid, signal.SIGTERM)
    server.wait(10)


@pytest.fixture(scope="module")
def shared(place):
    """Checkpoints as an instructor lays them out: everybody may read them, nobody may write."""
    models = place / "models"
    shutil.copytree(catalog.course_folder() / "data/checkpoints/instruct-tiny", models / "instruct-tiny")
    for path in (*models.rglob("*"), models):
        path.chmod(0o555 if path.is_dir() else 0o444)
    return models


@pytest.fixture(scope="module")
def hub(needs_chromium, place, course, shared):
    """A JupyterHub that has started, and whose model server answers."""
    import psutil
    from lab import until

    pytest.importorskip("jupyterhub", reason="make hub-test installs it")
    pytest.importorskip("nbgitpuller", reason="make hub-test installs it")
    if proxy() is None:
        pytest.skip("configurable-http-proxy is missing: make hub-test installs it")
    root, become = os.geteuid() == 0, how_to_become(LEARNERS["ada"])
    uids = LEARNERS if become else {}
    for name, uid in LEARNERS.items():
        home = place / "homes" / name
        home.mkdir(parents=True)
        home.chmod(0o700)
        if uids:
            os.chown(home, uid, uid)
    port, hub_port, api_port, model_port = free_ports(4)
    password, own = secrets.token_hex(8), place / "jupyterhub_config.py"
    own.write_text(
        OWN.format(
            course=str(ROOT / "docs/hub/jupyterhub_config.py"),
            password=password,
            uids=uids,
            become=become,
            homes=str(place / "homes"),
            more=["--allow-root"] if root and not uids else [],
            learners=set(LEARNERS),
            port=port,
            hub_port=hub_port,
            api_port=api_port,
            proxy=proxy(),
            seconds=SECONDS,
        ),
        "utf-8",
    )
    own.chmod(0o600)
    state = place / "hub"
    state.mkdir(mode=0o700)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LABS_", "JUPYTER"))}
    environment |= {
        "LABS_HUB_COURSE": course,
        "LABS_HUB_MODELS": str(shared),
        "LABS_HUB_PYTHON": sys.executable,
        "LABS_HUB_ENDPOINT": f"http://127.0.0.1:{model_port}/v1",
        "LABS_HUB_SERVED": str(shared / "instruct-tiny"),
        "LABS_HUB_SERVER_USER": "nobody" if become and len(become) == 2 else "",  # without the right above
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }
    log = (state / "log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "jupyterhub", "-f", str(own)],
        cwd=state,
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )

    started: list[psutil.Process] = []

    def both() -> bool:
        assert process.poll() is None, (state / "log").read_text(errors="replace")[-3000:]
        started[:] = psutil.Process(process.pid).children(recursive=True)
        return answers(port) and answers(model_port)

    try:
        until(both, 120, f"the hub and its model server answer; the log is {state / 'log'}")
        yield {
            "address": f"http://127.0.0.1:{port}",
            "password": password,
            "uids": uids,
            "log": state / "log",
            "ports": (port, hub_port, api_port, model_port),
            "process": process,
        }
    finally:
        if process.poll() is None:
            started[:] = psutil.Process(process.pid).children(recursive=True)
            process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
        # The hub ends what it started. Whatever it has left is ended here, so that no test leaves a server behind.
        _, alive = psutil.wait_procs(started, timeout=15)
        for left in alive:
            left.kill()
        log.close()


def run_in_kernel(driver, code: str) -> str:
    """Run code in the kernel of the notebook that is open, and return what it printed."""
    driver.set_script_timeout(200)
    return driver.execute_async_script(
        "const [code, done] = arguments; let text = '';"
        "const session = window.jupyterapp.shell.currentWidget.sessionContext.session;"
        "const future = session.kernel.requestExecute({code});"
        "future.onIOPub = message => { const kind = message.header.msg_type;"
        "  if (kind === 'stream') text += message.content.text;"
        "  if (kind === 'error') text += message.content.traceback.join('\\n'); };"
        "future.done.then(() => done(text), error => done(String(error)));",
        code,
    )


@pytest.fixture(scope="module")
def class_(hub, place):
    """What the three learners saw: each logs in, lands in the course, and then all work at the same time."""
    from lab import start_browser, until
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.common.by import By

    drivers = {}

    def ready(driver) -> bool:
        try:
            return (
                driver.execute_script(
                    "return window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status"
                )
                == "idle"
            )
        except WebDriverException:  # the page is on its way to the next one
            return False

    try:
        for name in LEARNERS:
            driver = drivers[name] = start_browser(place / f"profile-{name}")
            driver.get(f"{hub['address']}/hub/login")
            driver.find_element(By.NAME, "username").send_keys(name)
            driver.find_element(By.NAME, "password").send_keys(hub["password"] + "\n")
        for name, driver in drivers.items():
            until(lambda driver=driver: ready(driver), 150, f"{name} has notebook 00 open; the log is {hub['log']}")
        opened = {name: driver.current_url for name, driver in drivers.items()}
        before = time.monotonic()
        with ThreadPoolExecutor(len(drivers)) as together:
            printed = dict(zip(drivers, together.map(lambda driver: run_in_kernel(driver, WORK), drivers.values())))
        print(f"three learners at once: {time.monotonic() - before:.1f} s")
        yield {
            "opened": opened,
            "printed": printed,
            "drivers": drivers,
            "said": {
                name: json.loads(text.strip().splitlines()[-1]) if text.strip().endswith("}") else text
                for name, text in printed.items()
            },
        }
    finally:
        for driver in drivers.values():
            driver.quit()


def test_each_learner_lands_in_a_clone_of_the_course(hub, class_, place):
    for name in LEARNERS:
        assert re.search(rf"/user/{name}/lab/.*tree/phi35-labs/notebooks/00-start-here\.ipynb", class_["opened"][name])
        clone = place / "homes" / name / "phi35-labs"
        assert (clone / ".git").is_dir()
        if hub["uids"]:
            assert clone.stat().st_uid == LEARNERS[name] == class_["said"][name]["uid"]


def test_each_learner_checks_the_machine_and_asks_the_shared_server(hub, class_, place):
    for name, said in class_["said"].items():
        assert isinstance(said, dict), said
        assert said["ok"], said["report"]
        assert f"127.0.0.1:{hub['ports'][3]}" in said["by"], "the server answered, no model of the learner's kernel"
        assert "China" in said["text"] or "Hunan" in said["text"]
        assert said["home"] == str(place / "homes" / name / "phi35-labs")
        assert said["kept"], "labs reset works in the learner's clone"


def test_shared_checkpoints_can_be_read_and_not_changed(hub, class_, shared):
    kept = catalog.course_folder() / "data/checkpoints/instruct-tiny"
    for said in class_["said"].values():
        assert said["own"] == said["text"], "the same model, read from the shared folder"
    same = {file.name: file.read_bytes() for file in kept.iterdir()}
    if hub["uids"]:
        for said in class_["said"].values():
            assert said["refused"] == [
                "a new file",
                "weights opened to be changed",
                "a file deleted",
                "rights changed",
                "the folder renamed",
            ]
        assert {file.name: file.read_bytes() for file in (shared / "instruct-tiny").iterdir()} == same
        assert all(not stat.S_IMODE(file.stat().st_mode) & 0o222 for file in shared.rglob("*"))
    else:
        pytest.skip("one user for all: only root can start learners with user ids of their own")


def test_the_course_is_pulled_again_and_what_a_learner_changed_stays(hub, class_, place, course):
    """The instructor corrects a text while the learner has changed a notebook; the next start brings the one and keeps
    the other."""
    from lab import until

    home, driver = place / "homes" / "ada" / "phi35-labs", class_["drivers"]["ada"]
    notebook = home / "notebooks" / "01-instruct.ipynb"
    mine = notebook.read_text("utf-8").replace('"# ', '"# MINE: ', 1)
    notebook.write_text(mine, "utf-8")
    bare, tree = place / "git" / "phi35-labs.git", place / "tree"
    subprocess.run(["git", "clone", "--quiet", str(bare), str(tree)], check=True, timeout=60)
    (tree / "docs" / "news.md").write_text("# News\n", "utf-8")
    for words in (
        ["add", "."],
        ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "news"],
        ["push", "--quiet"],
    ):
        subprocess.run(["git", "-C", str(tree), *words], check=True, timeout=60)
    # The link that `labs workshop link` prints. It is for web addresses; git's own server stands in for one here.
    link = workshop.pull_link(hub["address"], "https://git.example.org/phi35-labs.git")
    driver.get(link.replace(quote("https://git.example.org/phi35-labs.git", safe=""), quote(course, safe="")))
    until(lambda: "/user/ada/lab/tree/phi35-labs/notebooks/00" in driver.current_url, 90, "the link has led to the lab")
    assert (home / "docs" / "news.md").exists(), "the correction has come"
    assert "# MINE: " in notebook.read_text("utf-8")


def test_the_hub_listens_on_loopback_only(hub, class_):
    import psutil

    tree = psutil.Process(hub["process"].pid)
    listening = {}
    for process in (tree, *tree.children(recursive=True)):
        try:
            listening |= {
                each.laddr: process.name()
                for each in process.net_connections("inet")
                if each.status == psutil.CONN_LISTEN
            }
        except psutil.NoSuchProcess:
            continue
    assert {address.port for address in listening} >= set(hub["ports"])
    assert [address for address in listening if address.ip not in ("127.0.0.1", "::1")] == []
