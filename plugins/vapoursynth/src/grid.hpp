// Which group makes which output frame, and which input frames it looks at: divisions and clamps, no more. The rules
// (how many groups there are, which frames windows share) are those of `Grid` in vs_sr/windows.py, which gives the numbers.
//
//   input    0   1   2   3   4   5   6   7        step 3, groups 3, N = 8
//   group    0   0   0 | 1   1   1 | 2   2
//
// Group g owns the inputs [g*step, (g+1)*step); the last group owns all up to N. Each owned input gives `multi`
// outputs, so the group of an output is a plain division, clamped to the last. Where the output has a constant rate of
// its own, `per` inputs give `multi` outputs, and an output belongs to the input that comes last before its time, or
// less than half an eighth of the way to the next input after it.
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

// Outputs per input.
struct Rate {
    int multi;
    int per = 1;            // at most `multi`, so that every input has an output
    bool constant = false;  // outputs come at a constant rate; else each input's duration is divided
};

class Grid {
public:
    // inputs, step, groups >= 1; before, after >= 0.
    Grid(int inputs, int step, Rate rate, int groups, int before, int after);

    int inputs() const { return inputs_; }
    const Rate &rate() const { return rate_; }
    int groups() const { return groups_; }
    // inputs * multi / per, rounded up; or INT_MAX where that does not fit: a clip of unknown length has about that many frames.
    int outputs() const { return outputs_; }

    int groupOf(int output) const;
    // Position of an output within its group's answer.
    int positionOf(int output) const;
    // The input that an output belongs to, and the first output that belongs to an input; of `inputs`: how many there are.
    int inputOf(std::int64_t output) const;
    std::int64_t firstOf(std::int64_t input) const;

    // The inputs that group g owns.
    Span owned(int g) const;
    // What the group asks for at first: `before` inputs more before it and `after` more after it, as far as they exist.
    Span window(int g) const;
    // Whether groups look at each other's inputs.
    bool overlaps() const { return before_ + after_ > 0; }
    // Whether every group is one output frame.
    bool single() const { return step_ == 1 && rate_.multi == 1 && groups_ == inputs_; }
    // How many outputs group g makes.
    int wanted(int g) const;

private:
    int inputs_, step_;
    Rate rate_;
    int groups_, before_, after_, outputs_;
};

}  // namespace vssr
