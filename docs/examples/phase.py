"""Find a complex object from the intensities of its diffraction patterns (ptychography).

A beam of known shape lights one part of the object after the other; the parts overlap. A detector
far away sees the intensity of the Fourier transform only: the phases are lost. Object and gradient
are complex NumPy arrays, and go into the optimizer as they are.
"""

import numpy as np
import samestep as ss

SIZE, BEAM = 64, 24  # pixels of the object and of the beam, along each axis
rng = np.random.default_rng(0)

# the object: amplitude between 0.4 and 1, phase between -1 and 1
y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
ring = np.exp(-(((np.hypot(x, y) - 0.5) / 0.15) ** 2))
true_object = (1 - 0.6 * ring) * np.exp(1j * np.sin(4 * x) * np.cos(3 * y))

v, u = np.mgrid[-1 : 1 : BEAM * 1j, -1 : 1 : BEAM * 1j]
beam = np.exp(-2 * (u**2 + v**2))
corners = [(i, j) for i in range(0, SIZE - BEAM + 1, 8) for j in range(0, SIZE - BEAM + 1, 8)]


def seen(guess):
    """The waves at the detector, one for each position of the beam."""
    parts = np.stack([guess[i : i + BEAM, j : j + BEAM] for i, j in corners])
    return np.fft.fft2(parts * beam, norm="ortho")


measured = np.abs(seen(true_object)) * (1 + 0.01 * rng.standard_normal((len(corners), BEAM, BEAM)))


def loss_and_gradient(guess):
    waves = seen(guess)
    error = np.abs(waves) - measured
    back = np.fft.ifft2(error * waves / (np.abs(waves) + 1e-12), norm="ortho") * beam
    gradient = np.zeros_like(guess)
    for (i, j), part in zip(corners, back, strict=True):
        gradient[i : i + BEAM, j : j + BEAM] += 2 * part
    return (error**2).sum(), gradient


guess = np.ones((SIZE, SIZE), np.complex128)
steps = 300
opt = ss.Adam(guess, lr=ss.schedules.cosine(0.05, T_max=steps))
losses = []
for _step in range(steps):
    loss, gradient = loss_and_gradient(guess)
    losses.append(loss)
    opt.step(gradient)

# a phase that is the same everywhere cannot be seen: take it out before comparing
guess *= np.exp(-1j * np.angle(np.vdot(true_object, guess)))
inside = (slice(12, -12), slice(12, -12))  # where every pixel was lit several times
error = np.linalg.norm((guess - true_object)[inside]) / np.linalg.norm(true_object[inside])
print(f"loss {losses[0]:.0f} -> {losses[-1]:.1f}, error of the object {100 * error:.1f} %")
