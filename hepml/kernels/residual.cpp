// The residual steps of an attention block: a chunk of rows goes through all of them, forwards or
// backwards, and stays in the cache.

#include "functions.h"
#include "norms.h"
#include "products.h"

using namespace hepml;

namespace {

// Sizes of a block, and factors of dropout: (rows, width), (rows, hidden), (rows, width), or null.
struct Shape {
    int64_t rows, width, hidden;
    float eps;
    int64_t threads;
    const float *of_mixed, *of_hidden, *of_output;
};

// Parameters of a block, or their gradients; weights are (outputs, inputs).
template <class Float>
struct Parameters {
    Float *out, *out_bias, *head_scale, *gain, *shift, *gain2, *shift2, *widen, *widen_bias, *gain3,
        *shift3, *narrow, *narrow_bias, *scale;
};

using Weights = Parameters<const float>;

inline floats times(floats x, const float *factors, int64_t at) {
    return factors ? x * load(factors + at) : x;
}

// y = x + factors * norm(head_scale * projected) of a row
inline void first_step(const float *x, const float *projected, const float *factors,
                       const Weights &w, Moments m, int64_t width, float *y) {
    for (int64_t j = 0; j < width; j += LANES) {
        floats n = m.normal(load(projected + j) * load(w.head_scale + j));
        store(y + j, load(x + j) + times(n * load(w.gain + j) + load(w.shift + j), factors, j));
    }
}

inline const float *row_of(const float *table, int64_t i, int64_t width) {
    return table ? table + i * width : nullptr;
}

// Zeros for the gradient of each parameter, one after another.
inline Parameters<float> in_order(std::vector<float> &sums, int64_t width, int64_t hidden) {
    Parameters<float> of;
    sums.assign(2 * width * hidden + width * width + 8 * width + 3 * hidden, 0.0f);
    float *next = sums.data();
    auto take = [&](int64_t size) { return (next += size) - size; };
    of.out = take(width * width);
    of.out_bias = take(width);
    of.head_scale = take(width);
    of.gain = take(width);
    of.shift = take(width);
    of.gain2 = take(width);
    of.shift2 = take(width);
    of.widen = take(width * hidden);
    of.widen_bias = take(hidden);
    of.gain3 = take(hidden);
    of.shift3 = take(hidden);
    of.narrow = take(width * hidden);
    of.narrow_bias = take(width);
    of.scale = take(width);
    return of;
}

}  // namespace

