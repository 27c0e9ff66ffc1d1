// Layer norm of a row whose width is a multiple of LANES, forwards and backwards.

#pragma once

#include <cmath>

#include "lanes.h"

namespace hepml {

struct Moments {
    float mean, inverse;  // inverse: 1/deviation

    floats normal(floats x) const { return (x - mean) * inverse; }
};

inline Moments moments_of(const float *x, int64_t width, float eps) {
    floats total = all(0), square = all(0);
    for (int64_t j = 0; j < width; j += LANES) total += load(x + j);
    const float mean = sum(total) / width;
    for (int64_t j = 0; j < width; j += LANES) {
        floats y = load(x + j) - mean;
        square += y * y;
    }
    return {mean, 1 / std::sqrt(sum(square) / width + eps)};
}

inline void normalise(const float *x, Moments m, const float *gain, const float *shift,
                      int64_t width, float *out) {
    for (int64_t j = 0; j < width; j += LANES)
        store(out + j, m.normal(load(x + j)) * load(gain + j) + load(shift + j));
}

// Gradient of what stands before a norm: (g - mean(g) - n mean(g n)) / deviation, with n the
// normalised row and g the gradient before gain and shift. First `behind` for the whole row.
struct NormBackward {
    floats of_all = all(0), of_product = all(0);
    float mean = 0, slope = 0;

    // From the gradient behind gain and shift to g; adds up those of gain and shift.
    floats behind(floats gradient, floats n, const float *gain, float *of_gain, float *of_shift) {
        add(of_gain, gradient * n);
        add(of_shift, gradient);
        floats g = gradient * load(gain);
        of_all += g;
        of_product += g * n;
        return g;
    }

    void whole_row(int64_t width) {
        mean = sum(of_all) / width;
        slope = sum(of_product) / width;
    }

    floats before(floats g, floats n, float inverse) const {
        return (g - mean - n * slope) * inverse;
    }
};

}  // namespace hepml
