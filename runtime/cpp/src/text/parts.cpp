#include "parts.h"

#include "../plain/unicode.h"

namespace clap::inner {

bool flag_of(const Value& step, const char* name, bool otherwise) {
    const Value* found = step.find(name);
    return found && found->is(Value::Kind::boolean) ? found->flag : otherwise;
}

Pattern pattern_of(const Value& pattern) {
    if (const Value* text = pattern.find("String"))
        return Pattern::literal(unicode::decode(text->text));
    return *Pattern::expression(pattern.find("Regex")->text);
}

Keep keep_of(const Value& step, Keep otherwise) {
    const Value* found = step.find("behavior");
    if (!found) return otherwise;
    if (found->text == "Removed") return Keep::removed;
    if (found->text == "Isolated") return Keep::isolated;
    if (found->text == "MergedWithPrevious") return Keep::with_previous;
    if (found->text == "MergedWithNext") return Keep::with_next;
    if (found->text == "Contiguous") return Keep::contiguous;
    return otherwise;
}

}  // namespace clap::inner
