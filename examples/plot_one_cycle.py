"""
One cycle: rate and momentum against each other
===============================================

The 1-cycle policy raises the learning rate tenfold, brings it back, and ends very low.
The momentum goes the other way. This page draws the forms it comes in, and why the
momentum moves at all.
"""

# %%
# Three phases, or two
# --------------------
# By default the rate climbs for 45 % of the training, comes back to where it began, and
# spends the last tenth going a thousand times lower. ``final_fraction=0.0`` merges the
# last two phases, the form of PyTorch and fastai; ``anneal="cosine"`` rounds the
# corners.

import matplotlib.pyplot as plt
import numpy as np

from keras_dnn.optimizers.schedules import OneCycle

TOTAL_STEPS = 1000
steps = np.arange(TOTAL_STEPS)
forms = {
    "three phases": OneCycle(0.1, TOTAL_STEPS),
    "cosine": OneCycle(0.1, TOTAL_STEPS, anneal="cosine"),
    "two phases, cosine": OneCycle(
        0.1, TOTAL_STEPS, warmup_fraction=0.3, final_fraction=0.0, anneal="cosine"
    ),
}

figure, (rates, momenta) = plt.subplots(
    2, 1, figsize=(7, 5), sharex=True, layout="constrained"
)
for name, rate in forms.items():
    rates.plot(steps, rate.values(steps), label=name)
    momenta.plot(steps, rate.momentum().values(steps))
rates.set_ylabel("learning rate")
rates.legend(frameon=False)
momenta.set(xlabel="step", ylabel="momentum")

# %%
# The four values at which the phases meet are met exactly, and a step past the end
# holds the last one.

print(forms["three phases"].values([0, 450, 899, 999, 5000]))

# %%
# Why the momentum moves
# ----------------------
# Where the gradient stays the same, momentum :math:`\beta` adds up steps of
# :math:`\eta` to :math:`\eta / (1 - \beta)`: at 0.95 twenty of them, at 0.85 fewer than
# seven. So the momentum takes back a part of what the rate adds. The rate moves by a
# factor of ten, the stride by little more than three.

rate = forms["three phases"]
constant = rate.values(steps) / (1 - 0.95)
partner = rate.values(steps) / (1 - rate.momentum().values(steps))

_, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
ax.plot(steps, constant, label="momentum 0.95 throughout")
ax.plot(steps, partner, label="momentum partner")
ax.set(xlabel="step", ylabel="stride η / (1 − β)")
ax.legend(frameon=False)

print(f"constant momentum: the stride grows {constant.max() / constant[0]:.1f} times")
print(f"momentum partner:  the stride grows {partner.max() / partner[0]:.1f} times")

# %%
# In training
# -----------
# Both are given to the optimizer, which reads them inside the compiled step:
#
# .. code-block:: python
#
#    rate = OneCycle(max_learning_rate=0.1, total_steps=epochs * steps_per_epoch)
#    model.compile(optimizer=Nesterov(rate, momentum=rate.momentum()), loss=...)
