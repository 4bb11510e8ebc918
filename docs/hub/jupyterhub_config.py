"""The course on a JupyterHub of one machine: what is special about this course, and nothing else.

Who may log in, how servers are started and which address is used are the hub's own matters. Two ways to use this file:

    The Littlest JupyterHub: copy it to /opt/tljh/config/jupyterhub_config.d/phi35_labs.py
    Another JupyterHub: `load_subconfig("/path/to/this/file")` in its jupyterhub_config.py

docs/hub.md has the story. tests/browser/test_hub_in_browser.py runs this very file with three users.
"""

import os
from urllib.parse import urlencode

# Change the second value of each line, or set the variable in the environment of the hub.
COURSE = os.environ.get("LABS_HUB_COURSE", "https://github.com/OWNER/REPOSITORY")  # what learners get a clone of
BRANCH = os.environ.get("LABS_HUB_BRANCH", "main")
MODELS = os.environ.get("LABS_HUB_MODELS", "/srv/phi35-labs/models")  # real models: owned by root, read by all
ENDPOINT = os.environ.get("LABS_HUB_ENDPOINT", "http://127.0.0.1:8080/v1")  # the model server that all share
# What to ask it for. mlx_lm.server calls the model that it was started with so; others have names of their own.
ENDPOINT_MODEL = os.environ.get("LABS_HUB_ENDPOINT_MODEL", "default_model")
# The folder of the model that the hub serves at ENDPOINT with mlx_lm.server. "" if the server is somebody else's: vLLM,
# llama.cpp, another machine.
SERVED = os.environ.get("LABS_HUB_SERVED", "/srv/phi35-labs/models/phi-3.5-mini-instruct-4bit")
# The Python that has the course's packages: on The Littlest JupyterHub it is not the hub's own.
PYTHON = os.environ.get("LABS_HUB_PYTHON", "/opt/tljh/user/bin/python")
# The language of the class: "ko" opens the Korean labs and makes the package speak Korean; "" is English.
LANGUAGE = os.environ.get("LABS_HUB_LANGUAGE", "")
# Who runs the model server, where the hub runs as root: it needs no rights but to read the folder.
SERVER_USER = os.environ.get("LABS_HUB_SERVER_USER", "nobody")

FOLDER = "phi35-labs"  # the learner's clone, in their home
NOTEBOOKS = f"{FOLDER}/notebooks/{LANGUAGE}".rstrip("/")

c = get_config()  # noqa: F821  JupyterHub puts it there

# Each start brings what has changed in the course. nbgitpuller never overwrites what a learner has changed.
c.Spawner.default_url = "/git-pull?" + urlencode(
    {
        "repo": COURSE,
        "branch": BRANCH,
        "targetpath": FOLDER,
        "urlpath": f"lab/tree/{NOTEBOOKS}/00-start-here.ipynb",
    }
)

c.Spawner.environment.update(
    {
        "LABS_HOME": f"~/{FOLDER}",  # notebooks and bundled models: the learner's own
        "LABS_MODELS": "tiny",  # twenty kernels with a real model each fit nowhere; the server has one for all
        "LABS_MODELS_DIR": MODELS,
        "LABS_ENDPOINT": ENDPOINT,
        "LABS_ENDPOINT_MODEL": ENDPOINT_MODEL,
        "HF_HUB_OFFLINE": "1",
    }
)
if LANGUAGE:
    c.Spawner.environment["LABS_LANGUAGE"] = LANGUAGE
# For spawners that can enforce it (systemd, Docker, Kubernetes). The labs see the limit and compute with it.
c.Spawner.mem_limit = "3G"

# mlx_lm.server keeps what it has computed of the ten newest conversations, and works on up to 32 answers at a time.
# Nothing else bounds its memory: in mlx-lm 0.32.2 --prompt-cache-bytes holds for batched requests only. docs/hub.md has
# the arithmetic.
BOUND = ["--prompt-cache-size", "2", "--decode-concurrency", "4", "--prompt-concurrency", "2"]

if SERVED:
    port = ENDPOINT.split("://", 1)[1].split("/", 1)[0].rsplit(":", 1)[1]
    serve = (
        "import sys; from labs_helper.corrections import before_mlx; before_mlx()\n"  # the fast BLAS, on Linux
        "from mlx_lm.server import main; sys.argv[0] = 'mlx_lm.server'; main()"
    )
    # The hub starts it, starts it again if it ends, and ends it with itself.
    model_server = {
        "name": "model-server",
        "command": [PYTHON, "-c", serve, "--model", SERVED, "--host", "127.0.0.1", "--port", port, *BOUND],
        "environment": {"HF_HUB_OFFLINE": "1"},
    }
    if SERVER_USER and os.geteuid() == 0:
        model_server["user"] = SERVER_USER
    c.JupyterHub.services.append(model_server)
