#include "grid.hpp"

#include <algorithm>
#include <limits>

namespace vssr {

// All products are formed in 64 bits: num_frames may be close to INT_MAX.
Grid::Grid(int inputs, int step, int multi, int groups, int before, int after)
    : inputs_(inputs), step_(step), multi_(multi), groups_(groups), before_(before), after_(after),
      outputs_(static_cast<int>(
          std::min<std::int64_t>(std::int64_t{inputs} * multi, std::numeric_limits<int>::max()))) {}

int Grid::groupOf(int output) const {
    return static_cast<int>(std::min<std::int64_t>(output / (std::int64_t{step_} * multi_), groups_ - 1));
}

int Grid::positionOf(int output) const {
    return static_cast<int>(output - std::int64_t{groupOf(output)} * step_ * multi_);
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

int Grid::wanted(int g) const { return owned(g).size() * multi_; }

}  // namespace vssr