extern "C" {

// y = x + factors * norm(head_scale * (mixed outᵀ + out_bias)),
// z = norm(factors * gelu(norm(y) widenᵀ + widen_bias)) and
// output = scale y + factors * (z narrowᵀ + narrow_bias).
// Widths are multiples of 8. Kept for the gradients unless null: attention's output behind its
// projection (rows, width), the hidden layer before the GELU, and moments of the three norms of
// each row.
void residual_steps(const Shape *shape, const Weights *weights, const float *x, const float *mixed,
                    float *output, float *kept_projected, float *kept_hidden,
                    Moments *kept_moments) {
    const Shape &s = *shape;
    const Weights &w = *weights;
    const int64_t width = s.width, hidden = s.hidden;
    const Packed out(w.out, width, width, true, s.threads),
        widen(w.widen, width, hidden, true, s.threads),
        narrow(w.narrow, hidden, width, true, s.threads);
    in_parts(s.rows, s.threads, [&](int64_t from, int64_t to, int64_t) {
        Room room(3 * Room::of_table(width) + Room::of_table(hidden));
        const Table a = room.table(width), b = room.table(width), y = room.table(width),
                    wide = room.table(hidden);
        for (int64_t start = from; start < to; start += CHUNK) {
            const int64_t rows = std::min(CHUNK, to - start);
            for (int64_t i = 0; i < rows; i++)
                std::copy_n(mixed + (start + i) * width, width, a.row(i));
            product(a, rows, out, b);
            for (int64_t i = 0; i < rows; i++) {
                const int64_t at = (start + i) * width;
                float *h = b.row(i), *scaled = a.row(i);
                for (int64_t j = 0; j < width; j += LANES) {
                    floats projected = load(h + j) + load(w.out_bias + j);
                    store(h + j, projected);
                    store(scaled + j, projected * load(w.head_scale + j));
                }
                const Moments m = moments_of(scaled, width, s.eps);
                first_step(x + at, h, row_of(s.of_mixed, start + i, width), w, m, width, y.row(i));
                const Moments m2 = moments_of(y.row(i), width, s.eps);
                normalise(y.row(i), m2, w.gain2, w.shift2, width, a.row(i));
                if (!kept_projected) continue;
                std::copy_n(h, width, kept_projected + at);
                kept_moments[3 * (start + i)] = m;
                kept_moments[3 * (start + i) + 1] = m2;
            }
            product(a, rows, widen, wide);
            for (int64_t i = 0; i < rows; i++) {
                const int64_t at = (start + i) * hidden;
                float *h = wide.row(i);
                for (int64_t j = 0; j < hidden; j += LANES) {
                    floats z = load(h + j) + load(w.widen_bias + j);
                    if (kept_hidden) store(kept_hidden + at + j, z);
                    store(h + j, times(gelu(z), s.of_hidden, at + j));
                }
                const Moments m = moments_of(h, hidden, s.eps);
                normalise(h, m, w.gain3, w.shift3, hidden, h);
                if (kept_moments) kept_moments[3 * (start + i) + 2] = m;
            }
            product(wide, rows, narrow, b);
            for (int64_t i = 0; i < rows; i++)
                for (int64_t j = 0; j < width; j += LANES) {
                    const int64_t at = (start + i) * width + j;
                    floats z = load(b.row(i) + j) + load(w.narrow_bias + j);
                    store(output + at,
                          load(w.scale + j) * load(y.row(i) + j) + times(z, s.of_output, at));
                }
        }
    });
}

// Gradients of x, mixed and the parameters (one after another) from that of the output.
void residual_steps_backward(const Shape *shape, const Weights *weights, const float *x,
                             const float *mixed, const float *projected, const float *kept_hidden,
                             const Moments *moments, const float *gradient, float *of_x,
                             float *of_mixed, float *of_parameters) {
    const Shape &s = *shape;
    const Weights &w = *weights;
    const int64_t width = s.width, hidden = s.hidden;
    const Packed out(w.out, width, width, false, s.threads),
        widen(w.widen, hidden, width, false, s.threads),
        narrow(w.narrow, width, hidden, false, s.threads);
    std::vector<std::vector<float>> sums(std::max<int64_t>(1, s.threads));
    in_parts(s.rows, s.threads, [&](int64_t from, int64_t to, int64_t part) {
        const Parameters<float> of = in_order(sums[part], width, hidden);
        Room room(4 * Room::of_table(width) + 2 * Room::of_table(hidden));
        const Table g = room.table(width), a = room.table(width), y = room.table(width),
                    normal = room.table(width), active = room.table(hidden),
                    of_wide = room.table(hidden);
        std::vector<float> slopes(hidden);
        for (int64_t start = from; start < to; start += CHUNK) {
            const int64_t rows = std::min(CHUNK, to - start);
            for (int64_t i = 0; i < rows; i++) {
                const int64_t at = (start + i) * width;
                first_step(x + at, projected + at, row_of(s.of_mixed, start + i, width), w,
                           moments[3 * (start + i)], width, y.row(i));
                for (int64_t j = 0; j < width; j += LANES) {
                    floats d = load(gradient + at + j), f = times(d, s.of_output, at + j);
                    store(g.row(i) + j, f);
                    add(of.narrow_bias + j, f);
                    add(of.scale + j, d * load(y.row(i) + j));
                    store(of_x + at + j, d * load(w.scale + j));
                }
            }
            product(g, rows, narrow, of_wide);
            for (int64_t i = 0; i < rows; i++) {
                const int64_t at = (start + i) * hidden;
                const Moments m = moments[3 * (start + i) + 2];
                float *d = of_wide.row(i), *n = active.row(i), *slope = slopes.data();
                NormBackward norm;
                for (int64_t j = 0; j < hidden; j += LANES) {
                    floats by_x, h = gelu(load(kept_hidden + at + j), by_x);
                    store(slope + j, times(by_x, s.of_hidden, at + j));
                    h = m.normal(times(h, s.of_hidden, at + j));
                    store(n + j, h);
                    store(d + j,
                          norm.behind(load(d + j), h, w.gain3 + j, of.gain3 + j, of.shift3 + j));
                }
                norm.whole_row(hidden);
                for (int64_t j = 0; j < hidden; j += LANES) {
                    floats h = load(n + j),
                           z = norm.before(load(d + j), h, m.inverse) * load(slope + j);
                    store(n + j, h * load(w.gain3 + j) + load(w.shift3 + j));
                    store(d + j, z);
                    add(of.widen_bias + j, z);
                }
            }
            add_product(g, width, active, hidden, rows, of.narrow);
            for (int64_t i = 0; i < rows; i++)
                normalise(y.row(i), moments[3 * (start + i) + 1], w.gain2, w.shift2, width,
                          a.row(i));
            add_product(of_wide, hidden, a, width, rows, of.widen);
            product(of_wide, rows, widen, g);
            for (int64_t i = 0; i < rows; i++) {
                const int64_t at = (start + i) * width;
                const Moments m = moments[3 * (start + i)], m2 = moments[3 * (start + i) + 1];
                float *d = g.row(i), *n = normal.row(i);
                NormBackward first, second;
                for (int64_t j = 0; j < width; j += LANES) {
                    floats h = m2.normal(load(y.row(i) + j));
                    store(n + j, h);
                    store(d + j,
                          second.behind(load(d + j), h, w.gain2 + j, of.gain2 + j, of.shift2 + j));
                }
                second.whole_row(width);
                for (int64_t j = 0; j < width; j += LANES) {
                    floats z =
                        load(of_x + at + j) + second.before(load(d + j), load(n + j), m2.inverse);
                    store(of_x + at + j, z);
                    floats h = m.normal(load(projected + at + j) * load(w.head_scale + j));
                    store(n + j, h);
                    store(d + j, first.behind(times(z, s.of_mixed, at + j), h, w.gain + j,
                                              of.gain + j, of.shift + j));
                }
                first.whole_row(width);
                for (int64_t j = 0; j < width; j += LANES) {
                    floats z = first.before(load(d + j), load(n + j), m.inverse);
                    add(of.head_scale + j, z * load(projected + at + j));
                    z *= load(w.head_scale + j);
                    add(of.out_bias + j, z);
                    store(d + j, z);
                }
                std::copy_n(mixed + at, width, a.row(i));
            }
            add_product(g, width, a, width, rows, of.out);
            product(g, rows, out, normal);
            for (int64_t i = 0; i < rows; i++)
                std::copy_n(normal.row(i), width, of_mixed + (start + i) * width);
        }
    });
    add_up(sums, sums[0].size(), of_parameters);
}

}  // extern "C"
