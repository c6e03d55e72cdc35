// Which group makes which output frame, and which input frames it looks at: divisions and clamps, no more. The rules
// (how many groups there are, which frames windows share) are those of `Grid` in vs_sr/windows.py, which gives the numbers.
//
//   input    0   1   2   3   4   5   6   7        step 3, groups 3, N = 8
//   group    0   0   0 | 1   1   1 | 2   2
//
// Group g owns the inputs [g*step, (g+1)*step); the last group owns all up to N. Each owned input gives `multi`
// outputs, so the group of an output is a plain division, clamped to the last.
#pragma once

#include <cstdint>

namespace vssr {

// The indices first, ..., last; both belong to it.
struct Span {
    int first;
    int last;
    int size() const { return last - first + 1; }
    bool contains(std::int64_t index) const { return first <= index && index <= last; }
};

class Grid {
public:
    // inputs, step, multi, groups >= 1; before, after >= 0.
    Grid(int inputs, int step, int multi, int groups, int before, int after);

    int inputs() const { return inputs_; }
    int multi() const { return multi_; }
    int groups() const { return groups_; }
    // multi * inputs, or INT_MAX where that does not fit: a clip of unknown length has about that many frames.
    int outputs() const { return outputs_; }

    int groupOf(int output) const;
    // Position of an output within its group's answer.
    int positionOf(int output) const;

    // The inputs that group g owns.
    Span owned(int g) const;
    // What the group asks for at first: `before` inputs more before it and `after` more after it, as far as they exist.
    Span window(int g) const;
    // Whether groups look at each other's inputs.
    bool overlaps() const { return before_ + after_ > 0; }
    // Whether every group is one output frame.
    bool single() const { return step_ == 1 && multi_ == 1 && groups_ == inputs_; }
    // How many outputs group g makes.
    int wanted(int g) const;

private:
    int inputs_, step_, multi_, groups_, before_, after_, outputs_;
};

}  // namespace vssr
