// Products of matrices that stay in a core's cache, as Goto and van de Geijn make them
// (doi:10.1145/1356052.1356053): a tile of the result in registers, panels of one factor in order.

#pragma once

#include <memory>

#include "lanes.h"

namespace hepml {

#ifdef __AVX512F__
constexpr int64_t WIDE = 16, TALL = 12;  // 32 registers of 16 numbers
#else
constexpr int64_t WIDE = 8, TALL = 6;  // 16 registers of 8 numbers
#endif
constexpr int64_t PANEL = 2 * WIDE;  // columns of a tile
constexpr int64_t CHUNK = 96;        // rows that go through all steps together, a multiple of TALL
typedef float wides __attribute__((vector_size(4 * WIDE)));

inline wides load_wide(const float *from) {
    wides x;
    std::memcpy(&x, from, sizeof x);
    return x;
}

inline void store_wide(float *to, wides x) { std::memcpy(to, &x, sizeof x); }

// Rows in memory of their own; ends of rows that are a power of two apart would share few places in
// the cache.
struct Table {
    float *data;
    int64_t lead;

    float *row(int64_t i) const { return data + i * lead; }
};

// Zeros for tables and packed matrices of one thread, given out in turn.
class Room {
  public:
    explicit Room(int64_t size) : space(size + PANEL), next(space.data()) {
        while (reinterpret_cast<uintptr_t>(next) % (4 * WIDE)) next++;
    }

    static int64_t lead(int64_t width) { return round_up(width, PANEL) + 16; }
    static int64_t of_table(int64_t width) { return CHUNK * lead(width); }

    Table table(int64_t width) {
        Table made{next, lead(width)};
        next += of_table(width);
        return made;
    }

  private:
    std::vector<float> space;
    float *next;
};

// A factor (inner, columns) panel by panel, the last filled up with zeros. It may be given by rows
// of the product's columns, as the weights of a linear layer are.
class Packed {
  public:
    Packed(const float *from, int64_t inner, int64_t columns, bool by_columns, int64_t threads)
        : inner(inner),
          columns(columns),
          space(new float[inner * round_up(columns, PANEL) + WIDE]) {
        data = space.get();
        while (reinterpret_cast<uintptr_t>(data) % (4 * WIDE)) data++;
        const int64_t down = by_columns ? 1 : columns, across = by_columns ? inner : 1;
        in_parts(round_up(columns, PANEL) / PANEL, threads,
                 [&](int64_t first, int64_t last, int64_t) {
                     for (int64_t j = first * PANEL; j < last * PANEL; j += PANEL)
                         for (int64_t k = 0; k < inner; k++)
                             for (int64_t c = 0; c < PANEL; c++)
                                 data[j * inner + k * PANEL + c] =
                                     j + c < columns ? from[k * down + (j + c) * across] : 0;
                 });
    }

    const float *panel(int64_t column) const { return data + column * inner; }

    const int64_t inner, columns;

  private:
    std::unique_ptr<float[]> space;
    float *data;
};

// A tile: TALL rows of a, `inner` of their columns, and a panel.
inline void tile(const float *a, int64_t lead, const float *panel, int64_t inner, float *to,
                 int64_t to_lead) {
    wides s[TALL][2] = {};
    const float *end = panel + inner * PANEL;
    for (; panel != end; panel += PANEL, a++) {
        wides left = load_wide(panel), right = load_wide(panel + WIDE);
        for (int64_t r = 0; r < TALL; r++) {
            s[r][0] += a[r * lead] * left;
            s[r][1] += a[r * lead] * right;
        }
    }
    for (int64_t r = 0; r < TALL; r++) {
        store_wide(to + r * to_lead, s[r][0]);
        store_wide(to + r * to_lead + WIDE, s[r][1]);
    }
}

// to = a b for rows up to the next multiple of TALL; columns up to the next multiple of PANEL.
inline void product(Table a, int64_t rows, const Packed &b, Table to) {
    for (int64_t j = 0; j < b.columns; j += PANEL)
        for (int64_t i = 0; i < rows; i += TALL)
            tile(a.row(i), a.lead, b.panel(j), b.inner, to.row(i) + j, to.lead);
}

template <int64_t R>
inline void add_tile(const float *g, int64_t of_g, const float *x, int64_t of_x, int64_t rows,
                     float *to, int64_t lead) {
    wides s[R][2];
    for (int64_t r = 0; r < R; r++) {
        s[r][0] = load_wide(to + r * lead);
        s[r][1] = load_wide(to + r * lead + WIDE);
    }
    for (int64_t p = 0; p < rows; p++, g += of_g, x += of_x) {
        wides left = load_wide(x), right = load_wide(x + WIDE);
        for (int64_t r = 0; r < R; r++) {
            s[r][0] += g[r] * left;
            s[r][1] += g[r] * right;
        }
    }
    for (int64_t r = 0; r < R; r++) {
        store_wide(to + r * lead, s[r][0]);
        store_wide(to + r * lead + WIDE, s[r][1]);
    }
}

// to (outputs, inputs) += gᵀ x, the gradient of a linear layer's weights.
inline void add_product(Table g, int64_t outputs, Table x, int64_t inputs, int64_t rows,
                        float *to) {
    std::vector<float> edge(TALL * PANEL);
    for (int64_t j = 0; j < inputs; j += PANEL) {
        const int64_t columns = std::min(PANEL, inputs - j);
        for (int64_t i = 0; i < outputs;) {
            const int64_t r = outputs - i >= TALL ? TALL : 2;  // outputs are even
            float *tile = to + i * inputs + j;
            int64_t lead = inputs;
            if (columns < PANEL) {
                for (int64_t k = 0; k < r; k++)
                    std::copy_n(tile + k * lead, columns, &edge[k * PANEL]);
                tile = edge.data();
                lead = PANEL;
            }
            if (r == TALL)
                add_tile<TALL>(g.data + i, g.lead, x.data + j, x.lead, rows, tile, lead);
            else
                add_tile<2>(g.data + i, g.lead, x.data + j, x.lead, rows, tile, lead);
            if (columns < PANEL)
                for (int64_t k = 0; k < r; k++)
                    std::copy_n(&edge[k * PANEL], columns, to + (i + k) * inputs + j);
            i += r;
        }
    }
}

}  // namespace hepml
