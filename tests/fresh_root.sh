#!/usr/bin/env bash
# From an empty Debian to labs that have run in JupyterLab, and a table of what was absent, what worked and how long it
# took.
#
#   sudo nice tests/fresh_root.sh bare [FOLDER]         what a newcomer types, where next to nothing is installed: no libGL,
#                                                       OpenBLAS, fonts, compiler, browser, curl, npm or sudo; wheels only.
#                                                       Setup, doctor, every lab in JupyterLab, then `make test`.
#                                                       TESTS="tests/corrections" runs less than all of it.
#   sudo nice tests/fresh_root.sh container [FOLDER]    the very commands of .devcontainer/devcontainer.json, then lab 01
#   sudo nice tests/fresh_root.sh start [FOLDER]        start.py in Debian 13 with its Python 3.13 and no make: setup, lab
#                                                       00 in JupyterLab, then the tests (TESTS, as above)
#   sudo PREFIX=/opt/python3.12 nice tests/fresh_root.sh start [FOLDER]
#                                                       the same in this machine's release of Debian with a Python built
#                                                       on it, copied from PREFIX, and no other: one that Debian has not
#   sudo nice tests/fresh_root.sh uv [FOLDER]           the same with uv and without what Python's venv needs
#   sudo WHEELHOUSE=/path/to/wheelhouse nice tests/fresh_root.sh wheelhouse [FOLDER]
#                                                       the same with the network cut off (a network namespace)
#
# Linux with mmdebstrap. 3 GB in FOLDER (/var/tmp); on two quiet cores 10 minutes, and 20 for `bare`. LABS_SECONDS bounds it.
# pip is told in the root what it is told here: its settings in /etc, PIP_* and the folders that they name go along.
#
# `container` takes the place of the container where no container engine is at hand. What it leaves out: VS Code,
# Codespaces, and the image itself. CI does not run either. Everything runs in namespaces of its own and ends with this
# script; FOLDER/labs-root.* is removed at the end.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
way=${1:-}
[[ $way =~ ^(bare|container|start|uv|wheelhouse)$ ]] || { sed -n '2,23s/^# \{0,1\}//p' "$0"; exit 2; }
[[ $way != wheelhouse || -f ${WHEELHOUSE:-}/labs-manifest.json ]] || { echo "WHEELHOUSE names no wheelhouse."; exit 2; }
PREFIX=${PREFIX:-}
[[ -z $PREFIX || ($way = start && -x $PREFIX/bin/python3) ]] || { echo "PREFIX is for start, and has bin/python3."; exit 2; }
release=bookworm
[[ $way = bare || $way = container ]] || release=trixie
[[ -z $PREFIX ]] || release=$(. /etc/os-release && echo "$VERSION_CODENAME")

if [ -z "${LABS_ROOT:-}" ]; then
  command -v mmdebstrap >/dev/null || { echo "mmdebstrap is missing: apt install mmdebstrap"; exit 1; }
  [ "$(id -u)" = 0 ] || { echo "Run this as root: chroot and mounts need it."; exit 1; }
  LABS_ROOT=$(mktemp -d "${2:-/var/tmp}/labs-root.XXXXXX")
  export LABS_ROOT
  # The mounts are in a namespace that is gone by then, so that nothing but the root's own files can be removed.
  trap 'rm -rf --one-file-system "$LABS_ROOT" "$LABS_ROOT.log"' EXIT
  timeout --kill-after=20 "${LABS_SECONDS:-5400}" unshare --mount --pid --fork --kill-child "$0" "$way"
  exit
fi

table=() # rows of the report: "what|how it went|minutes"
report() {
  printf '\n%-64s %-10s %7s\n' "Debian $release, $way" "" minutes
  printf '%s\n' "${table[@]}" | while IFS='|' read -r what how minutes; do printf '%-64s %-10s %7s\n' "$what" "$how" "$minutes"; done
  printf 'The root took %s.\n' "$(du -shx "$LABS_ROOT" | cut -f1)"
}
trap report EXIT

