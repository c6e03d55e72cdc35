#include "rational.hpp"

#include <limits>
#include <numeric>

namespace vssr {
namespace {

// Divides both by their greatest common divisor.
void reduce(std::int64_t &a, std::int64_t &b) {
    const std::int64_t divisor = std::gcd(a, b);
    a /= divisor;
    b /= divisor;
}

}  // namespace

std::optional<Rational> scaled(Rational value, std::int64_t mul, std::int64_t div) {
    // Every pair across the fraction bar is reduced first, so the products are already in lowest terms.
    reduce(value.num, value.den);
    reduce(mul, div);
    reduce(value.num, div);
    reduce(mul, value.den);
    constexpr std::int64_t limit = std::numeric_limits<std::int64_t>::max();
    if (value.num > limit / mul || value.den > limit / div)
        return std::nullopt;
    return Rational{value.num * mul, value.den * div};
}

}  // namespace vssr
