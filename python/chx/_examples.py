# SPDX-License-Identifier: MIT
"""What the documentation of the operators shows and the table of libchx has not: shapes, and an example of each, which the tests run.

Imported when a __doc__ is read, not with the package. Of elementwise operators the shapes are said by their kind.
"""

SHAPES = {
    **dict.fromkeys(("all", "amax", "amin", "any", "logsumexp", "mean", "prod", "sum"),
                    "  the result lacks the axes reduced, or has them with length 1 (keepdims)"),
    **dict.fromkeys(("argmax", "argmin"),
                    "  the result lacks the axis searched, or has it with length 1 (keepdims)"),
    **dict.fromkeys(("argsort", "cast", "copy", "dropout", "flip", "gelu", "leaky_relu", "log_softmax", "softmax", "sort"),
                    "  the result has x's shape"),
    **dict.fromkeys(("cummax", "cummin", "cumprod", "cumsum"),
                    "  the result has x's shape; without an axis it is flat"),
    "avg_pool": "  x (B, C, *X): the result is (B, C, *Y), Y = (X + 2 pad - ksize) // stride + 1; 1 to 3 spatial axes",
    "avg_pool_grad": "  gy (B, C, *Y) as avg_pool's y; the result has `shape`, avg_pool's x's",
    "batch_norm": "  x (B, C, ...), gamma and beta (C): the result has x's shape, the mean and variance (C)",
    "broadcast_to": "  x's shape broadcasts to `shape`, the result's",
    "concatenate": "  all but the axis are equal, along which the lengths add up",
    "conv": "  x (B, C, *X), w (K, C / groups, *W), b (K):\n"
    "  the result is (B, K, *Y), Y = (X + 2 pad - dilation (W - 1) - 1) // stride + 1; 1 to 3 spatial axes",
    "conv_grad_input": "  gy and w as conv's y and w; the result has `shape`, conv's x's",
    "conv_grad_weight": "  x and gy as conv's x and y; the result has `shape`, conv's w's",
    "fixed_batch_norm": "  x (B, C, ...), gamma, beta, mean and var (C): the result has x's shape",
    "layer_norm": "  x (..., C), gamma and beta (C): the result has x's shape",
    "linear": "  x (..., K), w (N, K), b (N): the result is (..., N)",
    "matmul": "  a (..., M, K), b (..., K, N): the result is (..., M, N), where the leading axes broadcast;\n"
    "  a 1-d operand lends its one axis",
    "max_pool": "  x (B, C, *X): both results are (B, C, *Y), Y = (X + 2 pad - ksize) // stride + 1; 1 to 3 spatial axes",
    "mean_squared_error": "  x and y have the same shape; the result is 0-d",
    "pad": "  axis i of the result is before[i] + x.shape[i] + after[i]",
    "reshape": "  the result has `shape`, of x's size",
    "scatter_add": "  y has x's shape with the axis replaced by the axes of indices; the result has x's shape",
    "scatter_add_along_axis": "  y and indices have the same shape, of x's rank; the result has x's shape",
    "slice": "  the result has ceil((stop - start) / step) elements along each axis",
    "slice_grad": "  gy has the shape of the slice, the result `shape`",
    "softmax_cross_entropy": "  x (B, C) or (B, C, ...), t without C: the result is 0-d",
    "squeeze": "  the result lacks the axes named, or all of length 1",
    "stack": "  all are equal; the result has one axis more",
    "take": "  the axis of x is replaced by the axes of indices",
    "take_along_axis": "  indices has x's rank, and its lengths but along the axis; the result has indices' shape",
    "topk": "  both results have x's shape, with k along the axis",
    "transpose": "  the result has x's axes in another order",
}

