// Bias, GELU, dropout and layer norm in one pass over each row, forwards and backwards.

#include "lanes.h"

#include <cmath>

using namespace hepml;

extern "C" {

// out = gain (y - mean(y)) / sqrt(var(y) + eps) + shift with y = factors * gelu(x + bias).
// x, out: (rows, width), width a multiple of 8. factors: of dropout, (rows, width), or null.
// moments: mean and 1/deviation of each row, or null.
void gelu_norm(const float *x, const float *bias, const float *factors, const float *gain,
               const float *shift, float eps, int64_t rows, int64_t width, int64_t threads,
               float *out, float *moments) {
    in_parts(rows, threads, [=](int64_t from, int64_t to, int64_t) {
        for (int64_t i = from; i < to; i++) {
            float *line = out + i * width;
            floats total = all(0), square = all(0);
            for (int64_t j = 0; j < width; j += LANES) {
                floats y = gelu(load(x + i * width + j) + load(bias + j));
                if (factors) y *= load(factors + i * width + j);
                store(line + j, y);
                total += y;
            }
            const float mean = sum(total) / width;
            for (int64_t j = 0; j < width; j += LANES) {
                floats y = load(line + j) - mean;
                square += y * y;
            }
            const float inverse = 1 / std::sqrt(sum(square) / width + eps);
            for (int64_t j = 0; j < width; j += LANES)
                store(line + j, (load(line + j) - mean) * inverse * load(gain + j) + load(shift + j));
            if (moments) moments[2 * i] = mean, moments[2 * i + 1] = inverse;
        }
    });
}

// of_parameters: gradients of bias, gain and shift, (3, width).
void gelu_norm_backward(const float *x, const float *bias, const float *factors, const float *gain,
                        const float *moments, const float *gradient, int64_t rows, int64_t width,
                        int64_t threads, float *of_x, float *of_parameters) {
    std::vector<std::vector<float>> sums(std::max<int64_t>(1, threads));
    in_parts(rows, threads, [&](int64_t from, int64_t to, int64_t part) {
        sums[part].assign(5 * width, 0.0f);
        float *of_bias = sums[part].data(), *of_gain = of_bias + width, *of_shift = of_gain + width,
              *slopes = of_shift + width, *normal = slopes + width;
        for (int64_t i = from; i < to; i++) {
            const float mean = moments[2 * i], inverse = moments[2 * i + 1];
            floats first = all(0), second = all(0);
            float *line = of_x + i * width;
            for (int64_t j = 0; j < width; j += LANES) {
                floats slope, y = gelu(load(x + i * width + j) + load(bias + j), slope);
                if (factors) {
                    floats factor = load(factors + i * width + j);
                    y *= factor;
                    slope *= factor;
                }
                floats n = (y - mean) * inverse, g = load(gradient + i * width + j);
                store(slopes + j, slope);
                store(normal + j, n);
                add(of_gain + j, g * n);
                add(of_shift + j, g);
                g *= load(gain + j);
                store(line + j, g);
                first += g;
                second += g * n;
            }
            const float a = sum(first) / width, b = sum(second) / width;
            for (int64_t j = 0; j < width; j += LANES) {
                floats g = (load(line + j) - a - load(normal + j) * b) * inverse * load(slopes + j);
                store(line + j, g);
                add(of_bias + j, g);
            }
        }
    });
    add_up(sums, 3 * width, of_parameters);
}

}  // extern "C"
