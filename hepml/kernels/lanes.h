// Eight numbers at a time, in the vector extensions of GCC and Clang: no instruction set by name.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace hepml {

constexpr int64_t LANES = 8;
typedef float floats __attribute__((vector_size(32)));
typedef int32_t ints __attribute__((vector_size(32)));

inline floats load(const float *from) {
    floats x;
    std::memcpy(&x, from, sizeof x);
    return x;
}

inline void store(float *to, floats x) { std::memcpy(to, &x, sizeof x); }

inline void add(float *to, floats x) { store(to, load(to) + x); }

inline floats all(float x) { return x - floats{}; }

// b where one of them is not a number
inline floats larger(floats a, floats b) { return a > b ? a : b; }

inline floats smaller(floats a, floats b) { return a < b ? a : b; }

inline float sum(floats x) {
    return ((x[0] + x[4]) + (x[1] + x[5])) + ((x[2] + x[6]) + (x[3] + x[7]));
}

inline float largest(floats x) {
    float most = x[0];
    for (int lane = 1; lane < LANES; lane++) most = std::max(most, x[lane]);
    return most;
}

inline int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// 2^x of x <= 0, relative error 1e-7; about 1e-38 below -126. The polynomial is the best of its
// degree on [-1/2, 1/2] (least squares with weights that level the relative error: 2e-9).
inline floats power_of_two(floats x) {
    x = larger(all(-126.0f), x);
    ints whole = __builtin_convertvector(x - 0.5f, ints);
    floats r = x - __builtin_convertvector(whole, floats), r2 = r * r;
    floats low = r * 0.693147206f + 1.0f, middle = r * 0.0555032878f + 0.240226469f;
    floats high = r2 * 0.000153458116f + (r * 0.00133999312f + 0.00961848896f);
    floats p = (high * r2 + middle) * r2 + low;
    return (floats)((ints)p + (whole << 23));
}

inline floats exponential(floats x) { return power_of_two(x * 1.44269504f); }

// Cumulative distribution of the normal distribution, error 1e-7 (Abramowitz & Stegun, 7.1.26),
// and exp(-x²/2), its density but for a factor.
inline floats cumulative(floats x, floats &density) {
    density = power_of_two(x * x * -0.72134752f);
    floats t = 1.0f / (1.0f + 0.231641888f * larger(x, -x));
    floats p = 1.061405429f * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    floats tail = 0.5f * p * t * density;
    return x > 0 ? 1.0f - tail : tail;
}

// erf(z); the best ratio of polynomials of z² of these degrees up to 3.9, where 1 - erf is 3e-8
// (least squares with weights that level the relative error: 2e-8).
inline floats error_function(floats z) {
    z = smaller(all(3.9f), larger(all(-3.9f), z));
    floats u = z * z;
    floats p = u * 2.06648205e-06f + 0.00028506327f, q = u * 3.82701705e-05f + 0.0011573805f;
    p = p * u + 0.00373835741f;
    q = q * u + 0.0149142986f;
    p = p * u + 0.052668119f;
    q = q * u + 0.113819033f;
    p = p * u + 0.189666967f;
    q = q * u + 0.501420754f;
    p = p * u + 1.12837915f;
    q = q * u + 1.0f;
    return z * p / q;
}

// x times the cumulative distribution of x (arXiv:1606.08415, not its approximation by tanh)
inline floats gelu(floats x) {
    floats half = 0.5f * x;
    return half + half * error_function(x * 0.70710678f);
}

// The same, and its slope.
inline floats gelu(floats x, floats &slope) {
    floats density, c = cumulative(x, density);
    slope = c + x * density * 0.39894228f;
    return x * c;
}

// Call do_part(first, last, number of the part) for as many parts as there are threads. Threads are
// OpenMP's: PyTorch's own, where it has loaded the same library.
template <class Part>
void in_parts(int64_t total, int64_t threads, Part do_part) {
    const int64_t parts = std::max<int64_t>(1, std::min(threads, total));
#pragma omp parallel for schedule(static, 1) num_threads(int(parts)) if (parts > 1)
    for (int64_t part = 0; part < parts; part++)
        do_part(total * part / parts, total * (part + 1) / parts, part);
}

// Sums of the parts; one that had nothing to do is empty.
inline void add_up(const std::vector<std::vector<float>> &parts, int64_t size, float *total) {
    std::fill(total, total + size, 0.0f);
    for (const std::vector<float> &part : parts)
        for (int64_t j = 0; j < size && !part.empty(); j++) total[j] += part[j];
}

}  // namespace hepml