EXAMPLES = {
    "abs": """\
  >>> chx.abs([1, -2])
  array([1, 2])""",
    "acos": """\
  >>> chx.acos([1., 0.])
  array([0.        , 1.57079633])""",
    "acosh": """\
  >>> chx.acosh([1., 2.])
  array([0.       , 1.3169579])""",
    "add": """\
  >>> chx.add([1, 2], [10, 20])
  array([11, 22])""",
    "all": """\
  >>> chx.all([[True, True], [True, False]], axis=1)
  array([ True, False])""",
    "amax": """\
  >>> x = chx.array([[1., 2.], [3., 4.]])
  >>> chx.amax(x, axis=0)
  array([3., 4.])""",
    "amin": """\
  >>> x = chx.array([[1., 2.], [3., 4.]])
  >>> chx.amin(x, axis=0)
  array([1., 2.])""",
    "any": """\
  >>> chx.any([[True, True], [False, False]], axis=1)
  array([ True, False])""",
    "argmax": """\
  >>> chx.argmax([[1, 5], [7, 2]], axis=1)
  array([1, 0])""",
    "argmin": """\
  >>> chx.argmin([[1, 5], [7, 2]], axis=1)
  array([0, 1])""",
    "argsort": """\
  >>> chx.argsort([3, 1, 2])
  array([1, 2, 0])""",
    "asin": """\
  >>> chx.asin([0., 1.])
  array([0.        , 1.57079633])""",
    "asinh": """\
  >>> chx.asinh([0., 1.])
  array([0.        , 0.88137359])""",
    "atan": """\
  >>> chx.atan([0., 1.])
  array([0.        , 0.78539816])""",
    "atan2": """\
  >>> chx.atan2([0., 1.], [1., 1.])
  array([0.        , 0.78539816])""",
    "atanh": """\
  >>> chx.atanh([0., 0.5])
  array([0.        , 0.54930614])""",
    "avg_pool": """\
  >>> x = chx.arange(16, dtype="float32").reshape(1, 1, 4, 4)
  >>> chx.avg_pool(x, 2)
  array([[[[ 2.5,  4.5],
           [10.5, 12.5]]]], dtype=float32)""",
    "avg_pool_grad": """\
  >>> chx.avg_pool_grad(chx.ones((1, 1, 1, 1)), 2, (1, 1, 2, 2))
  array([[[[0.25, 0.25],
           [0.25, 0.25]]]])""",
    "batch_norm": """\
  >>> x = chx.array([[1.], [3.]])
  >>> y, mean, var = chx.batch_norm(x, [1.], [0.], eps=0.)
  >>> y
  array([[-1.],
         [ 1.]])
  >>> mean
  array([2.])""",
    "bitwise_and": """\
  >>> chx.bitwise_and([6, 5], 4)
  array([4, 4])""",
    "bitwise_or": """\
  >>> chx.bitwise_or([6, 5], 1)
  array([7, 5])""",
    "bitwise_xor": """\
  >>> chx.bitwise_xor([6, 5], 4)
  array([2, 1])""",
    "broadcast_to": """\
  >>> chx.broadcast_to([1, 2], (2, 2))
  array([[1, 2],
         [1, 2]])""",
    "cast": """\
  >>> chx.cast([1.5, 2.5], "int32")
  array([1, 2], dtype=int32)""",
    "ceil": """\
  >>> chx.ceil([1.5, -1.5])
  array([ 2., -1.])""",
    "clip": """\
  >>> chx.clip([1, 5, 9], 2, 8)
  array([2, 5, 8])""",
    "concatenate": """\
  >>> chx.concatenate([chx.array([1, 2]), chx.array([3])])
  array([1, 2, 3])""",
    "conv": """\
  >>> x = chx.arange(16, dtype="float32").reshape(1, 1, 4, 4)
  >>> chx.conv(x, chx.ones((1, 1, 2, 2), "float32"), stride=2)
  array([[[[10., 18.],
           [42., 50.]]]], dtype=float32)""",
    "conv_grad_input": """\
  >>> gy = chx.ones((1, 1, 1, 1))
  >>> chx.conv_grad_input(gy, chx.ones((1, 1, 2, 2)), (1, 1, 2, 2))
  array([[[[1., 1.],
           [1., 1.]]]])""",
    "conv_grad_weight": """\
  >>> gy = chx.ones((1, 1, 1, 1))
  >>> chx.conv_grad_weight(chx.ones((1, 1, 2, 2)), gy, (1, 1, 2, 2))
  array([[[[1., 1.],
           [1., 1.]]]])""",
    "copy": """\
  >>> x = chx.array([1, 2])
  >>> chx.copy(x) is x
  False""",
    "copysign": """\
  >>> chx.copysign([1., 2.], [-1., 1.])
  array([-1.,  2.])""",
    "cos": """\
  >>> chx.cos([0., 1.])
  array([1.        , 0.54030231])""",
    "cosh": """\
  >>> chx.cosh([0., 1.])
  array([1.        , 1.54308063])""",
    "cummax": """\
  >>> chx.cummax([1, 3, 2])
  array([1, 3, 3])""",
    "cummin": """\
  >>> chx.cummin([3, 1, 2])
  array([3, 1, 1])""",
    "cumprod": """\
  >>> chx.cumprod([1, 2, 3])
  array([1, 2, 6])""",
    "cumsum": """\
  >>> chx.cumsum([1, 2, 3])
  array([1, 3, 6])""",
    "div": """\
  >>> chx.div([1, 2], [2, 4])
  array([0.5, 0.5])""",
    "dropout": """\
  >>> chx.dropout([1., 2.], ratio=0.)
  array([1., 2.])""",
    "equal": """\
  >>> chx.equal([1, 2], [1, 3])
  array([ True, False])""",
    "erf": """\
  >>> chx.erf([0., 1.])
  array([0.        , 0.84270079])""",
    "exp": """\
  >>> chx.exp([0., 1.])
  array([1.        , 2.71828183])""",
    "exp2": """\
  >>> chx.exp2([0., 3.])
  array([1., 8.])""",
    "expm1": """\
  >>> chx.expm1([0., 1.])
  array([0.        , 1.71828183])""",
    "fixed_batch_norm": """\
  >>> chx.fixed_batch_norm([[1.], [3.]], [1.], [0.], [2.], [1.], eps=0.)
  array([[-1.],
         [ 1.]])""",
    "flip": """\
  >>> chx.flip([1, 2, 3])
  array([3, 2, 1])""",
    "floor": """\
  >>> chx.floor([1.5, -1.5])
  array([ 1., -2.])""",
    "floor_divide": """\
  >>> chx.floor_divide([7, -7], 2)
  array([ 3, -4])""",
    "fmax": """\
  >>> chx.fmax([1., chx.nan], [4., 2.])
  array([4., 2.])""",
    "fmin": """\
  >>> chx.fmin([1., chx.nan], [4., 2.])
  array([1., 2.])""",
    "fmod": """\
  >>> chx.fmod([7., -7.], 3.)
  array([ 1., -1.])""",
    "gelu": """\
  >>> chx.gelu([-1., 0., 1.])
  array([-0.15865525,  0.        ,  0.84134475])""",
    "greater": """\
  >>> chx.greater([1, 2], [1, 1])
  array([False,  True])""",
    "greater_equal": """\
  >>> chx.greater_equal([1, 2], [1, 3])
  array([ True, False])""",
    "hypot": """\
  >>> chx.hypot([3., 5.], [4., 12.])
  array([ 5., 13.])""",
    "invert": """\
  >>> chx.invert([0, 1])
  array([-1, -2])""",
    "isfinite": """\
  >>> chx.isfinite([1., chx.inf, chx.nan])
  array([ True, False, False])""",
    "isinf": """\
  >>> chx.isinf([1., chx.inf])
  array([False,  True])""",
    "isnan": """\
  >>> chx.isnan([1., chx.nan])
  array([False,  True])""",
    "layer_norm": """\
  >>> chx.layer_norm([[1., 3.]], [1., 1.], [0., 0.], eps=0.)
  array([[-1.,  1.]])""",
    "leaky_relu": """\
  >>> chx.leaky_relu([-1., 2.])
  array([-0.2,  2. ])""",
    "left_shift": """\
  >>> chx.left_shift([1, 2], 3)
  array([ 8, 16])""",
    "less": """\
  >>> chx.less([1, 2], [1, 3])
  array([False,  True])""",
    "less_equal": """\
  >>> chx.less_equal([1, 2], [1, 1])
  array([ True, False])""",
    "linear": """\
  >>> chx.linear([[1., 2.]], [[1., 1.], [1., -1.]], [10., 20.])
  array([[13., 19.]])""",
    "log": """\
  >>> chx.log([1., 10.])
  array([0.        , 2.30258509])""",
    "log10": """\
  >>> chx.log10([1., 1000.])
  array([0., 3.])""",
    "log1p": """\
  >>> chx.log1p([0., 1.])
  array([0.        , 0.69314718])""",
    "log2": """\
  >>> chx.log2([1., 8.])
  array([0., 3.])""",
    "log_softmax": """\
  >>> chx.log_softmax([[0., 0.]])
  array([[-0.69314718, -0.69314718]])""",
    "logaddexp": """\
  >>> chx.logaddexp([0., 1.], [0., 1.])
  array([0.69314718, 1.69314718])""",
    "logical_and": """\
  >>> chx.logical_and([True, True], [True, False])
  array([ True, False])""",
    "logical_not": """\
  >>> chx.logical_not([0, 2])
  array([ True, False])""",
    "logical_or": """\
  >>> chx.logical_or([False, True], [False, False])
  array([False,  True])""",
    "logical_xor": """\
  >>> chx.logical_xor([True, True], [True, False])
  array([False,  True])""",
    "logsumexp": """\
  >>> chx.logsumexp([0., 0.])
  array(0.69314718)""",
    "matmul": """\
  >>> chx.matmul([[1., 2.], [3., 4.]], [[1.], [1.]])
  array([[3.],
         [7.]])""",
    "max_pool": """\
  >>> x = chx.arange(16, dtype="float32").reshape(1, 1, 4, 4)
  >>> y, indices = chx.max_pool(x, 2)
  >>> y
  array([[[[ 5.,  7.],
           [13., 15.]]]], dtype=float32)
  >>> indices
  array([[[[ 5,  7],
           [13, 15]]]])""",
    "maximum": """\
  >>> chx.maximum([1, 5], [4, 2])
  array([4, 5])""",
    "mean": """\
  >>> x = chx.array([[1., 2.], [3., 4.]])
  >>> chx.mean(x, axis=1)
  array([1.5, 3.5])""",
    "mean_squared_error": """\
  >>> chx.mean_squared_error([1., 2.], [1., 4.])
  array(2.)""",
    "minimum": """\
  >>> chx.minimum([1, 5], [4, 2])
  array([1, 2])""",
    "mul": """\
  >>> chx.mul([[1], [2]], [10, 20])
  array([[10, 20],
         [20, 40]])""",
    "neg": """\
  >>> chx.neg([1, -2])
  array([-1,  2])""",
    "not_equal": """\
  >>> chx.not_equal([1, 2], [1, 3])
  array([False,  True])""",
    "pad": """\
  >>> chx.pad([1, 2], before=1, after=2)
  array([0, 1, 2, 0, 0])""",
    "pow": """\
  >>> chx.pow([1, 2, 3], 2)
  array([1, 4, 9])""",
    "prod": """\
  >>> x = chx.array([[1., 2.], [3., 4.]])
  >>> chx.prod(x, axis=0)
  array([3., 8.])""",
    "reciprocal": """\
  >>> chx.reciprocal([1., 2., 4.])
  array([1.  , 0.5 , 0.25])""",
    "relu": """\
  >>> chx.relu([-1., 2.])
  array([0., 2.])""",
    "relu_grad": """\
  >>> chx.relu_grad([1., -1.], [5., 5.])
  array([5., 0.])""",
    "remainder": """\
  >>> chx.remainder([7, -7], 3)
  array([1, 2])""",
    "reshape": """\
  >>> chx.reshape([1, 2, 3, 4], (2, -1))
  array([[1, 2],
         [3, 4]])""",
    "right_shift": """\
  >>> chx.right_shift([8, 16], 3)
  array([1, 2])""",
    "rint": """\
  >>> chx.rint([0.5, 1.5, 2.5])
  array([0., 2., 2.])""",
    "rsqrt": """\
  >>> chx.rsqrt([1., 4., 16.])
  array([1.  , 0.5 , 0.25])""",
    "scatter_add": """\
  >>> chx.scatter_add([0., 0., 0.], [2, 0, 2], [1., 2., 3.])
  array([2., 0., 4.])""",
    "scatter_add_along_axis": """\
  >>> chx.scatter_add_along_axis([[0., 0.]], [[1]], [[5.]], axis=1)
  array([[0., 5.]])""",
    "sigmoid": """\
  >>> chx.sigmoid([0., 1.])
  array([0.5       , 0.73105858])""",
    "sign": """\
  >>> chx.sign([3, 0, -2])
  array([ 1,  0, -1])""",
    "sin": """\
  >>> chx.sin([0., 1.])
  array([0.        , 0.84147098])""",
    "sinh": """\
  >>> chx.sinh([0., 1.])
  array([0.        , 1.17520119])""",
    "slice": """\
  >>> chx.slice([0, 1, 2, 3, 4, 5], start=1, stop=6, step=2)
  array([1, 3, 5])""",
    "slice_grad": """\
  >>> chx.slice_grad([7., 8.], shape=4, start=1, stop=3)
  array([0., 7., 8., 0.])""",
    "softmax": """\
  >>> chx.softmax([[0., 0.]])
  array([[0.5, 0.5]])""",
    "softmax_cross_entropy": """\
  >>> chx.softmax_cross_entropy([[0., 0.]], [1])
  array(0.69314718)""",
    "softplus": """\
  >>> chx.softplus([0., 1.])
  array([0.69314718, 1.31326169])""",
    "sort": """\
  >>> chx.sort([3, 1, 2])
  array([1, 2, 3])
  >>> chx.sort([3, 1, 2], descending=True)
  array([3, 2, 1])""",
    "sqrt": """\
  >>> chx.sqrt([1., 4., 9.])
  array([1., 2., 3.])""",
    "square": """\
  >>> chx.square([1, -2, 3])
  array([1, 4, 9])""",
    "squeeze": """\
  >>> chx.squeeze(chx.zeros((1, 3, 1)), axis=0).shape
  (3, 1)""",
    "stack": """\
  >>> chx.stack([chx.array([1, 2]), chx.array([3, 4])])
  array([[1, 2],
         [3, 4]])""",
    "sub": """\
  >>> chx.sub([1, 2], [10, 20])
  array([ -9, -18])""",
    "sum": """\
  >>> x = chx.array([[1., 2.], [3., 4.]])
  >>> chx.sum(x)
  array(10.)
  >>> chx.sum(x, axis=0)
  array([4., 6.])
  >>> chx.sum(x, axis=1, keepdims=True).shape
  (2, 1)""",
    "take": """\
  >>> chx.take([10, 20, 30], [2, 0])
  array([30, 10])""",
    "take_along_axis": """\
  >>> chx.take_along_axis([[1, 2], [3, 4]], [[1], [0]], axis=1)
  array([[2],
         [3]])""",
    "tan": """\
  >>> chx.tan([0., 1.])
  array([0.        , 1.55740772])""",
    "tanh": """\
  >>> chx.tanh([0., 1.])
  array([0.        , 0.76159416])""",
    "topk": """\
  >>> values, indices = chx.topk([3, 1, 2], k=2)
  >>> values
  array([3, 2])
  >>> indices
  array([0, 2])""",
    "transpose": """\
  >>> chx.transpose([[1, 2], [3, 4]])
  array([[1, 3],
         [2, 4]])
  >>> chx.transpose(chx.zeros((2, 3, 4)), (2, 0, 1)).shape
  (4, 2, 3)""",
    "trunc": """\
  >>> chx.trunc([1.5, -1.5])
  array([ 1., -1.])""",
    "where": """\
  >>> chx.where([True, False], [1, 2], [10, 20])
  array([ 1, 20])""",
}
