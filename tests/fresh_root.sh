#!/usr/bin/env bash
# From an empty Debian 12 to a notebook that has run in JupyterLab, by the very commands of .devcontainer/devcontainer.json.
#
#   sudo nice tests/fresh_root.sh [FOLDER]      Linux with mmdebstrap; 10 minutes on two busy cores, 3 GB in FOLDER (/var/tmp)
#
# It stands in for the container where no container engine is at hand. CI does not run it. What it leaves out: VS Code,
# Codespaces, and the image itself. A bare Debian 12 has less than it: sudo, git, make, Python and certificates are added.
# Everything runs in namespaces of its own and ends with this script; FOLDER/labs-root.* is removed at the end.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)

if [ -z "${LABS_ROOT:-}" ]; then
  command -v mmdebstrap >/dev/null || { echo "mmdebstrap is missing: apt install mmdebstrap"; exit 1; }
  [ "$(id -u)" = 0 ] || { echo "Run this as root: chroot and mounts need it."; exit 1; }
  LABS_ROOT=$(mktemp -d "${1:-/var/tmp}/labs-root.XXXXXX")
  export LABS_ROOT
  # The mounts are in a namespace that is gone by then, so that nothing but the root's own files can be removed.
  trap 'rm -rf --one-file-system "$LABS_ROOT"' EXIT
  timeout --kill-after=20 "${LABS_SECONDS:-2400}" unshare --mount --pid --fork --kill-child "$0"
  exit
fi

begun=$SECONDS
step() { printf '%4d s  %6s  %s\n' "$((SECONDS - begun))" "$(du -shx "$LABS_ROOT" | cut -f1)" "$1"; }

mmdebstrap --quiet --variant=minbase --include=ca-certificates,git,make,python3,python3-venv,sudo bookworm "$LABS_ROOT"
mount -t proc proc "$LABS_ROOT/proc"
mount -t sysfs -o ro sysfs "$LABS_ROOT/sys"
mount -t tmpfs tmpfs "$LABS_ROOT/dev/shm"
cp --dereference /etc/resolv.conf /etc/hosts "$LABS_ROOT/etc/"
# A company's proxy has a certificate of its own.
environment=(HOME=/home/vscode USER=vscode PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin LANG=C.UTF-8)
if [ -n "${SSL_CERT_FILE:-}" ]; then
  cp --dereference "$SSL_CERT_FILE" "$LABS_ROOT/etc/ssl/certs/ca-certificates.crt"
  environment+=(PIP_CERT=/etc/ssl/certs/ca-certificates.crt)
fi
for name in http_proxy https_proxy no_proxy; do
  [ -z "${!name:-}" ] || environment+=("$name=${!name}")
done
# The user of the image: an ordinary one that may use sudo.
chroot "$LABS_ROOT" useradd --create-home --shell /bin/bash vscode
echo 'vscode ALL=(root) NOPASSWD:ALL' >"$LABS_ROOT/etc/sudoers.d/vscode"
mkdir "$LABS_ROOT/workspaces"
git clone --quiet --depth 1 "file://$repository" "$LABS_ROOT/workspaces/phi35-labs"
chroot "$LABS_ROOT" chown -R vscode:vscode /workspaces
step "Debian 12 with sudo, git, make and Python, and a clone of the course"

inside() {
  chroot --userspec=vscode:vscode "$LABS_ROOT" env -i "${environment[@]}" \
    bash -euo pipefail -c "cd /workspaces/phi35-labs; $1"
}
for name in onCreateCommand updateContentCommand postAttachCommand; do
  command=$(python3 - "$repository/.devcontainer/devcontainer.json" "$name" <<'PYTHON'
import json, re, sys
text = open(sys.argv[1], encoding="utf-8").read()
print(json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.M))[sys.argv[2]])
PYTHON
  )
  echo "$name: $command"
  inside "$command" >"$LABS_ROOT/tmp/$name.log" 2>&1 || { tail -40 "$LABS_ROOT/tmp/$name.log"; exit 1; }
  step "$name"
done
cat "$LABS_ROOT/tmp/postAttachCommand.log"
inside ".venv/bin/labs doctor"
inside "timeout 600 .venv/bin/python tests/fresh_root_lab.py notebooks/01-instruct.ipynb"
step "JupyterLab has run notebook 01"
