"""Fine-tuning: the learner's own data, LoRA, preferences, and what becomes of an adapter.

| module | job |
| --- | --- |
| `textbook` | conversations as data: from templates, from and to JSON lines |
| `checker` | what is wrong with such data before anything is trained |
| `examples` | conversations as token ids, with the places that count in the loss |
| `lesson` | train an adapter, stop, go on |
| `preference` | DPO: pairs, reference, loss |
| `measure` | ask many questions at once, and count |
| `folding` | fold an adapter into the weights, and prove that it is still there |
| `gguf_adapter` | the adapter for llama.cpp |
"""
