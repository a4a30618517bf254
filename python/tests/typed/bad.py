# SPDX-License-Identifier: MIT
"""What mypy must refuse: one error in each line that names it, and none elsewhere. It is never run."""
import chx

x = chx.ones((2, 2))
chx.max_pool(x)  # error: call-arg
chx.cast(x)  # error: call-arg
chx.sum(x, axes=0)  # error: call-overload
chx.softmax(x, axis="last")  # error: arg-type
chx.relu(None)  # error: arg-type
chx.relu(x, out=3)  # error: arg-type
chx.reshape(x, "flat")  # error: arg-type
chx.zeros((2, 2), dtype=3)  # error: arg-type
chx.scan(x)  # error: attr-defined
y: int = chx.add(x, 1)  # error: assignment
values, indices, more = chx.topk(x)  # error: misc
x.shape = (4,)  # error: misc
x.to(device="sim:0")  # error: call-arg
x.device.to("sim:0")  # error: attr-defined
x.grad.sum()  # error: union-attr
x + None  # error: operator
x - [1, 2]  # error: operator
x.add_hook("hook")  # error: arg-type
chx.dropout(x, ratio=0.5, seed=1)  # error: call-arg
chx.using_device(0)  # error: arg-type
with chx.zeros(3):  # error: attr-defined
    pass
