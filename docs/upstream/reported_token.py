"""mlx-lm: mlx_lm.server reports a token that was not generated when top_logprobs is above 1.

Title: mlx_lm.server: "token" and "logprob" of a response are those of an arbitrary top candidate

`_format_top_logprobs` takes the candidates from `argpartition`, which does not sort them. `APIHandler.generate_response`
then reports the first of them as the token of the answer: `dict(i[0], top_logprobs=i)`. The token that was generated is not
looked at. With top_logprobs=1 there is one candidate, and with greedy sampling it is the right one.

Suggested fix: report the generated token and its logprob, and sort the candidates by their logprob.
"""

from types import SimpleNamespace

import mlx.core as mx
from mlx_lm.server import APIHandler, _format_top_logprobs

tokenizer = SimpleNamespace(convert_ids_to_tokens=lambda ids: [f"token {each}" for each in ids])
scores = mx.random.normal((64,), key=mx.random.key(0))
logprobs = scores - mx.logsumexp(scores)
generated = mx.argmax(logprobs).item()
candidates = _format_top_logprobs(logprobs, 5, tokenizer)

handler = APIHandler.__new__(APIHandler)
handler.stream, handler.object_type, handler.request_id = False, "chat.completion", "1"
handler.system_fingerprint = handler.requested_model = ""
handler.created = 0
response = handler.generate_response(
    "text", "stop", 1, 1, token_logprobs=[logprobs[generated].item()], top_tokens=[candidates], tokens=[generated]
)
reported = response["choices"][0]["logprobs"]["content"][0]["id"]
print(f"generated: token {generated}")
print(f"reported:  token {reported}")
print("right" if reported == generated else "wrong")
