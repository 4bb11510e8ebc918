"""The tests of training. Those that need torch have the marker `training` and run with `make training-test`."""

from importlib.util import find_spec

# The course's own environment has no torch.
NEEDS_TORCH = [
    "test_copying.py",
    "test_further.py",
    "test_last_layer.py",
    "test_loop.py",
    "test_moe_model.py",
    "test_twin.py",
    "test_vision_engine.py",
    "test_vision_training.py",
]
collect_ignore = [] if find_spec("torch") else NEEDS_TORCH
