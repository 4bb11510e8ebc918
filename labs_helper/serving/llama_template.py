"""The chat template that llama.cpp's server gets: the model's own, without what it writes when no answer is asked for.

The server compares the text of a template with and without the opening of an answer, and takes all behind their common
beginning for that opening. Phi's template ends with <|endoftext|> when no answer is asked for. Both endings begin with
"<|", so the server takes "assistant|>\\n" for the opening, which is not a token. It hands that to the grammar of a
schema, which refuses it: status 400, "Failed to initialize samplers". Prompts for an answer never hold that ending, so
they stay as they are without it. (Seen with xllamacpp 2026.10; where the server computes it: common/chat.cpp.)
"""

from __future__ import annotations

import re
from pathlib import Path

from labs_helper.store import gguf

_END = re.compile(r"\{%-?\s*else\s*-?%\}\s*\{\{-?\s*eos_token\s*-?\}\}\s*(?=\{%-?\s*endif\s*-?%\}\s*$)")


def without_end(template: str) -> str:
    """A template that writes nothing when no answer is asked for; any other form stays as it is.

    Example:
        without_end("{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}")
        # "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
    """
    return _END.sub("", template)


def of_file(file: Path) -> str:
    """The template for the server of a GGUF file; empty if the file has none.

    Raises:
        CheckpointRefused: the file is damaged, or holds a model that this course cannot use.
    """
    return without_end(gguf.read(file).settings.get("tokenizer.chat_template") or "")
