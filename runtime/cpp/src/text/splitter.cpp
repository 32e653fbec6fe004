#include "splitter.h"

#include "../plain/unicode.h"
#include "parts.h"

namespace clap::inner {

namespace {

using namespace unicode;

bool is_bert_punctuation(char32_t c) {
    return is_ascii_punctuation(c) || is_punctuation(c);
}

// GPT-2's letters for bytes: those that are letters already stand for themselves.
Text letters_of_bytes(const Text& text) {
    static const std::vector<char32_t> letters = [] {
        std::vector<char32_t> made(256);
        char32_t next = 256;
        for (char32_t byte = 0; byte < 256; ++byte) {
            const bool plain =
                (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
            made[byte] = plain ? byte : next++;
        }
        return made;
    }();
    Text found;
    for (char byte : encode(text)) found.push_back(letters[static_cast<unsigned char>(byte)]);
    return found;
}

std::vector<Text> byte_level(const Text& given, bool prefix, bool expression) {
    const Text text = prefix && (given.empty() || given[0] != U' ') ? U" " + given : given;
    std::vector<Text> pieces{text};
    if (expression) pieces = split(text, Pattern::gpt2(), Keep::isolated);
    for (Text& piece : pieces) piece = letters_of_bytes(piece);
    return pieces;
}

}  // namespace

void Splitter::add(const Value& step) {
    const std::string& kind = step.find("type")->text;
    if (kind == "ByteLevel") {
        const bool prefix = flag_of(step, "add_prefix_space", true),
                   expression = flag_of(step, "use_regex", true);
        steps_.push_back([=](const Text& text) { return byte_level(text, prefix, expression); });
    } else if (kind == "BertPreTokenizer") {
        steps_.push_back([](const Text& text) {
            std::vector<Text> found;
            for (const Text& word : split(text, Pattern::character(is_space), Keep::removed))
                for (Text& piece :
                     split(word, Pattern::character(is_bert_punctuation), Keep::isolated))
                    found.push_back(std::move(piece));
            return found;
        });
    } else {
        Pattern pattern = Pattern::character(is_space);
        Keep keep = Keep::removed;
        bool invert = false;
        if (kind == "Whitespace") {
            pattern = Pattern::words();
            invert = true;
        } else if (kind == "Punctuation") {
            pattern = Pattern::character(is_bert_punctuation);
            keep = keep_of(step, Keep::isolated);
        } else if (kind == "Digits") {
            pattern = Pattern::character(is_number);
            keep = flag_of(step, "individual_digits", false) ? Keep::isolated : Keep::contiguous;
        } else if (kind == "Split") {
            pattern = pattern_of(*step.find("pattern"));
            keep = keep_of(step, Keep::removed);
            invert = flag_of(step, "invert", false);
        }
        steps_.push_back([=](const Text& text) { return split(text, pattern, keep, invert); });
    }
}

std::vector<Text> Splitter::operator()(const Text& text) const {
    std::vector<Text> pieces{text};
    for (const auto& step : steps_) {
        std::vector<Text> found;
        for (const Text& piece : pieces)
            for (Text& part : step(piece))
                if (!part.empty()) found.push_back(std::move(part));
        pieces = std::move(found);
    }
    return pieces;
}

}  // namespace clap::inner
