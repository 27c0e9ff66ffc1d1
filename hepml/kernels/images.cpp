// Jet images: from momenta to pixels jet by jet, as hepml/inputs/images.py says what they are.

#include "functions.h"

using namespace hepml;

namespace {

enum Channel : int64_t { PT, MULTIPLICITY, CHARGED_PT, NEUTRAL_PT };

// Angle of (along, across), of length pt, in [-π, π]: twice that of (pt + |along|, across).
inline floats azimuth(floats pt, floats along, floats across, float smallest) {
    floats half = arctangent(across / larger(pt + absolute(along), all(smallest)));
    floats behind = with_sign(all(PI), across) - 2.0f * half;
    return chosen(along < 0.0f, behind, 2.0f * half);
}

inline floats pseudorapidity(floats pt, floats pz, float smallest) {
    floats across = larger(pt, all(smallest));
    floats length = square_root(across * across + pz * pz);
    return with_sign(logarithm((absolute(pz) + length) / across), pz);
}

// One component of the particles of a jet after another, zeros up to the next multiple of LANES.
struct Particles {
    std::vector<float> space;
    float *px, *py, *pz, *charge, *pt, *eta, *phi;
    std::vector<int32_t> pixel;
    int64_t number = 0, end = 0;

    void resize(int64_t n) {
        number = n;
        end = round_up(n, LANES);
        if (int64_t(pixel.size()) < end) {
            space.resize(7 * end);
            pixel.resize(end);
        }
        float *next = space.data();
        for (float **column : {&px, &py, &pz, &charge, &pt, &eta, &phi}) {
            *column = next;
            next += end;
        }
    }

    // Σ term(i), eight particles from the i-th at a time
    template <class Term>
    float total(Term term) const {
        floats sums = all(0);
        for (int64_t i = 0; i < end; i += LANES) sums += term(i);
        return sum(sums);
    }
};

}  // namespace

struct Drawing {
    const int64_t *column;  // of px, py, pz and the charge, or -1, among the fields
    int64_t fields;
    const int64_t *channel;
    int64_t channels, pixels;
    float half_width;
    int64_t centre, rotate, flip, normalise;
    float largest, smallest_pt;  // see the Python side
    int64_t threads;
};

