// The two residual steps of an attention block in one pass over each row, forwards and backwards.

#include "norms.h"

using namespace hepml;

extern "C" {

// y = x + factors * norm(h + bias) and out = norm(y), the norms with gains and shifts of their own.
// All (rows, width), width a multiple of 8; parameters: bias, gain and shift of the first norm, gain
// and shift of the second, (5, width). factors: of dropout, or null. moments: (rows, 4), means and
// 1/deviations of both.
void add_norm(const float *x, const float *h, const float *factors, const float *parameters,
              float eps, int64_t rows, int64_t width, int64_t threads, float *y, float *out,
              Moments *moments) {
    const float *bias = parameters, *gain = bias + width, *shift = gain + width,
                *gain2 = shift + width, *shift2 = gain2 + width;
    in_parts(rows, threads, [=](int64_t from, int64_t to, int64_t) {
        for (int64_t i = from; i < to; i++) {
            const int64_t at = i * width;
            Moments *m = moments + 2 * i;
            for (int64_t j = 0; j < width; j += LANES)
                store(y + at + j, load(h + at + j) + load(bias + j));
            m[0] = moments_of(y + at, width, eps);
            normalise(y + at, m[0], gain, shift, width, y + at);
            for (int64_t j = 0; j < width; j += LANES) {
                floats z = load(y + at + j);
                if (factors) z *= load(factors + at + j);
                store(y + at + j, load(x + at + j) + z);
            }
            m[1] = moments_of(y + at, width, eps);
            normalise(y + at, m[1], gain2, shift2, width, out + at);
        }
    });
}

// of_parameters: gradients of the parameters, (5, width); of_y and of_out: those of the outputs.
void add_norm_backward(const float *h, const float *y, const float *factors,
                       const float *parameters, const Moments *moments, const float *of_y,
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
            const Moments *m = moments + 2 * i;
            const int64_t at = i * width;
            NormBackward first, second;
            for (int64_t j = 0; j < width; j += LANES) {
                floats n = m[1].normal(load(y + at + j));
                store(normal + j, n);
                store(of_x + at + j, second.behind(load(of_out + at + j), n, gain2 + j,
                                                   of_gain2 + j, of_shift2 + j));
            }
            second.whole_row(width);
            for (int64_t j = 0; j < width; j += LANES) {
                floats g = load(of_y + at + j) +
                           second.before(load(of_x + at + j), load(normal + j), m[1].inverse);
                store(of_x + at + j, g);
                if (factors) g *= load(factors + at + j);
                floats n = m[0].normal(load(h + at + j) + load(bias + j));
                store(normal + j, n);
                store(of_h + at + j, first.behind(g, n, gain + j, of_gain + j, of_shift + j));
            }
            first.whole_row(width);
            for (int64_t j = 0; j < width; j += LANES) {
                floats g = first.before(load(of_h + at + j), load(normal + j), m[0].inverse);
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
