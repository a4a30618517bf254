# SPDX-License-Identifier: MIT
"""chx.random: random numbers, the same on every device.

The functions draw from the process's generator, which chx.random.seed sets; a RandomState is one of its own. The same seed gives the
same bits on every device and at any number of threads. `size` is the shape, an int or a tuple; None gives a 0-d array. Numbers are made on
`device`, the thread's unless one is named, in `dtype`, with no other in between.

    >>> import chx
    >>> chx.random.seed(1)
    >>> x = chx.random.normal(size=(2, 3), dtype="float32")
    >>> x.shape
    (2, 3)
"""
import os

import chx
from chx._core import _Generator

__all__ = []


def _shape(size):
    return () if size is None else (size,) if isinstance(size, int) else tuple(size)


class RandomState(_Generator):
    """A generator of its own: RandomState(seed). Without a seed the system's randomness gives one. It can be pickled and copied.

    >>> g = chx.random.RandomState(7)
    >>> state = g.get_state()
    >>> x = g.uniform(size=3)
    >>> g.set_state(state)
    >>> (g.uniform(size=3) == x).all().item()
    True
    """

    def __init__(self, seed=None):
        self.seed(seed)

    def seed(self, seed=None):
        """Begins again from a seed, an integer from 0 to 2**64 - 1; None: one of the system's.

        >>> chx.random.seed(7)
        >>> chx.random.get_state()
        (7, 0)
        """
        if seed is None:
            seed = int.from_bytes(os.urandom(8), "little")
        self.set_state((seed, 0))

    # ---- numbers in an interval

    def uniform(self, low=0.0, high=1.0, size=None, dtype=None, *, device=None):
        """Numbers in [low, high), each as likely.

        >>> chx.random.uniform(-1, 1, (2, 3)).shape
        (2, 3)
        """
        return self._uniform(low, high, size, dtype, device)

    def random_sample(self, size=None, dtype=None, *, device=None):
        """Numbers in [0, 1).

        >>> chx.random.random(4, dtype="float32").dtype == "float32"
        True
        """
        return self._uniform(0.0, 1.0, size, dtype, device)

    random = ranf = sample = random_sample

    def rand(self, *size, dtype=None, device=None):
        """Numbers in [0, 1), in an array with these lengths.

        >>> chx.random.rand(2, 3).shape
        (2, 3)
        """
        return self._uniform(0.0, 1.0, size, dtype, device)

    # ---- normal and what is made of it

    def normal(self, loc=0.0, scale=1.0, size=None, dtype=None, *, device=None):
        """Normal numbers of a mean and a standard deviation, which is 0 or more.

        >>> x = chx.random.RandomState(1).normal(5, 0.1, 1000)
        >>> abs(x.mean().item() - 5) < 0.02
        True
        """
        if not scale >= 0:
            raise ValueError("normal: scale is %r, want 0 or more" % (scale,))
        return self._normal(loc, scale, size, dtype, device)

    def standard_normal(self, size=None, dtype=None, *, device=None):
        """Normal numbers of mean 0 and standard deviation 1.

        >>> chx.random.standard_normal((2, 2)).shape
        (2, 2)
        """
        return self._normal(0.0, 1.0, size, dtype, device)

    def randn(self, *size, dtype=None, device=None):
        """As standard_normal, in an array with these lengths.

        >>> chx.random.randn(2, 3).shape
        (2, 3)
        """
        return self._normal(0.0, 1.0, size, dtype, device)

    def lognormal(self, mean=0.0, sigma=1.0, size=None, dtype=None, *, device=None):
        """exp of normal numbers.

        >>> (chx.random.lognormal(size=9) > 0).all().item()
        True
        """
        return chx.exp(self.normal(mean, sigma, size, dtype, device=device))

    # ---- integers

    def integers(self, low, high=None, size=None, dtype=None, *, device=None):
        """Integers in [low, high), or in [0, low) without high; int64 unless a dtype is named.

        >>> 0 <= chx.random.integers(5).item() < 5
        True
        >>> chx.random.randint(1, 7, 3, dtype="int8").dtype == "int8"
        True
        """
        if high is None:
            low, high = 0, low
        return self._integers(low, high, size, dtype, device)

    randint = integers

    def random_integers(self, low, high=None, size=None, dtype=None, *, device=None):
        """Integers in [low, high], or in [1, low] without high.

        >>> 1 <= chx.random.random_integers(6).item() <= 6
        True
        """
        if high is None:
            low, high = 1, low
        return self._integers(low, high + 1, size, dtype, device)

    def bernoulli(self, p=0.5, size=None, dtype=None, *, device=None):
        """1 with a probability, else 0; int64 unless a dtype is named.

        >>> chx.random.bernoulli(1.0, 3).tolist()
        [1, 1, 1]
        """
        return self._bernoulli(p, 0, size, dtype, device)

    def binomial(self, n, p, size=None, dtype=None, *, device=None):
        """How many of n draws with a probability are 1; made of all n, so for small n.

        >>> chx.random.binomial(5, 1.0, 2).tolist()
        [5, 5]
        """
        if n < 0:
            raise ValueError("binomial: n is %r, want 0 or more" % (n,))
        drawn = self._bernoulli(p, 0, (n,) + _shape(size), dtype, device)
        return drawn.sum(axis=0).astype(drawn.dtype, copy=False)

    # ---- order

    def permutation(self, x, *, device=None):
        """The numbers 0 .. x-1 in a random order; of an array: its rows.

        >>> sorted(chx.random.permutation(4).tolist())
        [0, 1, 2, 3]
        """
        if not isinstance(x, chx.ndarray):
            return self._permutation(x, device)
        if not x.ndim:
            raise ValueError("permutation: the array is 0-d, want an axis or an integer")
        return chx.take(x, self._permutation(x.shape[0], x.device), axis=0)

    def shuffle(self, x):
        """Puts the rows of an array in a random order, in place.

        >>> x = chx.arange(4)
        >>> chx.random.shuffle(x)
        >>> sorted(x.tolist())
        [0, 1, 2, 3]
        """
        if not isinstance(x, chx.ndarray):
            raise TypeError("shuffle: x is of type %s, want an array" % type(x).__name__)
        x[...] = self.permutation(x)

    def choice(self, a, size=None, replace=True, p=None, *, device=None):
        """Elements of a, an array with one axis or the numbers 0 .. a-1, each with its probability in p, an array; without p each
        as likely. replace=False: none twice.

        >>> chx.random.choice(chx.array([10, 20]), 3, p=[0, 1]).tolist()
        [20, 20, 20]
        >>> sorted(chx.random.choice(3, 3, replace=False).tolist())
        [0, 1, 2]
        """
        device = a.device if isinstance(a, chx.ndarray) else device
        n = len(a) if isinstance(a, chx.ndarray) else a
        if isinstance(a, chx.ndarray) and a.ndim != 1:
            raise ValueError("choice: a has %d axes, want one" % a.ndim)
        shape = _shape(size)
        count = 1
        for length in shape:
            count *= length
        if n < 1 and count:
            raise ValueError("choice: there are %d elements to choose from, want at least one" % n)
        if p is not None:
            p = _probabilities(p, n, device)
        if replace:
            indices = self._integers(0, n, shape, "int64", device) if p is None else self._weighted(p, shape)
        else:
            indices = self._distinct(n, p, count, device).reshape(shape)
        return chx.take(a, indices, axis=0) if isinstance(a, chx.ndarray) else indices

    def _weighted(self, p, shape):
        """Indices with probabilities p: where a uniform number comes to lie among the sums."""
        sums = chx.cumsum(p, axis=0)
        u = self._uniform(0.0, 1.0, shape, p.dtype, p.device)[..., None] * sums[-1]
        return chx.minimum((u >= sums).sum(axis=-1), chx.amax(chx.where(p > 0, chx.arange(len(p), device=p.device), 0)))

    def _distinct(self, n, p, count, device):
        """Indices without repetition. Weighted: the largest u ** (1 / p), Efraimidis and Spirakis 2006."""
        most = n if p is None else int((p > 0).sum().item())
        if count > most:
            raise ValueError("choice: %d elements are wanted without repetition, want at most %d" % (count, most))
        if p is None:
            return self._permutation(n, device)[:count]
        u = 1.0 - self._uniform(0.0, 1.0, n, p.dtype, p.device)
        return chx.topk(chx.where(p > 0, chx.log(u) / p, -float("inf")), k=count)[1]

    def __reduce__(self):
        return _restore, (type(self), self.get_state()), self.__dict__ or None


def _restore(kind, state):
    g = kind.__new__(kind)
    g.set_state(state)
    return g


def _probabilities(p, n, device):
    p = chx.asarray(p, "float64", device=device)
    if p.shape != (n,):
        raise ValueError("choice: p has shape %r, want %r" % (p.shape, (n,)))
    if not (p >= 0).all().item() or abs(p.sum().item() - 1) > 1e-8:
        raise ValueError("choice: p is not of probabilities, want numbers from 0 that add up to 1")
    return p


_process = RandomState._of_process()


def _export():
    names = ("seed uniform random_sample random ranf sample rand normal standard_normal randn lognormal integers randint random_integers "
             "bernoulli binomial permutation shuffle choice get_state set_state").split()
    for name in names:
        globals()[name] = getattr(_process, name)
    __all__.extend(names + ["RandomState", "default_rng", "get_random_state", "set_random_state"])


_export()
default_rng = RandomState  # NumPy's name of how a generator is made
get_random_state, set_random_state = _process.get_state, _process.set_state
