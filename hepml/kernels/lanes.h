// Eight numbers at a time, in the vector extensions of GCC and Clang: no instruction set by name.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace hepml {

constexpr int64_t LANES = 8;
typedef float floats __attribute__((vector_size(32)));
typedef int32_t ints __attribute__((vector_size(32)));

inline floats load(const float *from) {
    floats x;
    std::memcpy(&x, from, sizeof x);
    return x;
}

inline void store(float *to, floats x) { std::memcpy(to, &x, sizeof x); }

inline void add(float *to, floats x) { store(to, load(to) + x); }

inline floats all(float x) { return x - floats{}; }

// b where one of them is not a number
inline floats larger(floats a, floats b) { return a > b ? a : b; }

inline floats smaller(floats a, floats b) { return a < b ? a : b; }

inline floats chosen(ints where, floats a, floats b) {
    return (floats)(((ints)a & where) | ((ints)b & ~where));
}

inline bool everywhere(ints where) {
    for (int lane = 0; lane < LANES; lane++)
        if (!where[lane]) return false;
    return true;
}

inline floats with_sign(floats size, floats of) {
    const ints sign = ints{} + INT32_MIN;
    return (floats)(((ints)size & ~sign) | ((ints)of & sign));
}

inline floats absolute(floats x) { return with_sign(x, all(0)); }

inline floats square_root(floats x) {
    for (int lane = 0; lane < LANES; lane++) x[lane] = std::sqrt(x[lane]);
    return x;
}

inline float sum(floats x) {
    return ((x[0] + x[4]) + (x[1] + x[5])) + ((x[2] + x[6]) + (x[3] + x[7]));
}

inline float largest(floats x) {
    float most = x[0];
    for (int lane = 1; lane < LANES; lane++) most = std::max(most, x[lane]);
    return most;
}

inline int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// Call do_part(first, last, number of the part) for as many parts as there are threads. Threads are
// OpenMP's: PyTorch's own, where it has loaded the same library.
template <class Part>
void in_parts(int64_t total, int64_t threads, Part do_part) {
    const int64_t parts = std::max<int64_t>(1, std::min(threads, total));
#pragma omp parallel for schedule(static, 1) num_threads(int(parts)) if (parts > 1)
    for (int64_t part = 0; part < parts; part++)
        do_part(total * part / parts, total * (part + 1) / parts, part);
}

// Sums of the parts; one that had nothing to do is empty.
inline void add_up(const std::vector<std::vector<float>> &parts, int64_t size, float *total) {
    std::fill(total, total + size, 0.0f);
    for (const std::vector<float> &part : parts)
        for (int64_t j = 0; j < size && !part.empty(); j++) total[j] += part[j];
}

}  // namespace hepml
