// softmax(scale Q Kᵀ + bias) V of the particles of each jet (arXiv:1706.03762, Eq. 1), forwards and
// backwards: the particles of a jet in one head and all scores among them stay in the cache.

#include <cmath>

#include "functions.h"

using namespace hepml;

namespace {

// Four rows: c[r][column] = start[r][column] + Σ_k a[r, k] b[k][column], from 0 without a start.
// a[r, k] stands at a + r * row + k * step; columns are a multiple of LANES.
template <int WIDE>
inline void columns(const float *a, int64_t row, int64_t step, int64_t inner, const float *b,
                    int64_t line, const float *start, int64_t start_row, float *c) {
    floats s[4][WIDE];
    for (int r = 0; r < 4; r++)
        for (int w = 0; w < WIDE; w++)
            s[r][w] = start ? load(start + r * start_row + w * LANES) : all(0);
    for (int64_t k = 0; k < inner; k++) {
        floats x[WIDE];
        for (int w = 0; w < WIDE; w++) x[w] = load(b + k * line + w * LANES);
        for (int r = 0; r < 4; r++)
            for (int w = 0; w < WIDE; w++) s[r][w] += a[r * row + k * step] * x[w];
    }
    for (int r = 0; r < 4; r++)
        for (int w = 0; w < WIDE; w++) store(c + r * line + w * LANES, s[r][w]);
}

inline void product(const float *a, int64_t row, int64_t step, int64_t inner, const float *b,
                    int64_t line, float *c, const float *start = nullptr, int64_t start_row = 0) {
    int64_t n = 0;
    auto from = [&] { return start ? start + n : nullptr; };
    for (; n + 2 * LANES <= line; n += 2 * LANES)
        columns<2>(a, row, step, inner, b + n, line, from(), start_row, c + n);
    if (n < line) columns<1>(a, row, step, inner, b + n, line, from(), start_row, c + n);
}

// Rows of `depth` numbers side by side, zeros after the n-th.
inline void gather(const float *from, int64_t stride, int64_t n, int64_t rows, int64_t depth,
                   float scale, float *to) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t d = 0; d < depth; d += LANES)
            store(to + i * depth + d, load(from + i * stride + d) * scale);
    std::memset(to + n * depth, 0, (rows - n) * depth * sizeof(float));
}

inline void scatter(const float *from, int64_t n, int64_t depth, float scale, float *to,
                    int64_t stride) {
    for (int64_t i = 0; i < n; i++)
        for (int64_t d = 0; d < depth; d += LANES)
            store(to + i * stride + d, load(from + i * depth + d) * scale);
}

inline void transpose(const float *from, int64_t rows, int64_t depth, float *to) {
    for (int64_t d = 0; d < depth; d++)
        for (int64_t i = 0; i < rows; i++) to[d * rows + i] = from[i * depth + d];
}

// Rows of queries (scaled), keys and values of one jet and head, zeros up to m; keys by column.
inline void take(const float *qkv, int64_t width, int64_t n, int64_t m, int64_t depth, float scale,
                 float *q, float *k, float *v, float *kt) {
    gather(qkv, 3 * width, n, m, depth, scale, q);
    gather(qkv + width, 3 * width, n, m, depth, 1, k);
    gather(qkv + 2 * width, 3 * width, n, m, depth, 1, v);
    transpose(k, m, depth, kt);
}

// Scores of a row become exp(score - the largest); gives their sum and the largest score.
inline float exponentials(float *s, int64_t m, float &most) {
    floats top = load(s), total = all(0);
    for (int64_t j = LANES; j < m; j += LANES) top = larger(top, load(s + j));
    most = largest(top);
    for (int64_t j = 0; j < m; j += LANES) {
        floats e = exponential(load(s + j) - most);
        store(s + j, e);
        total += e;
    }
    return sum(total);
}

inline void multiply(float *s, const float *factors, int64_t m) {
    for (int64_t j = 0; j < m; j += LANES) store(s + j, load(s + j) * load(factors + j));
}

// Scores s of a row become its softmax P, and the gradient t of P F that of the scores.
inline void softmax_backward(float *s, float *t, const float *factors, float norm, int64_t m) {
    floats along = all(0);
    if (factors) multiply(t, factors, m);
    for (int64_t j = 0; j < m; j += LANES) {
        floats e = exponential(load(s + j) - norm);
        store(s + j, e);
        along += e * load(t + j);
    }
    const float mean = sum(along);
    for (int64_t j = 0; j < m; j += LANES) store(t + j, load(s + j) * (load(t + j) - mean));
}

}  // namespace

