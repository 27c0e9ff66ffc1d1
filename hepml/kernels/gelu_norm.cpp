// Bias, GELU, dropout and layer norm in one pass over each row, forwards and backwards.

#include "norms.h"

using namespace hepml;

extern "C" {

// out = gain (y - mean(y)) / sqrt(var(y) + eps) + shift with y = factors * gelu(x + bias).
// x, out: (rows, width), width a multiple of 8. factors: of dropout, (rows, width), or null.
// moments: mean and 1/deviation of each row.
void gelu_norm(const float *x, const float *bias, const float *factors, const float *gain,
               const float *shift, float eps, int64_t rows, int64_t width, int64_t threads,
               float *out, Moments *moments) {
    in_parts(rows, threads, [=](int64_t from, int64_t to, int64_t) {
        for (int64_t i = from; i < to; i++) {
            float *line = out + i * width;
            for (int64_t j = 0; j < width; j += LANES) {
                floats y = gelu(load(x + i * width + j) + load(bias + j));
                if (factors) y *= load(factors + i * width + j);
                store(line + j, y);
            }
            moments[i] = moments_of(line, width, eps);
            normalise(line, moments[i], gain, shift, width, line);
        }
    });
}

// of_parameters: gradients of bias, gain and shift, (3, width).
void gelu_norm_backward(const float *x, const float *bias, const float *factors, const float *gain,
                        const Moments *moments, const float *gradient, int64_t rows, int64_t width,
                        int64_t threads, float *of_x, float *of_parameters) {
    std::vector<std::vector<float>> sums(std::max<int64_t>(1, threads));
    in_parts(rows, threads, [&](int64_t from, int64_t to, int64_t part) {
        sums[part].assign(5 * width, 0.0f);
        float *of_bias = sums[part].data(), *of_gain = of_bias + width, *of_shift = of_gain + width,
              *slopes = of_shift + width, *normal = slopes + width;
        for (int64_t i = from; i < to; i++) {
            const int64_t at = i * width;
            NormBackward norm;
            for (int64_t j = 0; j < width; j += LANES) {
                floats slope, y = gelu(load(x + at + j) + load(bias + j), slope);
                if (factors) {
                    floats factor = load(factors + at + j);
                    y *= factor;
                    slope *= factor;
                }
                floats n = moments[i].normal(y);
                store(slopes + j, slope);
                store(normal + j, n);
                store(of_x + at + j, norm.behind(load(gradient + at + j), n, gain + j, of_gain + j,
                                                 of_shift + j));
            }
            norm.whole_row(width);
            for (int64_t j = 0; j < width; j += LANES) {
                floats g = norm.before(load(of_x + at + j), load(normal + j), moments[i].inverse) *
                           load(slopes + j);
                store(of_x + at + j, g);
                add(of_bias + j, g);
            }
        }
    });
    add_up(sums, 3 * width, of_parameters);
}

}  // extern "C"
