// Layer norm and the linear layer after it, forwards and backwards.

#include "norms.h"
#include "products.h"

using namespace hepml;

extern "C" {

// output = norm(x) weightᵀ + bias; x: (rows, width), output: (rows, outputs), multiples of 8.
void norm_linear(const float *x, const float *gain, const float *shift, const float *weight,
                 const float *bias, float eps, int64_t rows, int64_t width, int64_t outputs,
                 int64_t threads, float *output) {
    const Packed packed(weight, width, outputs, true, threads);
    in_parts(rows, threads, [&](int64_t from, int64_t to, int64_t) {
        Room room(Room::of_table(width) + Room::of_table(outputs));
        const Table normed = room.table(width), wide = room.table(outputs);
        for (int64_t start = from; start < to; start += CHUNK) {
            const int64_t some = std::min(CHUNK, to - start);
            for (int64_t i = 0; i < some; i++) {
                const float *line = x + (start + i) * width;
                normalise(line, moments_of(line, width, eps), gain, shift, width, normed.row(i));
            }
            product(normed, some, packed, wide);
            for (int64_t i = 0; i < some; i++)
                for (int64_t j = 0; j < outputs; j += LANES)
                    store(output + (start + i) * outputs + j,
                          load(wide.row(i) + j) + load(bias + j));
        }
    });
}

// Gradients of x, and of weight, bias, gain and shift one after another.
void norm_linear_backward(const float *x, const float *gain, const float *shift,
                          const float *weight, float eps, const float *gradient, int64_t rows,
                          int64_t width, int64_t outputs, int64_t threads, float *of_x,
                          float *of_parameters) {
    const Packed packed(weight, outputs, width, false, threads);
    const int64_t size = width * outputs + outputs + 2 * width;
    std::vector<std::vector<float>> sums(std::max<int64_t>(1, threads));
    in_parts(rows, threads, [&](int64_t from, int64_t to, int64_t part) {
        sums[part].assign(size, 0.0f);
        float *of_weight = sums[part].data(), *of_bias = of_weight + width * outputs,
              *of_gain = of_bias + outputs, *of_shift = of_gain + width;
        Room room(2 * Room::of_table(width) + Room::of_table(outputs));
        const Table normed = room.table(width), g = room.table(width), wide = room.table(outputs);
        for (int64_t start = from; start < to; start += CHUNK) {
            const int64_t some = std::min(CHUNK, to - start);
            Moments moments[CHUNK];
            for (int64_t i = 0; i < some; i++) {
                const float *line = x + (start + i) * width;
                moments[i] = moments_of(line, width, eps);
                normalise(line, moments[i], gain, shift, width, normed.row(i));
                for (int64_t j = 0; j < outputs; j += LANES) {
                    floats d = load(gradient + (start + i) * outputs + j);
                    store(wide.row(i) + j, d);
                    add(of_bias + j, d);
                }
            }
            add_product(wide, outputs, normed, width, some, of_weight);
            product(wide, some, packed, g);
            for (int64_t i = 0; i < some; i++) {
                const float *line = x + (start + i) * width;
                const Moments m = moments[i];
                float *d = g.row(i), *n = normed.row(i);
                NormBackward norm;
                for (int64_t j = 0; j < width; j += LANES) {
                    floats h = m.normal(load(line + j));
                    store(n + j, h);
                    store(d + j, norm.behind(load(d + j), h, gain + j, of_gain + j, of_shift + j));
                }
                norm.whole_row(width);
                for (int64_t j = 0; j < width; j += LANES)
                    store(of_x + (start + i) * width + j,
                          norm.before(load(d + j), load(n + j), m.inverse));
            }
        }
    });
    add_up(sums, size, of_parameters);
}

}  // extern "C"