# step NAME COMMAND: run it and note how it went. The first that fails ends the run, with the end of what it printed.
step() {
  local begun=$SECONDS how=worked log="$LABS_ROOT.log" # beside it: mmdebstrap wants an empty folder
  echo "$1 ..."
  "${@:2}" >"$log" 2>&1 || how=FAILED
  table+=("$1|$how|$(awk "BEGIN { printf \"%.1f\", ($SECONDS - $begun) / 60 }")")
  [ "$how" = worked ] || { tail -60 "$log"; exit 1; }
}

case $way in
  bare) packages=ca-certificates,git,make,python3,python3-venv ;;
  container) packages=ca-certificates,git,make,python3,python3-venv,sudo ;;
  start) packages=ca-certificates,git,python3,python3-venv ;;
  uv | wheelhouse) packages=ca-certificates,git,python3 ;;
esac
if [ -n "$PREFIX" ]; then # what a Python's own modules ask for; Debian's git brings none
  packages=ca-certificates,git,libffi8,libsqlite3-0,libssl3,libncursesw6,libuuid1,libreadline8,liblzma5,libbz2-1.0,zlib1g,libexpat1
fi
step "Debian $release with $packages" \
  mmdebstrap --quiet --variant=minbase "--include=$packages" "$release" "$LABS_ROOT"
if [ -n "$PREFIX" ]; then
  (cd "$PREFIX" && tar -c bin/python3* lib/libpython3* lib/python3.*) | tar -x -C "$LABS_ROOT/usr/local"
  chroot "$LABS_ROOT" ldconfig
fi

mount -t proc proc "$LABS_ROOT/proc"
mount -t sysfs -o ro sysfs "$LABS_ROOT/sys"
mount -t tmpfs tmpfs "$LABS_ROOT/dev/shm"
cp --dereference /etc/resolv.conf /etc/hosts "$LABS_ROOT/etc/"
environment=(HOME=/home/learner USER=learner PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin LANG=C.UTF-8)
# A company's proxy has a certificate of its own.
if [ -n "${SSL_CERT_FILE:-}" ]; then
  cp --dereference "$SSL_CERT_FILE" "$LABS_ROOT/etc/ssl/certs/ca-certificates.crt"
  environment+=(PIP_CERT=/etc/ssl/certs/ca-certificates.crt SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt)
fi
for name in http_proxy https_proxy no_proxy $(compgen -e PIP_ | grep -vx PIP_CERT); do
  [ -z "${!name:-}" ] || environment+=("$name=${!name}")
done
# start.py leaves the work to pip where pip has an index of its own; `uv` is to show uv.
if [ "$way" = uv ]; then
  for name in $(compgen -e PIP_); do [ "$name" = PIP_CERT ] || unset "$name"; done
  kept=() && for each in "${environment[@]}"; do [[ $each = PIP_* && $each != PIP_CERT=* ]] || kept+=("$each"); done
  environment=("${kept[@]}")
fi
for settings in /etc/pip.conf /etc/xdg/pip; do
  [ "$way" = uv ] || [ ! -e "$settings" ] || { mkdir -p "$LABS_ROOT/etc/xdg" && cp -rL "$settings" "$LABS_ROOT$settings"; }
