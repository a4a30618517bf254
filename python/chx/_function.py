# SPDX-License-Identifier: MIT
"""chx.Function: functions with a forward and a backward of their own."""
from _thread import get_ident

from chx._core import _connect, ndarray, no_backprop


class Function:
    """A function of arrays whose gradient is written by hand.

    >>> import chx
    >>> class Square(chx.Function):
    ...     def forward(self, x):
    ...         self.retain(x)
    ...         return x * x
    ...     def backward(self, gy):
    ...         (x,) = self.retained
    ...         return 2 * x * gy
    >>> x = chx.array([1., 2., 3.]).require_grad()
    >>> Square().apply(x).backward()
    >>> x.grad
    array([2., 4., 6.])

    forward gets the inputs and returns an array or a tuple of them; nothing in it is recorded. backward gets the gradient of each output
    (None: none came, which stands for zeros) and returns one for each input, of its shape, dtype and device, or None, which goes no
    further; a single one need not be in a tuple. Made of chx's operators, it can be differentiated again.

    What is no array goes into the constructor. An object is for one call; it and what it holds stay as long as the graph does. A value
    that is retained is freed by backward and is checked for being overwritten. Where the gradient is differentiated, too, inputs and
    outputs that were retained are differentiated through; anything else that forward has computed counts as a constant: what depends on the
    inputs is better computed again, or made an output.

    Without a backward the function stops gradients. Where a function is made of operators, none of this is needed: a Python function is
    enough.
    """

    _used = False
    _kept = ()
    _calls = {}  # by thread: what backward was given

    def forward(self, *inputs):
        """Written by the class: the output of the inputs, or a tuple of outputs."""
        raise NotImplementedError("%s has no forward" % type(self).__name__)

    def backward(self, *grads):
        """Written by the class: the gradients of the inputs from those of the outputs."""
        return (None,) * len(self.needs)

    def retain(self, *arrays):
        """In forward: what backward will find in self.retained: inputs, outputs or arrays in between."""
        for a in arrays:
            if type(a) is not ndarray:
                raise TypeError("%s: retain got an object of type %s, want arrays" % (type(self).__name__, type(a).__name__))
        self._kept += arrays

    @property
    def retained(self):
        """In backward: the arrays that forward has retained, in the order in which it did."""
        return self._given("retained")[0]

    @property
    def needs(self):
        """In backward: for each input whether its gradient is wanted."""
        return self._given("needs")[1]

    def _given(self, what):
        try:
            return self._calls[get_ident()]
        except KeyError:
            raise RuntimeError("%s: %s is there in backward alone" % (type(self).__name__, what)) from None

    def apply(self, *inputs):
        """The result of forward, as a part of the graph. inputs: arrays, or None."""
        for i, x in enumerate(inputs):
            if type(x) is not ndarray and x is not None:
                raise TypeError("%s: input %d is of type %s, want an array or None" % (type(self).__name__, i, type(x).__name__))
        if self._used:
            raise RuntimeError("%s was applied already, want a new object for each call" % type(self).__name__)
        self._used = True
        with no_backprop():
            outputs = self.forward(*inputs)
        kept = self.__dict__.pop("_kept", ())
        single = type(outputs) is ndarray
        outputs = (outputs,) if single else outputs
        if not isinstance(outputs, (tuple, list)) or not outputs:
            raise TypeError("%s: forward gave %s, want an array or a tuple of arrays" % (type(self).__name__, type(outputs).__name__))
        for i, y in enumerate(outputs):
            if type(y) is not ndarray:
                raise TypeError("%s: output %d is of type %s, want an array" % (type(self).__name__, i, type(y).__name__))
        outputs = _connect(self, inputs, tuple(outputs), kept)
        return outputs[0] if single else outputs

    def _go_back(self, grads, values, needs):
        calls, thread = self.__dict__.setdefault("_calls", {}), get_ident()
        before = calls.get(thread)
        calls[thread] = values, needs
        try:
            given = self.backward(*grads)
        finally:
            if before is None:
                del calls[thread]
            else:
                calls[thread] = before
        if given is None or type(given) is ndarray:
            given = (given,)
        elif not isinstance(given, (tuple, list)):
            raise TypeError("backward of %s gave %s, want an array or a tuple of arrays" % (type(self).__name__, type(given).__name__))
        if len(given) != len(needs):
            raise ValueError("backward of %s gave %d gradients, want %d, one for each input" % (type(self).__name__, len(given), len(needs)))
        for i, g in enumerate(given):
            if type(g) is not ndarray and g is not None:
                raise TypeError("backward of %s: gradient %d is of type %s, want an array or None"
                                % (type(self).__name__, i, type(g).__name__))
        return tuple(given)
