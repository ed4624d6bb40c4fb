"""The kernel that decides about a step on the device: see `samestep.step.measurement`.

It takes what `HostJudge` takes and does the same operations in the same order: the sums of all
tensors are added in float64, by halves. One block of 256 threads.

===================  ====================  ====================================================
``squares32``, -64   ``const REAL *``      a sum of squares per tensor, by compute dtype: a tensor
                                           has its sum in one of them, zero in the other; null
                                           where there is none
``differences32``    ``const REAL *``      likewise: 0, or NaN if a gradient is not finite
``n``                ``long long``         number of tensors
``workspace``        ``double *``          ``n`` numbers
``limit``            ``const double *``    what the norm is to be at most; infinite for no limit
``control``          ``double *``          three results: the factor of all gradients'
                                           coefficients, 1 to skip the step (else 0), the norm
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
    const double sum = values[0];
    __syncthreads();
    return sum;
}

extern "C" __global__ void __launch_bounds__(256) judge(
    const float *squares32, const double *squares64, const float *differences32,
    const double *differences64, long long n, double *workspace, const double *limit, double *control)
{
    double factor = 1, norm = 0;
    if (squares32 || squares64) {
        norm = sqrt(over_all(squares32, squares64, n, workspace));
        if (norm > *limit) factor = *limit / norm;
    }
    bool finite = true;
    if (differences32 || differences64)
        finite = over_all(differences32, differences64, n, workspace) == 0;
    if (threadIdx.x == 0) {
        control[0] = factor;
        control[1] = finite ? 0 : 1;
        control[2] = norm;
    }
}
"""