done
# Folders that pip's settings name, such as a mirror on the disk.
for folder in $({ env | grep ^PIP_; cat /etc/pip.conf /etc/xdg/pip/pip.conf; } 2>/dev/null | grep -oE '/[^ /=]+(/[^ ]+)+' | sort -u); do
  folder=${folder#//}
  if [ -d "$folder" ]; then mkdir -p "$LABS_ROOT$folder" && mount --rbind -o ro "$folder" "$LABS_ROOT$folder"; fi
done

# An ordinary user. The one of the container's image may use sudo.
chroot "$LABS_ROOT" useradd --create-home --shell /bin/bash learner
[ "$way" != container ] || echo 'learner ALL=(root) NOPASSWD:ALL' >"$LABS_ROOT/etc/sudoers.d/learner"
mkdir "$LABS_ROOT/workspaces"
step "a clone of the course" git clone --quiet --depth 1 "file://$repository" "$LABS_ROOT/workspaces/phi35-labs"
chroot "$LABS_ROOT" chown -R learner:learner /workspaces

without=() # what runs without a network
if [ "$way" = wheelhouse ]; then
  mkdir "$LABS_ROOT/workspaces/wheelhouse" # beside the course, where start.py looks
  mount --bind -o ro "$WHEELHOUSE" "$LABS_ROOT/workspaces/wheelhouse"
  without=(unshare --net bash -c 'ip link set lo up && exec "$@"' --)
fi
if [ "$way" = uv ]; then install -m 755 "${UV:-$(command -v uv)}" "$LABS_ROOT/usr/local/bin/uv"; fi

inside() {
  "${without[@]}" chroot --userspec=learner:learner "$LABS_ROOT" env -i "${environment[@]}" \
    bash -euo pipefail -c "cd /workspaces/phi35-labs; $1"
}

# absent NAME COMMAND: the command finds nothing in the root.
absent() {
  if inside "$2" >/dev/null 2>&1; then
    table+=("$1|is there|")
    echo "$1 is in the root, so the run would show nothing."
    exit 1
  fi
  table+=("$1|absent|")
}

if [ "$way" = bare ]; then
  absent libGL "ldconfig -p | grep libGL.so"
  absent OpenBLAS "ldconfig -p | grep -i openblas"
  absent "fonts" "find /usr/share/fonts /usr/local/share/fonts -type f | grep ."
  for programs in "compiler:cc c++ gcc g++ clang" "browser:chromium firefox google-chrome xdg-open" curl:curl npm:npm sudo:sudo; do
    absent "${programs%%:*}" "for each in ${programs#*:}; do command -v \$each && exit; done; false"
  done
  # A package that would have to be compiled is refused rather than tried.
  environment+=(PIP_ONLY_BINARY=:all:)
  step "make setup, from wheels only" inside "make setup"
  step "labs doctor" inside ".venv/bin/labs doctor"
  cat "$LABS_ROOT.log"
  step "make lab, and every lab in its JupyterLab" inside "timeout 1800 .venv/bin/python tests/fresh_root_lab.py notebooks/0*.ipynb"
  cat "$LABS_ROOT.log"
  step "make test${TESTS:+ TESTS=\"$TESTS\"}" inside "make test LIMIT= ${TESTS:+TESTS=\"$TESTS\"}"
  tail -15 "$LABS_ROOT.log"
  exit
fi

if [ "$way" != container ]; then
  absent make "command -v make"
  [ -z "$PREFIX" ] || absent "Debian's Python" "ls /usr/bin/python3"
  [ "$way" = start ] || absent "venv's pip" "python3 -c 'import ensurepip'"
  [ "$way" = uv ] || absent uv "command -v uv"
  if [ "$way" = wheelhouse ]; then
    absent "the network" "python3 -c 'import socket; socket.create_connection((\"example.org\", 80), 5)'"
  fi
  step "python3 start.py setup" inside "python3 start.py setup"
  cat "$LABS_ROOT.log"
  step "python3 start.py doctor" inside "python3 start.py doctor"
  step "python3 start.py lab, and lab 00 in its JupyterLab" \
    inside "timeout 900 .venv/bin/python tests/fresh_root_lab.py notebooks/00-start-here.ipynb"
  cat "$LABS_ROOT.log"
  step "python3 start.py test${TESTS:+ $TESTS}" inside "python3 start.py test ${TESTS:-}"
  tail -15 "$LABS_ROOT.log"
  exit
fi

for name in onCreateCommand updateContentCommand postAttachCommand; do
  command=$(python3 - "$repository/.devcontainer/devcontainer.json" "$name" <<'PYTHON'
import json, re, sys
text = open(sys.argv[1], encoding="utf-8").read()
print(json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.M))[sys.argv[2]])
PYTHON
  )
  echo "$command"
  step "$name" inside "$command"
done
cat "$LABS_ROOT.log"
step "labs doctor" inside ".venv/bin/labs doctor"
cat "$LABS_ROOT.log"
step "make lab, and lab 01 in its JupyterLab" inside "timeout 600 .venv/bin/python tests/fresh_root_lab.py notebooks/01-instruct.ipynb"
cat "$LABS_ROOT.log"
