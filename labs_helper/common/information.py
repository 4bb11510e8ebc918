"""How much one thing tells about another: entropy and mutual information of tables of counts.

The figures, the exercises of lab 03 and the evaluation of moe-tiny measure with the same functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]


class Information(NamedTuple):
    """What rows and columns of a table tell about each other, in nats.

    Attributes:
        shared: the mutual information, H(rows) + H(columns) - H(cells) (Shannon 1948).
        rows: the entropy of the rows.
        columns: the entropy of the columns.
    """

    shared: float
    rows: float
    columns: float

    @property
    def normalised(self) -> float:
        """The mutual information over the mean of both entropies: 0 for none, 1 if each gives the other away."""
        both = self.rows + self.columns
        return 2 * self.shared / both if both else 0.0


def entropy(counts: ArrayLike) -> float:
    """The entropy of a distribution given as counts, in nats.

    Example:
        >>> round(entropy([1, 1]), 4)
        0.6931
    """
    import numpy as np

    shares = np.asarray(counts, dtype=float).ravel()
    shares = shares[shares > 0] / shares.sum()
    return abs(float((shares * np.log(shares)).sum()))


def information(table: ArrayLike) -> Information:
    """The mutual information of a table of counts and both entropies.

    Example:
        >>> information([[4, 4], [4, 4]]).shared
        0.0
    """
    import numpy as np

    counts = np.asarray(table, dtype=float)
    rows, columns = entropy(counts.sum(1)), entropy(counts.sum(0))
    return Information(rows + columns - entropy(counts), rows, columns)


def mutual_information(table: ArrayLike) -> float:
    """The normalised mutual information of rows and columns of a table of counts.

    Example:
        >>> mutual_information([[5, 0], [0, 5]]), mutual_information([[5, 5], [5, 5]])
        (1.0, 0.0)
    """
    return information(table).normalised


def by_topic(counts: Floats, topic_of: NDArray[np.int_]) -> Floats:
    """How the tokens of each topic spread over the experts of each layer: (topics, layers, experts), scaled to 1.

    Args:
        counts: of each expert in each conversation, (conversations, layers, experts).
        topic_of: the number of each conversation's topic, from 0 without gaps.

    Example:
        >>> import numpy
        >>> by_topic(numpy.ones((2, 1, 4)), numpy.array([0, 1])).shape
        (2, 1, 4)
    """
    import numpy as np

    sums = np.stack([counts[topic_of == topic].sum(0) for topic in range(topic_of.max() + 1)])
    shares: Floats = sums / sums.sum(2, keepdims=True)
    return shares


def information_and_chance(
    counts: Floats, topic_of: NDArray[np.int_], shuffles: int, seed: int = 0
) -> tuple[Floats, Floats]:
    """Normalised mutual information of topic and expert: in each layer, and again with the topics dealt out at random.

    Args:
        counts: as for `by_topic`.
        topic_of: as for `by_topic`.
        shuffles: how often the topics are dealt out.
        seed: of the dealing.

    Returns:
        Arrays (layers) and (shuffles, layers).

    Example:
        >>> import numpy
        >>> information_and_chance(numpy.ones((2, 1, 4)), numpy.array([0, 1]), shuffles=20)[1].shape
        (20, 1)
    """
    import numpy as np

    def of_layers(topics: NDArray[np.int_]) -> list[float]:
        return [mutual_information(layer) for layer in by_topic(counts, topics).swapaxes(0, 1)]

    rng = np.random.default_rng(seed)
    dealt = [of_layers(rng.permutation(topic_of)) for _shuffle in range(shuffles)]
    return np.array(of_layers(topic_of)), np.array(dealt)