namespace {

// False if a value cannot be squared, or is not a number.
bool take(const Drawing &d, const float *values, Particles &p) {
    float *columns[] = {p.px, p.py, p.pz, p.charge};
    for (int64_t k = 0; k < 4; k++) {
        std::fill(columns[k] + p.number, columns[k] + p.end, 0.0f);
        bool sane = true;
        for (int64_t i = 0; i < p.number; i++) {
            const float x = d.column[k] < 0 ? 0.0f : values[i * d.fields + d.column[k]];
            sane = sane && std::abs(x) < d.largest;
            columns[k][i] = x;
        }
        if (!sane) return false;
    }
    return true;
}

void preprocess(const Drawing &d, Particles &p) {
    for (int64_t i = 0; i < p.end; i += LANES) {
        floats px = load(p.px + i), py = load(p.py + i), pt = square_root(px * px + py * py);
        store(p.pt + i, pt);
        store(p.eta + i, pseudorapidity(pt, load(p.pz + i), d.smallest_pt));
    }
    float whole = p.total([&](int64_t i) { return load(p.pt + i); });
    if (!(whole > 0)) whole = 1;
    float x = 1, y = 0;  // direction from which φ counts
    if (d.centre) {
        const float px = p.total([&](int64_t i) { return load(p.px + i); }),
                    py = p.total([&](int64_t i) { return load(p.py + i); }),
                    length = std::sqrt(px * px + py * py);
        if (length > 0) {
            x = px / length;
            y = py / length;
        }
    }
    for (int64_t i = 0; i < p.end; i += LANES) {
        floats px = load(p.px + i), py = load(p.py + i);
        store(p.phi + i, azimuth(load(p.pt + i), px * x + py * y, py * x - px * y, d.smallest_pt));
    }
    if (d.centre)
        for (float *axis : {p.eta, p.phi}) {
            const float mean =
                p.total([&](int64_t i) { return load(p.pt + i) / whole * load(axis + i); });
            for (int64_t i = 0; i < p.end; i += LANES) store(axis + i, load(axis + i) - mean);
        }
    if (d.rotate) {
        const float mixed =
            p.total([&](int64_t i) { return load(p.pt + i) * load(p.eta + i) * load(p.phi + i); });
        const float difference = p.total([&](int64_t i) {
            floats eta = load(p.eta + i), phi = load(p.phi + i);
            return load(p.pt + i) * (eta * eta - phi * phi);
        });
        const float angle = std::atan2(2 * mixed, difference) / 2, cosine = std::cos(angle),
                    sine = std::sin(angle);
        for (int64_t i = 0; i < p.end; i += LANES) {
            floats eta = load(p.eta + i), phi = load(p.phi + i);
            store(p.eta + i, cosine * eta + sine * phi);
            store(p.phi + i, cosine * phi - sine * eta);
        }
    }
    if (d.flip)
        for (float *axis : {p.eta, p.phi}) {
            const float balance = p.total([&](int64_t i) {
                floats at = load(axis + i), pt = load(p.pt + i);
                return chosen(at > 0.0f, pt, chosen(at < 0.0f, -pt, all(0)));
            });
            if (balance < 0)
                for (int64_t i = 0; i < p.end; i += LANES) store(axis + i, -load(axis + i));
        }
    if (d.normalise)
        for (int64_t i = 0; i < p.end; i += LANES) store(p.pt + i, load(p.pt + i) / whole);
}

inline float quantity(int64_t channel, const Particles &p, int64_t i) {
    const float pt = p.pt[i];
    if (channel == PT) return pt;
    if (channel == MULTIPLICITY) return pt > 0 ? 1 : 0;
    return (p.charge[i] != 0) == (channel == CHARGED_PT) ? pt : 0;
}

// Fill an empty image; gives the pT outside.
float draw(const Drawing &d, Particles &p, float *image) {
    const float scale = d.pixels / (2 * d.half_width), edge = d.pixels;
    const int32_t line = d.pixels;
    floats outside = all(0);
    for (int64_t i = 0; i < p.end; i += LANES) {
        floats row = (load(p.eta + i) + d.half_width) * scale,
               column = (load(p.phi + i) + d.half_width) * scale;
        const ints inside = (row >= 0.0f) & (row < edge) & (column >= 0.0f) & (column < edge);
        ints pixel = __builtin_convertvector(chosen(inside, row, all(0)), ints) * line +
                     __builtin_convertvector(chosen(inside, column, all(0)), ints);
        pixel |= ~inside;  // -1 outside
        std::memcpy(p.pixel.data() + i, &pixel, sizeof pixel);
        outside += chosen(inside, all(0), load(p.pt + i));
    }
    for (int64_t c = 0; c < d.channels; c++, image += d.pixels * d.pixels)
        for (int64_t i = 0; i < p.number; i++)
            if (p.pixel[i] >= 0) image[p.pixel[i]] += quantity(d.channel[c], p, i);
    return sum(outside);
}

}  // namespace

// values: (particles, fields), those of jet j from the first[j]-th to the first[j + 1]-th.
// images: (jets, channels, pixels, pixels), zeros; outside: (jets). Gives the first jet with a
// value that is not finite or too large, or -1; images are not finished then.
extern "C" int64_t jet_images(const Drawing *drawing, const float *values, const int64_t *first,
                              int64_t jets, float *images, float *outside) {
    const Drawing &d = *drawing;
    const int64_t size = d.channels * d.pixels * d.pixels;
    std::vector<int64_t> bad(std::max<int64_t>(1, d.threads), -1);
    in_parts(jets, d.threads, [&](int64_t from, int64_t to, int64_t part) {
        Particles p;
        for (int64_t jet = from; jet < to; jet++) {
            p.resize(first[jet + 1] - first[jet]);
            if (!take(d, values + first[jet] * d.fields, p)) {
                bad[part] = jet;
                return;
            }
            preprocess(d, p);
            outside[jet] = draw(d, p, images + jet * size);
        }
    });
    for (int64_t jet : bad)
        if (jet >= 0) return jet;
    return -1;
}
