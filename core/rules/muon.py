"""Muon: momentum whose singular values are brought close to 1 by a Newton-Schulz iteration.

Jordan et al., Muon: An optimizer for hidden layers in neural networks, 2024
(https://kellerjordan.github.io/posts/muon); the accepted reference is ``torch.optim.Muon``. Liu et
al., Muon is Scalable for LLM Training, arXiv:2502.16982, section 2.2, scale the step otherwise, to
AdamW's root mean square: ``match_rms_adamw`` (torch: ``adjust_lr_fn="match_rms_adamw"``).

A parameter of more than two axes is a matrix of its first axis against all others, as a convolution
is in Jordan's code (torch takes two axes only). One of fewer is an error: vectors, and as a rule
the embedding and the last layer, too, are for another rule of the same optimizer, such as AdamW.

The momentum buffer is the running mean of gradients, as in torch's code and Jordan's newer one.
With ``summed_momentum`` it is their sum, as in torch's text, Moonlight's code and Keras: larger by
``1 / (1 - momentum)``, and so is what is then scaled to norm 1. So steps differ by rounding, by
``eps``, and where the momentum changes.

``ns_coefficients`` are three numbers, or ``"polar_express"``: those of Amsel et al.,
arXiv:2505.16932, which are others at each step. Singular values from anywhere between 0.003 and 1
come in five steps to between 0.68 and 1.21 with Jordan's numbers, which bring them hardly nearer in
more steps, and to between 0.87 and 1.13 with these, which make 1 of them in seven, but for 1e-5.

Deviations from torch: the iteration computes in the compute dtype, float32 or float64; torch's in
bfloat16 always, and so its steps are some percent off. ``ns_dtype="bfloat16"`` does so, too, with
PyTorch's products (backend ``torch``); other backends refuse it. ``adjust_lr_fn`` is called
``match_rms_adamw``. Decay is subtracted together with the step (see ``adam.py``). The products have
the bits of one library on one machine only, so golden files have a tolerance. On a CUDA device they
are as exact as the user has set the library: where it may use TF32
(``torch.backends.cuda.matmul``), with 10 bits.

Limit: a gradient with an infinity or NaN makes the parameter NaN, all of it; ``skip_nonfinite``
leaves such steps out. Momentum whose norm is above 1.8e19 in float32 (float64: 1.3e154) makes no
step.
"""

from ..language.rule import Rule
from ..parts.decay import decoupled
from ..parts.orthogonal import BOUNDS, CHOICES, JORDAN, Orthogonal

REFERENCE = "Jordan et al., Muon: An optimizer for hidden layers in neural networks, 2024."


def muon_row(xp, h, eps, orthogonal):
    """Return the scalars of Muon's step; ``eps`` is the least norm that is divided by."""
    rest = xp.where(h.summed_momentum > 0, 1, 1 - h.momentum)
    return dict(
        lr=h.lr,
        decay=h.lr * h.weight_decay,
        momentum=h.momentum,
        rest=rest,
        of_grad=xp.where(h.nesterov > 0, rest, 0),
        of_buffer=xp.where(h.nesterov > 0, h.momentum, 1),
        **orthogonal.coefficients_of(h),
        eps=eps,
        ns_steps=h.ns_steps,
        match_rms_adamw=h.match_rms_adamw,
    )


def step_scale(xp, s, matrix):
    """Return what makes steps of matrices of any shape comparable."""
    rows, columns = xp.size(matrix, per="column"), xp.size(matrix, per="row")
    longer = xp.maximum(rows, columns)
    usual_scale, rms_scale = xp.sqrt(longer / columns), 0.2 * xp.sqrt(longer)
    return xp.where(s.match_rms_adamw > 0, rms_scale, usual_scale)


def orthogonalized(xp, s, grad, momentum_buffer, orthogonal):
    """Return the momentum with singular values close to 1, and the buffer after this gradient."""
    momentum_buffer = s.momentum * momentum_buffer + s.rest * grad
    direction = s.of_grad * grad + s.of_buffer * momentum_buffer
    direction = direction / xp.maximum(xp.norm(direction), s.eps)
    return orthogonal(xp, s, direction), momentum_buffer


def muon(ns_coefficients=None, ns_dtype=None):
    orthogonal = Orthogonal(ns_coefficients, ns_dtype)

    def scalars(xp, step, carry, h):
        return muon_row(xp, h, h.eps, orthogonal), carry

    def delta(xp, s, param, grad, momentum_buffer):
        whole, momentum_buffer = orthogonalized(xp, s, grad, momentum_buffer, orthogonal)
        return s.lr * (step_scale(xp, s, grad) * whole), momentum_buffer

    return Rule(
        "muon",
        scalars,
        delta=delta,
        decay=decoupled,
        defaults=dict(
            lr=1e-3,
            weight_decay=0.1,
            momentum=0.95,
            nesterov=True,
            ns_coefficients=JORDAN,
            eps=1e-7,
            ns_steps=5.0,
            match_rms_adamw=False,
            summed_momentum=False,
        ),
        bounds=BOUNDS,
        options=dict(ns_coefficients=ns_coefficients, ns_dtype=ns_dtype),
        choices=CHOICES,
        factory=muon,
        reference=REFERENCE,
    )
