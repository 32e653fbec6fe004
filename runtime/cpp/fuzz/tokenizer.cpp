// Any bytes as a tokenizer, and what is behind the first 0 as a text for it.

#include "text/tokenizer.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include "error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace clap::inner;
    const std::uint8_t* end = std::find(data, data + size, 0);
    const std::string file(data, end), text(end == data + size ? end : end + 1, data + size);
    TextSpec spec;
    spec.max_tokens = 64;
    spec.inputs = {"input_ids"};
    try {
        const Tokenizer tokenizer(file, "t", spec);
        const std::string texts[] = {text, "A dog's caf\xC3\xA9  barks\xE2\x80\xA6 123"};
        for (const std::string& one : texts)
            for (std::int64_t id : tokenizer({one}).ids)
                if (id < 0) std::abort();
    } catch (const Error&) {
    }
    return 0;
}
