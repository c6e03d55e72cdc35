#include "grid.hpp"

#include <algorithm>
#include <limits>

namespace vssr {

// All products are formed in 64 bits: num_frames may be close to INT_MAX.
Grid::Grid(int inputs, int step, Rate rate, int groups, int before, int after)
    : inputs_(inputs), step_(step), rate_(rate), groups_(groups), before_(before), after_(after),
      outputs_(static_cast<int>(std::min<std::int64_t>(firstOf(inputs), std::numeric_limits<int>::max()))) {}

int Grid::groupOf(int output) const { return std::min(inputOf(output) / step_, groups_ - 1); }

int Grid::positionOf(int output) const {
    return static_cast<int>(output - firstOf(owned(groupOf(output)).first));
}

// In sixteenths of the way from an input to the next: one of them is half an eighth.
int Grid::inputOf(std::int64_t output) const {
    const std::int64_t early = rate_.constant ? rate_.multi : 0;
    const std::int64_t input = (16 * output * rate_.per + early) / (16 * std::int64_t{rate_.multi});
    return static_cast<int>(std::min<std::int64_t>(input, inputs_ - 1));
}

std::int64_t Grid::firstOf(std::int64_t input) const {
    const std::int64_t early = rate_.constant && input < inputs_ ? 1 : 0;
    const std::int64_t parts = std::max<std::int64_t>(16 * input - early, 0) * rate_.multi;
    const std::int64_t per = 16 * std::int64_t{rate_.per};
    return (parts + per - 1) / per;
}

Span Grid::owned(int g) const {
    const std::int64_t first = std::int64_t{g} * step_;
    const std::int64_t last = g == groups_ - 1 ? inputs_ - 1 : first + step_ - 1;
    return {static_cast<int>(first), static_cast<int>(last)};
}

Span Grid::window(int g) const {
    const Span own = owned(g);
    const std::int64_t first = std::int64_t{own.first} - before_;
    const std::int64_t last = std::max<std::int64_t>(own.last, std::int64_t{own.first} + step_ - 1 + after_);
    return {static_cast<int>(std::max<std::int64_t>(first, 0)),
            static_cast<int>(std::min<std::int64_t>(last, inputs_ - 1))};
}

int Grid::wanted(int g) const {
    const Span own = owned(g);
    return static_cast<int>(firstOf(std::int64_t{own.last} + 1) - firstOf(own.first));
}

}  // namespace vssr
