"""
One cycle: rate and momentum in opposite directions
===================================================

The 1-cycle policy raises the learning rate tenfold, brings it back, and ends very low.
The momentum changes in the opposite direction. This page draws its variants, and shows
why the momentum changes at all.
"""

# %%
# Three phases, or two
# --------------------
# By default the rate rises for 45% of the training, returns to its initial value, and
# falls by a factor of a thousand in the last tenth. ``final_fraction=0.0`` merges the
# last two phases, as PyTorch and fastai do; ``anneal="cosine"`` smooths the corners.

import matplotlib.pyplot as plt
import numpy as np

from keras_dnn.optimizers.schedules import OneCycle

TOTAL_STEPS = 1000
steps = np.arange(TOTAL_STEPS)
variants = {
    "three phases": OneCycle(0.1, TOTAL_STEPS),
    "cosine": OneCycle(0.1, TOTAL_STEPS, anneal="cosine"),
    "two phases, cosine": OneCycle(
        0.1, TOTAL_STEPS, warmup_fraction=0.3, final_fraction=0.0, anneal="cosine"
    ),
}

figure, (rates, momenta) = plt.subplots(
    2, 1, figsize=(7, 5), sharex=True, layout="constrained"
)
for name, rate in variants.items():
    rates.plot(steps, rate.values(steps), label=name)
    momenta.plot(steps, rate.momentum().values(steps))
rates.set_ylabel("learning rate")
rates.legend(frameon=False)
momenta.set(xlabel="step", ylabel="momentum")

# %%
# The values at which the phases meet are reached exactly, and after the end the rate
# keeps its last value.

print(variants["three phases"].values([0, 450, 899, 999, 5000]))

# %%
# Why the momentum changes
# ------------------------
# As long as the gradient stays the same, momentum :math:`\beta` turns a rate of
# :math:`\eta` into an effective rate of :math:`\eta / (1 - \beta)`: twenty times the
# rate at 0.95, less than seven times at 0.85. So the momentum partly compensates the
# rate: while the rate changes by a factor of ten, the effective rate changes by little
# more than three.

rate = variants["three phases"]
constant = rate.values(steps) / (1 - 0.95)
opposite = rate.values(steps) / (1 - rate.momentum().values(steps))

_, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
ax.plot(steps, constant, label="momentum 0.95 throughout")
ax.plot(steps, opposite, label="momentum in the opposite direction")
ax.set(xlabel="step", ylabel="effective rate η / (1 − β)")
ax.legend(frameon=False)

for name, effective in {"constant": constant, "opposite": opposite}.items():
    growth = effective.max() / effective[0]
    print(f"{name} momentum: the effective rate grows {growth:.1f} times")

# %%
# In training
# -----------
# Both are passed to the optimizer, which reads them inside the compiled step:
#
# .. code-block:: python
#
#    rate = OneCycle(max_learning_rate=0.1, total_steps=epochs * steps_per_epoch)
#    model.compile(optimizer=Nesterov(rate, momentum=rate.momentum()), loss=...)
