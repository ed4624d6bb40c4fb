"""The kernel that decides about a step on the device: see `samestep.step.measurement`.

It takes what `HostJudge` takes and does the same operations in the same order: the sums of all
tensors are added in float64, by halves. One block of 256 threads.

===================  ====================  ====================================================
``sums32``, ``-64``  ``const REAL *``      a sum per tensor, by compute dtype: a tensor has its sum
                                           in one of them, zero in the other; null where there is
                                           none
``n``                ``long long``         number of tensors
``look``             ``long long``         0: at differences, which are 0, or NaN if a gradient is
                                           not finite; 1 and 2: at sums of squares, before and
                                           after they have been measured again, where that was
                                           necessary
``workspace``        ``double *``          ``n`` numbers
``numbers``          ``const double *``    what the norm is to be at most, infinite for no limit;
                                           what gradients are multiplied by to be measured again
``control``          ``double *``          of looks 0 and 2: the factor of all gradients'
                                           coefficients, 1 to skip the step (else 0), the norm; then
                                           of look 1: the factor of the second measurement, 1 to
                                           skip it
===================  ====================  ====================================================
"""

from __future__ import annotations

NAME = "judge"
SOURCE = """\
/* judge: what follows from the sums of all tensors: clip, or skip the step.
 *
 * Part of samestep.
 */
/* the sum of both vectors' values, by halves: the upper half starts at ceil(n / 2) */
static __device__ double over_all(const float *single, const double *twice, long long n, double *values)
{
    for (long long i = threadIdx.x; i < n; i += blockDim.x)
        values[i] = (single ? (double)single[i] : 0) + (twice ? twice[i] : 0);
    __syncthreads();
    while (n > 1) {
        const long long half = (n + 1) / 2;
        for (long long i = threadIdx.x; i < n - half; i += blockDim.x)
            values[i] = values[i] + values[half + i];
        __syncthreads();
        n = half;
    }
    return values[0];
}

extern "C" __global__ void __launch_bounds__(256) judge(
    const float *sums32, const double *sums64, long long n, long long look, double *workspace,
    const double *numbers, double *control)
{
    const double total = over_all(sums32, sums64, n, workspace);
    if (threadIdx.x != 0) return;
    if (look == 1) {
        control[3] = numbers[1];
        control[4] = total - total == 0;
        return;
    }
    double factor = 1, norm = 0;
    bool finite = total == 0;
    if (look == 2) {
        norm = sqrt(total) / (control[4] != 0 ? 1 : numbers[1]);
        if (norm > numbers[0]) factor = numbers[0] / norm;
        finite = norm - norm == 0;
    }
    control[0] = factor;
    control[1] = finite ? 0 : 1;
    control[2] = norm;
}
"""
