"""mlx-vlm: phi3_v's processor drops the first token of the text after each picture.

Title: phi3_v: the first token after every <|image_N|> is lost

`_convert_images_texts_to_inputs` tokenizes the text between two tags and takes the first id off, as if it were a BOS
token. Phi-3.5-vision's tokenizer adds none there, so a real token is lost: with the template, the line break after the
tag; with "<|image_1|>Hi", the "H".

Suggested fix: encode the chunks with add_special_tokens=False, and take off only the dummy space that a SentencePiece
tokenizer puts before a text.
"""

from types import SimpleNamespace

from mlx_vlm.models.phi3_v import Phi3VImageProcessor, Phi3VProcessor
from PIL import Image

# A tokenizer with one token for each character, so that nothing else can hide the loss.
letters = SimpleNamespace(encode=lambda text, add_special_tokens=True: [ord(c) for c in text], bos_token_id=None)
processor = SimpleNamespace(tokenizer=letters, image_processor=Phi3VImageProcessor(num_crops=1))
inputs = Phi3VProcessor._convert_images_texts_to_inputs(
    processor, images=[Image.new("RGB", (9, 9))], texts="<|image_1|>Hi"
)
text = "".join(chr(number) for number in inputs["input_ids"][0].tolist() if number > 0)
print("text after the picture:", repr(text))
print("expected:              ", repr("Hi"))
print("right" if text == "Hi" else "wrong")
