"""The pictures of the vision lab: drawn here, listed in images/vision/pictures.csv and images/README.md.

    python -m training.gallery            # draws all of them again

`small` draws what vision-tiny knows, from the held-out half of its world; `large` draws for people with the real model.
A picture's question and answer come out of the same data as its pixels, so they cannot drift apart.
"""
