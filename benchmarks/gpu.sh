#!/usr/bin/env bash
# Everything that there is to see on a machine with an NVIDIA card, in one run: bash benchmarks/gpu.sh
#
# Linux, driver 580 or newer (GPU=cuda12: 550 or newer), 8 GB on the card for Phi-3.5-mini's shape and 28 GB for the MoE's.
# It sets MLX up on the card, then runs the doctor, the tests that compare with stored reference values, five solved labs,
# both shapes with random weights, and one training. Under ten minutes by our estimate, the packages aside: nobody has run
# it on a card yet. Please send what it prints. Without a card it stops at the first line.
set -uo pipefail
cd "$(dirname "$0")/.."
command -v nvidia-smi >/dev/null || { echo "There is no NVIDIA card with its driver here: nvidia-smi is missing."; exit 1; }
nvidia-smi
GPU=${GPU:-cuda}
make setup "GPU=$GPU" || exit 1

failed=()
step() {
  local begun=$SECONDS
  echo "== $1"
  timeout --kill-after=10 "$2" "${@:3}" || failed+=("$1")
  echo "== $1: $((SECONDS - begun)) s"
}

export LABS_MODELS=tiny HF_HUB_OFFLINE=1 LABS_PROGRESS=off
python=.venv/bin/python
step "doctor" 60 .venv/bin/labs doctor
step "MLX computes on the card" 60 "$python" -c 'import mlx.core as mx; assert mx.default_device() == mx.gpu; mx.eval(mx.ones((64, 64)) @ mx.ones((64, 64)))'
step "parity with stored reference values" 120 "$python" -m pytest -q tests/parity
step "labs 00, 01, 02, 03 and 07, solved" 300 "$python" -m pytest -q -n 2 --dist loadfile --nbval-lax --nbval-current-env \
  --nbval-cell-timeout=60 notebooks/solutions/0[01237]-*.ipynb
memory=$(nvidia-smi --query-gpu=memory.total --format=csv,noheader,nounits | head -1)
shapes=(mini)
[ "$memory" -lt 28000 ] || shapes+=(moe)
step "the real shapes, ${shapes[*]}" 300 "$python" -m benchmarks gpu --shape "${shapes[@]}"
step "speed of the bundled models" 120 "$python" -m benchmarks instruct
step "tests of training an adapter" 120 "$python" -m pytest -q tests/tuning
[ "${#failed[@]}" = 0 ] && echo "Everything ran." || { printf 'FAILED: %s\n' "${failed[@]}"; exit 1; }
