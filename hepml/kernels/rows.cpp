// Elementwise parts of batch norm and GELU over very many rows, fewer passes than one by one.
// All arrays are (rows, width), width a multiple of 8; sums over rows are in double precision.

#include "functions.h"

using namespace hepml;

namespace {

constexpr int64_t TOGETHER = 64;  // rows whose sum is taken in single precision

// Add Σ a and Σ a b over the rows; term(i, j, a, b) gives eight of each.
template <class Term>
void sum_rows(int64_t rows, int64_t width, int64_t threads, double *first, double *second,
              Term term) {
    std::vector<std::vector<double>> sums(std::max<int64_t>(1, threads));
    in_parts(rows, threads, [&](int64_t from, int64_t to, int64_t part) {
        std::vector<float> some(2 * width);
        sums[part].assign(2 * width, 0.0);
        for (int64_t start = from; start < to; start += TOGETHER) {
            std::fill(some.begin(), some.end(), 0.0f);
            for (int64_t i = start; i < std::min(to, start + TOGETHER); i++)
                for (int64_t j = 0; j < width; j += LANES) {
                    floats a, b;
                    term(i, j, a, b);
                    add(some.data() + j, a);
                    add(some.data() + width + j, a * b);
                }
            for (int64_t j = 0; j < 2 * width; j++) sums[part][j] += some[j];
        }
    });
    for (const std::vector<double> &part : sums)
        for (int64_t j = 0; j < width && !part.empty(); j++) {
            first[j] += part[j];
            second[j] += part[width + j];
        }
}

}  // namespace

extern "C" {

// out = z - near; add Σ out and Σ out².
void row_moments(const float *z, const float *near, int64_t rows, int64_t width, int64_t threads,
                 float *out, double *first, double *second) {
    sum_rows(rows, width, threads, first, second, [=](int64_t i, int64_t j, floats &a, floats &b) {
        const int64_t at = i * width + j;
        a = b = load(z + at) - load(near + j);
        store(out + at, a);
    });
}

// value = gelu(factor z + constant), and its slope by factor z + constant unless null.
void row_gelu(const float *z, const float *factor, const float *constant, int64_t rows,
              int64_t width, int64_t threads, float *value, float *slope) {
    in_parts(rows, threads, [=](int64_t from, int64_t to, int64_t) {
        for (int64_t i = from; i < to; i++)
            for (int64_t j = 0; j < width; j += LANES) {
                const int64_t at = i * width + j;
                floats y = load(z + at) * load(factor + j) + load(constant + j);
                if (slope) {
                    floats d, v = gelu(y, d);
                    store(value + at, v);
                    store(slope + at, d);
                } else {
                    store(value + at, gelu(y));
                }
            }
    });
}

// out = gradient slope; add Σ out and Σ out z.
void row_chain(const float *gradient, const float *slope, const float *z, int64_t rows,
               int64_t width, int64_t threads, float *out, double *first, double *second) {
    sum_rows(rows, width, threads, first, second, [=](int64_t i, int64_t j, floats &a, floats &b) {
        const int64_t at = i * width + j;
        a = load(gradient + at) * load(slope + at);
        b = load(z + at);
        store(out + at, a);
    });
}

// out = factor gradient + constant - slope z: through a batch norm.
void row_norm_backward(const float *gradient, const float *z, const float *factor,
                       const float *slope, const float *constant, int64_t rows, int64_t width,
                       int64_t threads, float *out) {
    in_parts(rows, threads, [=](int64_t from, int64_t to, int64_t) {
        for (int64_t i = from; i < to; i++)
            for (int64_t j = 0; j < width; j += LANES) {
                const int64_t at = i * width + j;
                store(out + at, load(gradient + at) * load(factor + j) + load(constant + j) -
                                    load(z + at) * load(slope + j));
            }
    });
}

}  // extern "C"
