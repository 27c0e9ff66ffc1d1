// Copies of pieces of memory, one after another: particles of jets that lie anywhere.

#include <cstdint>
#include <cstring>

namespace {

constexpr int64_t AHEAD = 4;        // pieces that are on their way while one is copied
constexpr int64_t CACHE_LINE = 64;  // bytes

}  // namespace

// bytes[i] from from[i] on, for each of so many pieces.
extern "C" void gather(const char *const *from, const int64_t *bytes, int64_t pieces, char *to) {
    for (int64_t i = 0; i < pieces; i++) {
        if (i + AHEAD < pieces)
            for (int64_t at = 0; at < bytes[i + AHEAD]; at += CACHE_LINE)
                __builtin_prefetch(from[i + AHEAD] + at);
        std::memcpy(to, from[i], bytes[i]);
        to += bytes[i];
    }
}
