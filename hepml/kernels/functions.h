// Elementary functions of eight numbers at a time.

#pragma once

#include "lanes.h"

namespace hepml {

constexpr float PI = 3.14159265f;

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

// ln x of a normal number: x = 2^e m with m around 1, and ln m = 2 artanh((m - 1)/(m + 1)), whose
// series up to the ninth power is good to 1e-9.
inline floats logarithm(floats x) {
    ints exponent = (((ints)x - 0x3f3504f3) >> 23);  // m from √½ to √2
    floats m = (floats)((ints)x - (exponent << 23));
    floats s = (m - 1.0f) / (m + 1.0f), z = s * s;
    floats series = ((0.222222222f * z + 0.285714286f) * z + 0.4f) * z + 0.666666667f;
    return __builtin_convertvector(exponent, floats) * 0.693147181f + (2.0f * s + s * z * series);
}

// arctan t for |t| <= 1, relative error 1e-7: an eighth of a turn less beyond tan(π/8). The
// polynomial is the best of its degree below (least squares with weights that level the relative
// error: 2e-8).
inline floats arctangent(floats t) {
    floats size = absolute(t);
    const ints far = size > 0.414213562f;
    floats x = chosen(far, (size - 1.0f) / (size + 1.0f), size), z = x * x;
    floats p = ((0.08059819f * z - 0.13879709f) * z + 0.19977914f) * z - 0.33332956f;
    floats angle = x + x * z * p;
    return with_sign(chosen(far, angle + 0.25f * PI, angle), t);
}

// tanh x, relative error 1e-7: up to 0.55 the best polynomial of its degree (least squares with
// weights that level the relative error: 4e-8), beyond from exp(-2|x|).
inline floats hyperbolic_tangent(floats x) {
    floats size = absolute(x), z = x * x;
    floats p = ((0.0164585989f * z - 0.052684065f) * z + 0.133209407f) * z - 0.333329588f;
    floats e = exponential(-2.0f * size);
    floats far = (1.0f - e) / (1.0f + e);
    return chosen(size > 0.55f, with_sign(far, x), x + x * z * p);
}

}  // namespace hepml
