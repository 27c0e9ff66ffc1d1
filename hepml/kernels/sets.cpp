// Features of particles jet by jet, as hepml/inputs/sets.py says what they are.

#include "functions.h"
#include "transpose.h"

using namespace hepml;

namespace {

enum Quantity : int64_t { FIELD, TANH, LENGTH, LN_PT, LN_ENERGY, LN_PT_SHARE, LN_ENERGY_SHARE };

enum Status : int64_t { DONE, PERHAPS_UNORDERED, NOT_FOR_KERNELS };

constexpr float LARGEST = 1e18f;  // whose square single precision holds
constexpr float ABOUT = 1e-6f;    // rounding of transverse momenta, and more

inline floats length(floats x, floats y) { return square_root(x * x + y * y); }

// ln of part / whole, and of 0 where there is no part
inline floats logarithm_of_share(floats part, float whole) {
    return logarithm(chosen(part == 0.0f, part, part / whole));
}

}  // namespace

struct Feature {
    int64_t quantity, column, other;  // columns of fields, where a quantity needs them
    float shift, scale, low, high;
};

struct Sets {
    int64_t fields, px, py, pz, energy;  // columns
    const Feature *feature;
    int64_t features;
    int64_t any_order;  // 0: particles must come hardest first
    int64_t threads;
};

namespace {

// Fields of the particles of a jet one after another, zeros up to the next multiple of LANES.
struct Jet {
    std::vector<float> space;
    int64_t number = 0, end = 0;
    float *pt, *made;
    float whole_pt, whole_energy;

    const float *field(int64_t column) const { return space.data() + column * end; }

    // False if a value is not a number, or too large, or an energy negative.
    bool take(const Sets &s, const float *values, int64_t n) {
        number = n;
        end = round_up(n, LANES);
        space.resize(std::max(space.size(), size_t((s.fields + 1 + s.features) * end)));
        pt = space.data() + s.fields * end;
        made = pt + end;
        by_width(s.fields,
                 [&](auto wide) { to_columns<wide>(values, s.fields, n, space.data(), end); });
        ints sound = ints{} - 1;
        for (int64_t i = 0; i < s.fields * end; i += LANES)
            sound &= absolute(load(space.data() + i)) < LARGEST;  // false of NaN
        for (int64_t i = 0; i < end; i += LANES) sound &= load(field(s.energy) + i) >= 0.0f;
        return everywhere(sound);
    }

    void add_up(const Sets &s) {
        double px = 0, py = 0, energy = 0;
        for (int64_t i = 0; i < number; i++) {
            px += field(s.px)[i];
            py += field(s.py)[i];
            energy += field(s.energy)[i];
        }
        whole_pt = std::sqrt(float(px) * float(px) + float(py) * float(py));
        whole_energy = energy;
        for (int64_t i = 0; i < end; i += LANES) {
            store(pt + i, length(load(field(s.px) + i), load(field(s.py) + i)));
        }
    }

    // Whether each is softer than the one before by more than rounding.
    bool falling() const {
        bool ordered = true;
        for (int64_t i = 1; i < number; i++) ordered &= pt[i] <= pt[i - 1] * (1 - ABOUT);
        return ordered;
    }
};

// Scaled value(i), eight particles from the i-th at a time.
template <class Value>
void scale(const Feature &f, int64_t kept, float *to, Value value) {
    const floats low = all(f.low), high = all(f.high);
    for (int64_t i = 0; i < kept; i += LANES)
        store(to + i, smaller(high, larger(low, (value(i) - f.shift) * f.scale)));
}

void make(const Sets &s, const Feature &f, const Jet &jet, int64_t kept, float *to) {
    const float *x = jet.field(f.column), *y = jet.field(f.other), *e = jet.field(s.energy),
                *pt = jet.pt;
    const float whole_pt = jet.whole_pt, whole_energy = jet.whole_energy;
    switch (f.quantity) {
        case TANH:
            return scale(f, kept, to, [=](int64_t i) { return hyperbolic_tangent(load(x + i)); });
        case LENGTH:
            return scale(f, kept, to, [=](int64_t i) { return length(load(x + i), load(y + i)); });
        case LN_PT:
            return scale(f, kept, to, [=](int64_t i) { return logarithm(load(pt + i)); });
        case LN_ENERGY:
            return scale(f, kept, to, [=](int64_t i) { return logarithm(load(e + i)); });
        case LN_PT_SHARE:
            return scale(f, kept, to,
                         [=](int64_t i) { return logarithm_of_share(load(pt + i), whole_pt); });
        case LN_ENERGY_SHARE:
            return scale(f, kept, to,
                         [=](int64_t i) { return logarithm_of_share(load(e + i), whole_energy); });
        default:
            return scale(f, kept, to, [=](int64_t i) { return load(x + i); });
    }
}

// The hardest particles of a jet, those that are kept.
void write(const Sets &s, const Jet &jet, int64_t kept, float *features, float *momenta) {
    for (int64_t k = 0; k < s.features; k++)
        make(s, s.feature[k], jet, kept, jet.made + k * jet.end);
    by_width(s.features,
             [&](auto wide) { to_rows<wide>(jet.made, jet.end, s.features, kept, features); });
    for (int64_t i = 0; i < kept; i++) {
        const float momentum[] = {jet.field(s.px)[i], jet.field(s.py)[i], jet.field(s.pz)[i],
                                  jet.field(s.energy)[i]};
        std::memcpy(momenta + i * 4, momentum, sizeof momentum);
    }
}

}  // namespace

// values: (particles, fields), those of jet j from the first[j]-th to the first[j + 1]-th.
// features and momenta: (kept particles, features and 4), those of jet j from the kept[j]-th.
// Gives a status; what is written is of use if it is DONE.
extern "C" int64_t particle_sets(const Sets *sets, const float *values, const int64_t *first,
                                 int64_t jets, const int64_t *kept, float *features,
                                 float *momenta) {
    const Sets &s = *sets;
    std::vector<int64_t> status(std::max<int64_t>(1, s.threads), DONE);
    in_parts(jets, s.threads, [&](int64_t from, int64_t to, int64_t part) {
        Jet jet;
        for (int64_t j = from; j < to && status[part] == DONE; j++) {
            if (!jet.take(s, values + first[j] * s.fields, first[j + 1] - first[j])) {
                status[part] = NOT_FOR_KERNELS;
                return;
            }
            jet.add_up(s);
            if (s.any_order || jet.falling())
                write(s, jet, kept[j + 1] - kept[j], features + kept[j] * s.features,
                      momenta + kept[j] * 4);
            else
                status[part] = PERHAPS_UNORDERED;
        }
    });
    return *std::max_element(status.begin(), status.end());
}
