"""The settings for JupyterHub: both files say the same, in words that the course understands."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import yaml

from labs_helper.common.settings import SETTINGS
from labs_helper.course import workshop

ROOT = Path(__file__).resolve().parent.parent
VALUES = yaml.safe_load((ROOT / "docs/hub/values.yaml").read_text("utf-8"))["singleuser"]


def configured(**environment):
    """What jupyterhub_config.py sets when the hub has this environment."""
    c = SimpleNamespace(Spawner=SimpleNamespace(environment={}), JupyterHub=SimpleNamespace(services=[]))
    before = {name: value for name, value in os.environ.items() if name.startswith("LABS_HUB_")}
    try:
        for name in before:
            del os.environ[name]
        os.environ |= environment
        source = (ROOT / "docs/hub/jupyterhub_config.py").read_text("utf-8")
        exec(compile(source, "jupyterhub_config.py", "exec"), {"get_config": lambda: c})
    finally:
        for name in environment:
            del os.environ[name]
        os.environ |= before
    return c


def test_both_hubs_get_the_same_settings():
    there, here = VALUES["extraEnv"], configured().Spawner.environment
    assert set(there) - set(here) == {"LABS_ENDPOINT_KEY"} and not set(here) - set(there)
    own = {"LABS_ENDPOINT", "LABS_ENDPOINT_MODEL"}  # each hub has a server of its own
    assert {name: there[name] for name in set(here) - own} == {name: here[name] for name in set(here) - own}
    assert VALUES["defaultUrl"] == configured().Spawner.default_url
    assert VALUES["memory"]["limit"] == configured().Spawner.mem_limit
    mount, volume = VALUES["storage"]["extraVolumeMounts"][0], VALUES["storage"]["extraVolumes"][0]
    assert mount["mountPath"] == there["LABS_MODELS_DIR"] and mount["readOnly"] is True
    assert volume["persistentVolumeClaim"]["readOnly"] is True and mount["name"] == volume["name"]
    port = VALUES["networkPolicy"]["egress"][0]["ports"][0]["port"]
    assert urlsplit(there["LABS_ENDPOINT"]).port == port


def test_a_class_in_another_language_gets_its_labs_and_its_messages():
    spawner = configured(LABS_HUB_LANGUAGE="ko").Spawner
    assert spawner.environment["LABS_LANGUAGE"] == "ko"
    opened = spawner.default_url.partition("notebooks")[2]
    assert (ROOT / unquote(f"notebooks{opened}")).is_file() and "/ko/" in unquote(opened)
    assert "LABS_LANGUAGE" not in configured().Spawner.environment


def test_every_setting_is_one_that_the_course_reads():
    known = {setting.name for setting in SETTINGS}
    for name in configured().Spawner.environment:
        assert name in known or name == "HF_HUB_OFFLINE"


@pytest.mark.posix
def test_a_server_of_somebody_else_is_not_started():
    assert configured(LABS_HUB_SERVED="").JupyterHub.services == []
    (service,) = configured(
        LABS_HUB_PYTHON=sys.executable, LABS_HUB_ENDPOINT="http://127.0.0.1:9123/v1", LABS_HUB_SERVED="/models/x"
    ).JupyterHub.services
    assert service["command"][0] == sys.executable
    options = dict(zip(service["command"][3::2], service["command"][4::2], strict=True))
    assert (options["--model"], options["--host"], options["--port"]) == ("/models/x", "127.0.0.1", "9123")
    # Without these the server's memory grows with the questions of a class.
    assert int(options["--prompt-cache-size"]) <= 2 and int(options["--decode-concurrency"]) <= 4
    assert service.get("user") == ("nobody" if os.geteuid() == 0 else None)


def test_the_start_page_leads_where_the_learners_clone_will_be():
    start = urlsplit(configured().Spawner.default_url)
    (folder,) = parse_qs(start.query)["targetpath"]
    assert start.path == "/git-pull"
    assert parse_qs(start.query)["urlpath"] == [f"lab/tree/{folder}/{workshop.first_notebook()}"]
    assert configured().Spawner.environment["LABS_HOME"] == f"~/{folder}"
    assert (ROOT / workshop.first_notebook()).is_file()
