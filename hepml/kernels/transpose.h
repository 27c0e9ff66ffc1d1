// Between tables whose rows are particles and columns of one quantity each.

#pragma once

#include <type_traits>

#include "lanes.h"

namespace hepml {

// Rows of a square become its columns.
inline void transpose(floats (&x)[LANES]) {
    floats y[LANES];
    for (int k = 0; k < LANES; k += 2) {
        y[k] = __builtin_shufflevector(x[k], x[k + 1], 0, 8, 2, 10, 4, 12, 6, 14);
        y[k + 1] = __builtin_shufflevector(x[k], x[k + 1], 1, 9, 3, 11, 5, 13, 7, 15);
    }
    for (int k = 0; k < LANES; k += 4)
        for (int j = k; j < k + 2; j++) {
            x[j] = __builtin_shufflevector(y[j], y[j + 2], 0, 1, 8, 9, 4, 5, 12, 13);
            x[j + 2] = __builtin_shufflevector(y[j], y[j + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        }
    for (int k = 0; k < 4; k++) {
        floats low = x[k], high = x[k + 4];
        x[k] = __builtin_shufflevector(low, high, 0, 1, 2, 3, 8, 9, 10, 11);
        x[k + 4] = __builtin_shufflevector(low, high, 4, 5, 6, 7, 12, 13, 14, 15);
    }
}

// First column of a square of a table; the last square overlaps the one before it.
inline int64_t square_at(int64_t column, int64_t width) {
    return std::max<int64_t>(0, std::min(column, width - LANES));
}

// rows: (n, width) to columns: (width, end), zeros from the n-th of each on.
template <int64_t WIDE>
void to_columns(const float *rows, int64_t width, int64_t n, float *columns, int64_t end) {
    floats x[LANES];
    for (int64_t i = 0; i < end; i += LANES)
        for (int64_t c = 0; c < width; c += LANES) {
            const int64_t first = square_at(c, width);
            for (int64_t k = 0; k < LANES; k++) {
                x[k] = all(0);
                if (i + k < n)
                    std::memcpy(&x[k], rows + (i + k) * width + first, WIDE * sizeof(float));
            }
            transpose(x);
            for (int64_t k = 0; k < WIDE; k++) store(columns + (first + k) * end + i, x[k]);
        }
}

// columns: (width, end) to rows: (n, width).
template <int64_t WIDE>
void to_rows(const float *columns, int64_t end, int64_t width, int64_t n, float *rows) {
    floats x[LANES];
    for (int64_t i = 0; i < n; i += LANES)
        for (int64_t c = 0; c < width; c += LANES) {
            const int64_t first = square_at(c, width);
            for (int64_t k = 0; k < LANES; k++)
                x[k] = k < WIDE ? load(columns + (first + k) * end + i) : all(0);
            transpose(x);
            for (int64_t k = 0; k < std::min(LANES, n - i); k++)
                std::memcpy(rows + (i + k) * width + first, &x[k], WIDE * sizeof(float));
        }
}

// Call act with the columns of a square, fewer than LANES of a narrow table, as a constant.
template <int64_t WIDE = LANES, class Act>
void by_width(int64_t width, Act act) {
    if (width >= WIDE)
        act(std::integral_constant<int64_t, WIDE>());
    else if constexpr (WIDE > 1)
        by_width<WIDE - 1>(width, act);
}

}  // namespace hepml
