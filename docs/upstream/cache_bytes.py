"""mlx-lm: mlx_lm.server --prompt-cache-bytes does not bound the prompt cache where requests are not batched.

Title: mlx_lm.server: --prompt-cache-bytes is not passed to LRUPromptCache

`run` makes the cache with `LRUPromptCache(cli_args.prompt_cache_size)` and leaves `max_bytes` at 2**63. Only the batched
path trims it to the bytes that were asked for. So a server whose requests run one after the other keeps ten caches of any
size; 23 to 26 GB and an abort are reported in ml-explore/mlx-lm#1390.

Suggested fix: LRUPromptCache(cli_args.prompt_cache_size, cli_args.prompt_cache_bytes or 1 << 63).
"""

from types import SimpleNamespace
from unittest import mock

from mlx_lm import server

made = []


class Recorded(server.LRUPromptCache):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        made.append(self)


options = SimpleNamespace(prompt_cache_size=10, prompt_cache_bytes=1_000_000)
with (
    mock.patch.object(server, "LRUPromptCache", Recorded),
    mock.patch.object(server, "ResponseGenerator"),
    mock.patch.object(server, "_run_http_server"),
):
    server.run("127.0.0.1", 0, SimpleNamespace(cli_args=options))
print(f"asked for: {options.prompt_cache_bytes:,} bytes")
print(f"limit:     {made[0].max_bytes:,} bytes")
print("right" if made[0].max_bytes == options.prompt_cache_bytes else "wrong")
