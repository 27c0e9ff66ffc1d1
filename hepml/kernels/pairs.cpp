// From what is known of pairs of particles to a symmetric table of each jet and head, and back.

#include <limits>

#include "lanes.h"

using namespace hepml;

namespace {

// Call use(jet, n, first pair i > j of the jet, its first diagonal element) for every jet.
template <class Use>
void each_jet(const int64_t *length, int64_t jets, int64_t threads, Use use) {
    std::vector<int64_t> below(jets + 1), diagonal(jets + 1);
    for (int64_t jet = 0; jet < jets; jet++) {
        below[jet + 1] = below[jet] + length[jet] * (length[jet] - 1) / 2;
        diagonal[jet + 1] = diagonal[jet] + length[jet];
    }
    in_parts(jets, threads, [&](int64_t from, int64_t to, int64_t) {
        for (int64_t jet = from; jet < to; jet++)
            use(jet, length[jet], below[jet], below[jets] + diagonal[jet]);
    });
}

}  // namespace

extern "C" {

// values: (heads, pairs) with `stride` between heads; of each jet the pairs i > j row by row, then
// of each jet the pairs i = i. table: (jets, heads, line, line), -inf beyond the last particle.
void pair_table(const int64_t *length, int64_t jets, int64_t heads, int64_t line, int64_t threads,
                const float *values, int64_t stride, float *table) {
    const float nothing = -std::numeric_limits<float>::infinity();
    each_jet(length, jets, threads, [=](int64_t jet, int64_t n, int64_t below, int64_t diagonal) {
        for (int64_t head = 0; head < heads; head++) {
            float *t = table + (jet * heads + head) * line * line;
            const float *x = values + head * stride + below;
            for (int64_t i = 0; i < n; x += i, i++) {
                for (int64_t j = 0; j < i; j++) t[i * line + j] = t[j * line + i] = x[j];
                t[i * line + i] = values[head * stride + diagonal + i];
            }
            for (int64_t i = 0; i < line; i++) {
                if (i >= n) std::fill(t + i * line, t + i * line + n, 0.0f);
                std::fill(t + i * line + n, t + (i + 1) * line, nothing);
            }
        }
    });
}

// Gradient of the values, (heads, pairs) with `stride` between heads, from that of the table.
void pair_table_backward(const int64_t *length, int64_t jets, int64_t heads, int64_t line,
                         int64_t threads, const float *gradient, int64_t stride, float *of_values) {
    each_jet(length, jets, threads, [=](int64_t jet, int64_t n, int64_t below, int64_t diagonal) {
        for (int64_t head = 0; head < heads; head++) {
            const float *t = gradient + (jet * heads + head) * line * line;
            float *x = of_values + head * stride + below;
            for (int64_t i = 0; i < n; x += i, i++) {
                for (int64_t j = 0; j < i; j++) x[j] = t[i * line + j] + t[j * line + i];
                of_values[head * stride + diagonal + i] = t[i * line + i];
            }
        }
    });
}

}  // extern "C"
