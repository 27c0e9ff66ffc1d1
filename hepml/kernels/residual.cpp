// The two residual steps of an attention block in one pass over each row, forwards and backwards.

#include "lanes.h"

#include <cmath>

using namespace hepml;

namespace {

// Mean and 1/deviation of `width` numbers.
inline void row_norm(const float *x, int64_t width, float eps, float *moments) {
    floats total = all(0), square = all(0);
    for (int64_t j = 0; j < width; j += LANES) total += load(x + j);
    const float mean = sum(total) / width;
    for (int64_t j = 0; j < width; j += LANES) {
        floats y = load(x + j) - mean;
        square += y * y;
    }
    moments[0] = mean;
    moments[1] = 1 / std::sqrt(sum(square) / width + eps);
}

}  // namespace

extern "C" {

// y = x + factors * norm(h + bias) and out = norm(y), the norms with gains and shifts of their own.
// All (rows, width), width a multiple of 8; parameters: bias, gain and shift of the first norm, gain
// and shift of the second, (5, width). factors: of dropout, or null. moments: (rows, 4), means and
// 1/deviations of both.
void add_norm(const float *x, const float *h, const float *factors, const float *parameters,
              float eps, int64_t rows, int64_t width, int64_t threads, float *y, float *out,
              float *moments) {
    const float *bias = parameters, *gain = bias + width, *shift = gain + width,
                *gain2 = shift + width, *shift2 = gain2 + width;
    in_parts(rows, threads, [=](int64_t from, int64_t to, int64_t) {
        for (int64_t i = from; i < to; i++) {
            const int64_t at = i * width;
            float *m = moments + 4 * i;
            for (int64_t j = 0; j < width; j += LANES)
                store(y + at + j, load(h + at + j) + load(bias + j));
            row_norm(y + at, width, eps, m);
            for (int64_t j = 0; j < width; j += LANES) {
                floats z = (load(y + at + j) - m[0]) * m[1] * load(gain + j) + load(shift + j);
                if (factors) z *= load(factors + at + j);
                store(y + at + j, load(x + at + j) + z);
            }
            row_norm(y + at, width, eps, m + 2);
            for (int64_t j = 0; j < width; j += LANES)
                store(out + at + j,
                      (load(y + at + j) - m[2]) * m[3] * load(gain2 + j) + load(shift2 + j));
        }
    });
}

// of_parameters: gradients of the parameters, (5, width); of_y and of_out: those of the outputs.
void add_norm_backward(const float *h, const float *y, const float *factors,
                       const float *parameters, const float *moments, const float *of_y,
                       const float *of_out, int64_t rows, int64_t width, int64_t threads,
                       float *of_x, float *of_h, float *of_parameters) {
    const float *bias = parameters, *gain = bias + width, *gain2 = gain + 2 * width;
    std::vector<std::vector<float>> sums(std::max<int64_t>(1, threads));
    in_parts(rows, threads, [&](int64_t from, int64_t to, int64_t part) {
        sums[part].assign(6 * width, 0.0f);
        float *of_bias = sums[part].data(), *of_gain = of_bias + width, *of_shift = of_gain + width,
              *of_gain2 = of_shift + width, *of_shift2 = of_gain2 + width,
              *normal = of_shift2 + width;
        for (int64_t i = from; i < to; i++) {
            const float *m = moments + 4 * i;
            const int64_t at = i * width;
            floats first = all(0), second = all(0);
            for (int64_t j = 0; j < width; j += LANES) {
                floats n = (load(y + at + j) - m[2]) * m[3], g = load(of_out + at + j);
                add(of_gain2 + j, g * n);
                add(of_shift2 + j, g);
                g *= load(gain2 + j);
                store(normal + j, n);
                store(of_x + at + j, g);
                first += g;
                second += g * n;
            }
            float a = sum(first) / width, b = sum(second) / width;
            first = second = all(0);
            for (int64_t j = 0; j < width; j += LANES) {
                floats g = load(of_y + at + j) +
                           (load(of_x + at + j) - a - load(normal + j) * b) * m[3];
                store(of_x + at + j, g);
                if (factors) g *= load(factors + at + j);
                floats n = (load(h + at + j) + load(bias + j) - m[0]) * m[1];
                add(of_gain + j, g * n);
                add(of_shift + j, g);
                g *= load(gain + j);
                store(normal + j, n);
                store(of_h + at + j, g);
                first += g;
                second += g * n;
            }
            a = sum(first) / width, b = sum(second) / width;
            for (int64_t j = 0; j < width; j += LANES) {
                floats g = (load(of_h + at + j) - a - load(normal + j) * b) * m[1];
                store(of_h + at + j, g);
                add(of_bias + j, g);
            }
        }
    });
    add_up(sums, 5 * width, of_parameters);
}

// out = scale x + factors (h + bias); all (rows, width), width a multiple of 8; factors or null.
void scaled_add(const float *x, const float *h, const float *bias, const float *factors,
                const float *scale, int64_t rows, int64_t width, int64_t threads, float *out) {
    in_parts(rows, threads, [=](int64_t from, int64_t to, int64_t) {
        for (int64_t i = from; i < to; i++)
            for (int64_t j = 0; j < width; j += LANES) {
                const int64_t at = i * width + j;
                floats z = load(h + at) + load(bias + j);
                if (factors) z *= load(factors + at);
                store(out + at, load(scale + j) * load(x + at) + z);
            }
    });
}

// of_parameters: gradients of bias and scale, (2, width).
void scaled_add_backward(const float *x, const float *factors, const float *scale,
                         const float *gradient, int64_t rows, int64_t width, int64_t threads,
                         float *of_x, float *of_h, float *of_parameters) {
    std::vector<std::vector<float>> sums(std::max<int64_t>(1, threads));
    in_parts(rows, threads, [&](int64_t from, int64_t to, int64_t part) {
        sums[part].assign(2 * width, 0.0f);
        float *of_bias = sums[part].data(), *of_scale = of_bias + width;
        for (int64_t i = from; i < to; i++)
            for (int64_t j = 0; j < width; j += LANES) {
                const int64_t at = i * width + j;
                floats g = load(gradient + at), f = g;
                if (factors) f *= load(factors + at);
                store(of_x + at, g * load(scale + j));
                store(of_h + at, f);
                add(of_bias + j, f);
                add(of_scale + j, g * load(x + at));
            }
    });
    add_up(sums, 2 * width, of_parameters);
}

}  // extern "C"
