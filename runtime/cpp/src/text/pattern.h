// The regular expressions that tokenizers split by, each as a matcher of its own: a pattern that is
// not on the list is not run.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace clap::inner {

using Text = std::u32string;

// A stretch of a text, and whether the pattern found it.
struct Stretch {
    std::size_t begin, end;
    bool found;
};

class Pattern {
  public:
    // One of the listed expressions; null where it is not listed.
    static const Pattern* expression(const std::string& text);
    static Pattern literal(Text wanted);
    static Pattern character(std::function<bool(char32_t)> is);  // every such character by itself
    static Pattern words();                                      // \w+|[^\w\s]+
    static const Pattern& gpt2();

    // The whole text as stretches in order.
    std::vector<Stretch> stretches(const Text& text) const;

  private:
    // Where a match that begins at a place ends; the place itself if none does.
    using Matcher = std::function<std::size_t(const Text&, std::size_t)>;
    explicit Pattern(Matcher match) : match_(std::move(match)) {}
    Matcher match_;
};

// What becomes of the stretches that were found.
enum class Keep { removed, isolated, with_previous, with_next, contiguous };

std::vector<Text> split(const Text& text, const Pattern& pattern, Keep keep, bool invert = false);

}  // namespace clap::inner