extern "C" {

// Sizes and places of the jets of a group, and where their biases stand in memory.
struct Jets {
    const int64_t *first;   // token of each jet
    const int64_t *length;  // particles of each jet
    int64_t jets, heads, depth;
    int64_t line;                           // places of a row of scores, a multiple of 8
    int64_t bias_jet, bias_head, bias_row;  // strides of the bias
    float scale;
    int64_t threads;
};

// qkv: (tokens, 3 * heads * depth). bias: (jets, heads, line, line) with the strides above, -inf
// where there is no particle. factors: of dropout, (jets, heads, line, line), or null.
// out: (tokens, heads * depth). norm: ln Σ exp of the scores, (tokens, heads).
void attention(const Jets *group, const float *qkv, const float *bias, const float *factors,
               float *out, float *norm) {
    const Jets &g = *group;
    const int64_t width = g.heads * g.depth, stride = 3 * width, size = g.line * g.depth;
    in_parts(g.jets, g.threads, [&](int64_t from, int64_t to, int64_t) {
        std::vector<float> room(5 * size + 4 * g.line);
        float *q = room.data(), *k = q + size, *v = k + size, *kt = v + size, *o = kt + size,
              *p = o + size;
        for (int64_t jet = from; jet < to; jet++)
            for (int64_t head = 0; head < g.heads; head++) {
                const int64_t n = g.length[jet], m = round_up(n, LANES);
                const float *mine = qkv + g.first[jet] * stride + head * g.depth;
                const float *b = bias + jet * g.bias_jet + head * g.bias_head;
                const int64_t place = (jet * g.heads + head) * g.line * g.line;
                take(mine, width, n, m, g.depth, g.scale, q, k, v, kt);
                for (int64_t i = 0; i < n; i += 4) {
                    product(q + i * g.depth, g.depth, 1, g.depth, kt, m, p, b + i * g.bias_row,
                            g.bias_row);
                    float inverse[4];
                    for (int r = 0; r < 4; r++) {
                        float most, whole = exponentials(p + r * m, m, most);
                        inverse[r] = 1 / whole;
                        if (i + r < n)
                            norm[(g.first[jet] + i + r) * g.heads + head] = most + std::log(whole);
                        if (factors) multiply(p + r * m, factors + place + (i + r) * g.line, m);
                    }
                    product(p, m, 1, n, v, g.depth, o + i * g.depth);
                    for (int r = 0; r < 4; r++)
                        for (int64_t d = 0; d < g.depth; d += LANES) {
                            float *x = o + (i + r) * g.depth + d;
                            store(x, load(x) * inverse[r]);
                        }
                }
                scatter(o, n, g.depth, 1, out + g.first[jet] * width + head * g.depth, width);
            }
    });
}

// Gradients of qkv and, unless null, of the bias (jets, heads, line, line), from dO, that of the
// output. With P the softmax and F the factors of dropout:
// dV = (P F)ᵀ dO, dS = P (F dO Vᵀ - Σ_j P F dO Vᵀ).
void attention_backward(const Jets *group, const float *qkv, const float *bias,
                        const float *factors, const float *norm, const float *gradient,
                        float *of_qkv, float *of_bias) {
    const Jets &g = *group;
    const int64_t width = g.heads * g.depth, stride = 3 * width, size = g.line * g.depth;
    in_parts(g.jets, g.threads, [&](int64_t from, int64_t to, int64_t) {
        std::vector<float> room(9 * size + 2 * g.line * g.line);
        float *q = room.data(), *k = q + size, *v = k + size, *go = v + size, *kt = go + size,
              *vt = kt + size, *of_q = vt + size, *of_k = of_q + size, *of_v = of_k + size,
              *p = of_v + size, *ds = p + g.line * g.line;
        for (int64_t jet = from; jet < to; jet++)
            for (int64_t head = 0; head < g.heads; head++) {
                const int64_t n = g.length[jet], m = round_up(n, LANES);
                const float *mine = qkv + g.first[jet] * stride + head * g.depth;
                const float *b = bias + jet * g.bias_jet + head * g.bias_head;
                const int64_t place = (jet * g.heads + head) * g.line * g.line;
                take(mine, width, n, m, g.depth, g.scale, q, k, v, kt);
                gather(gradient + g.first[jet] * width + head * g.depth, width, n, m, g.depth, 1,
                       go);
                transpose(v, m, g.depth, vt);
                for (int64_t i = 0; i < m; i += 4) {
                    product(q + i * g.depth, g.depth, 1, g.depth, kt, m, p + i * m,
                            b + i * g.bias_row, g.bias_row);
                    product(go + i * g.depth, g.depth, 1, g.depth, vt, m, ds + i * m);
                }
                for (int64_t i = 0; i < n; i++) {
                    const float *f = factors ? factors + place + i * g.line : nullptr;
                    const float whole = norm[(g.first[jet] + i) * g.heads + head];
                    softmax_backward(p + i * m, ds + i * m, f, whole, m);
                    if (f) multiply(p + i * m, f, m);
                    if (!of_bias) continue;
                    float *line = of_bias + place + i * g.line;
                    std::copy_n(ds + i * m, m, line);
                    std::fill(line + m, line + g.line, 0.0f);
                }
                if (of_bias)
                    std::fill(of_bias + place + n * g.line, of_bias + place + g.line * g.line,
                              0.0f);
                for (int64_t i = 0; i < m; i += 4) {
                    const int64_t at = i * g.depth;
                    product(ds + i * m, m, 1, n, k, g.depth, of_q + at);
                    product(ds + i, 1, m, n, q, g.depth, of_k + at);
                    product(p + i, 1, m, n, go, g.depth, of_v + at);
                }
                float *there = of_qkv + g.first[jet] * stride + head * g.depth;
                scatter(of_q, n, g.depth, g.scale, there, stride);
                scatter(of_k, n, g.depth, 1, there + width, stride);
                scatter(of_v, n, g.depth, 1, there + 2 * width, stride);
            }
    });
}

}  // extern "C"
