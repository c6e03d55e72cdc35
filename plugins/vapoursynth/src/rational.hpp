// Frame rates and frame durations: exact, or refused.
#pragma once

#include <cstdint>
#include <optional>

namespace vssr {

struct Rational {
    std::int64_t num;
    std::int64_t den;
};

// value * mul / div in lowest terms; nothing where that does not fit into 64 bits. All four numbers are > 0.
std::optional<Rational> scaled(Rational value, std::int64_t mul, std::int64_t div);

}  // namespace vssr
