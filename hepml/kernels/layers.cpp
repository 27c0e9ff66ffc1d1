// Linear layers with GELU in turn, for very many rows without tables of all rows in between.

#include "functions.h"
#include "products.h"

using namespace hepml;

extern "C" {

// output = gelu(... gelu(x weightᵀ + bias) ...), stored column by column: (last width, rows).
// widths: of x and of each layer, any; weights[l]: (widths[l + 1], widths[l]).
void gelu_layers(const float *x, int64_t rows, int64_t layers, const int64_t *widths,
                 const float *const *weights, const float *const *biases, int64_t threads,
                 float *output) {
    const int64_t widest = *std::max_element(widths, widths + layers + 1), last = widths[layers];
    std::vector<std::unique_ptr<Packed>> packed;
    std::vector<std::vector<float>> shifts;  // zeros up to a multiple of LANES
    for (int64_t l = 0; l < layers; l++) {
        packed.push_back(
            std::make_unique<Packed>(weights[l], widths[l], widths[l + 1], true, threads));
        shifts.emplace_back(biases[l], biases[l] + widths[l + 1]);
        shifts.back().resize(round_up(widths[l + 1], LANES));
    }
    in_parts(rows, threads, [&](int64_t from, int64_t to, int64_t) {
        Room room(2 * Room::of_table(widest));
        Table before = room.table(widest), after = room.table(widest);
        for (int64_t start = from; start < to; start += CHUNK) {
            const int64_t some = std::min(CHUNK, to - start);
            for (int64_t i = 0; i < some; i++)
                std::copy_n(x + (start + i) * widths[0], widths[0], before.row(i));
            for (int64_t l = 0; l < layers; l++) {
                product(before, some, *packed[l], after);
                for (int64_t i = 0; i < some; i++)
                    for (int64_t j = 0; j < widths[l + 1]; j += LANES) {
                        float *y = after.row(i) + j;
                        store(y, gelu(load(y) + load(&shifts[l][j])));
                    }
                std::swap(before, after);
            }
            for (int64_t j = 0; j < last; j++)
                for (int64_t i = 0; i < some; i++) output[j * rows + start + i] = before.row(i)[j];
        }
    });
}

}  // extern "C"
