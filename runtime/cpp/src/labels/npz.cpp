#include "npz.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <map>
#include <optional>
#include <set>

#include "../plain/shown.h"

namespace clap::inner {

namespace {

constexpr std::uint64_t local_header = 30, central_header = 46, end_header = 22;
// Embeddings become a tenth smaller by deflating and a text five times: more is made to fill
// memory.
constexpr std::uint64_t most_shrunk = 20, always = 1 << 16;
constexpr std::uint64_t most_directory = 1 << 20;
constexpr double most_elements = 281474976710656.0;  // 2^48
constexpr std::size_t most_problems = 20;
constexpr std::uint64_t most_header = 10000;  // bytes of an array's header, as for numpy
constexpr const char* known[] = {"embeddings", "meta", "scales", "biases"};
constexpr std::size_t of_banks = 2;  // of them

struct Entry {
    std::string name;
    unsigned flags = 0, method = 0;
    std::uint32_t crc = 0;
    std::uint64_t packed = 0, size = 0, header = 0;
};

std::uint64_t number(const std::string& data, std::size_t at, int bytes) {
    std::uint64_t found = 0;
    if (at + static_cast<std::size_t>(bytes) > data.size())
        throw NotAnArchive{"File is not a zip file"};
    for (int i = bytes - 1; i >= 0; --i)
        found = found << 8 | static_cast<unsigned char>(data[at + static_cast<std::size_t>(i)]);
    return found;
}

// Sizes and places that take 64 bits stand in the extra field, in the order in which they are
// wanted.
void widen(Entry& entry, const std::string& extra) {
    for (std::size_t at = 0; at + 4 <= extra.size();) {
        const auto id = number(extra, at, 2), size = number(extra, at + 2, 2);
        if (id == 1) {
            std::size_t field = at + 4;
            for (std::uint64_t* value : {&entry.size, &entry.packed, &entry.header}) {
                if (*value != 0xFFFFFFFF) continue;
                if (field + 8 > at + 4 + size) throw NotAnArchive{"Corrupt zip64 extra field."};
                *value = number(extra, field, 8);
                field += 8;
            }
        }
        at += 4 + size;
    }
}

std::vector<Entry> directory(const OpenFile& file) {
    const std::uint64_t size = file.size();
    const std::uint64_t from = size > end_header + 65535 ? size - end_header - 65535 : 0;
    const std::string tail = file.at(from, size - from);
    const auto mark = tail.rfind("PK\x05\x06");
    if (mark == tail.npos || mark + end_header > tail.size())
        throw NotAnArchive{"File is not a zip file"};
    std::uint64_t count = number(tail, mark + 10, 2), bytes = number(tail, mark + 12, 4),
                  at = number(tail, mark + 16, 4);
    if (mark >= 20 && tail.compare(mark - 20, 4, "PK\x06\x07") == 0) {
        const std::string wide = file.at(number(tail, mark - 12, 8), 56);
        if (wide.compare(0, 4, "PK\x06\x06") == 0) {
            count = number(wide, 32, 8);
            bytes = number(wide, 40, 8);
            at = number(wide, 48, 8);
        }
    }
    if (bytes > most_directory || at > size || bytes > size - at)
        throw NotAnArchive{"Bad offset for central directory"};
    const std::string data = file.at(at, bytes);
    std::vector<Entry> found;
    std::size_t place = 0;
    for (std::uint64_t i = 0; i < count; ++i) {
        if (place + central_header > data.size()) throw NotAnArchive{"Truncated central directory"};
        if (data.compare(place, 4, "PK\x01\x02") != 0)
            throw NotAnArchive{"Bad magic number for central directory"};
        Entry entry;
        entry.flags = static_cast<unsigned>(number(data, place + 8, 2));
        entry.method = static_cast<unsigned>(number(data, place + 10, 2));
        entry.crc = static_cast<std::uint32_t>(number(data, place + 16, 4));
        entry.packed = number(data, place + 20, 4);
        entry.size = number(data, place + 24, 4);
        const auto name = number(data, place + 28, 2), extra = number(data, place + 30, 2),
                   note = number(data, place + 32, 2);
        entry.header = number(data, place + 42, 4);
        place += central_header;
        if (place + name + extra + note > data.size())
            throw NotAnArchive{"Truncated central directory"};
        entry.name = data.substr(place, name);
        widen(entry, data.substr(place + name, extra));
        place += name + extra + note;
        if (entry.name.size() > 4 && entry.name.compare(entry.name.size() - 4, 4, ".npy") == 0)
            entry.name.resize(entry.name.size() - 4);
        found.push_back(std::move(entry));
    }
    return found;
}

std::string inflated(const std::string& packed, std::uint64_t size) {
    std::string found(size + 1, '\0');
    z_stream stream{};
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) throw NotAnArchive{"out of memory"};
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
    stream.avail_in = static_cast<uInt>(packed.size());
    stream.next_out = reinterpret_cast<Bytef*>(found.data());
    stream.avail_out = static_cast<uInt>(found.size());
    const int result = inflate(&stream, Z_SYNC_FLUSH);
    const std::string said = stream.msg ? stream.msg : "";
    const std::size_t count = found.size() - stream.avail_out;
    inflateEnd(&stream);
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
        throw NotAnArchive{"Error " + std::to_string(result) + " while decompressing data" +
                           (said.empty() ? "" : ": " + said)};
    found.resize(count);
    return found;
}

// The content of an entry as it was before it was packed.
std::string content(const OpenFile& file, const Entry& entry) {
    const std::uint64_t size = file.size();
    if (size < local_header || entry.header > size - local_header)
        throw NotAnArchive{"an array lies outside of it"};
    const std::string head = file.at(entry.header, local_header);
    if (head.size() < local_header || head.compare(0, 4, "PK\x03\x04") != 0 || entry.flags & 1)
        throw NotAnArchive{"an array in it is encrypted, or is none"};
    const std::uint64_t start =
        entry.header + local_header + number(head, 26, 2) + number(head, 28, 2);
    if (entry.packed > size || start > size - entry.packed)
        throw NotAnArchive{"an array is cut off"};
    std::string data;
    if (entry.method == 0) {
        if (entry.packed != entry.size) throw NotAnArchive{"'" + entry.name + "' has two sizes"};
        data = file.at(start, entry.size);
    } else {
        if (entry.method != 8) throw NotAnArchive{"it is compressed in a way that is not read"};
        if (entry.size / most_shrunk > entry.packed + always / most_shrunk ||
            entry.packed > 0xFFFFFFF0 || entry.size > 0xFFFFFFF0)
            throw NotAnArchive{"it is compressed beyond what embeddings can be"};
        data = inflated(file.at(start, entry.packed), entry.size);
    }
    if (data.size() != entry.size ||
        crc32_z(crc32_z(0, nullptr, 0), reinterpret_cast<const Bytef*>(data.data()), data.size()) !=
            entry.crc)
        throw NotAnArchive{"'" + entry.name +
                           "' has another checksum (CRC) than it was written with"};
    return data;
}

// numpy's header: a Python dictionary of three literals.
class Header {
  public:
    explicit Header(const std::string& text) : text_(text) {}

    Array read() {
        Array found;
        std::set<std::string> keys;
        expect('{');
        while (peek() != '}') {
            const std::string key = string();
            expect(':');
            if (key == "descr")
                found.code = string();
            else if (key == "fortran_order")
                found.fortran = boolean();
            else if (key == "shape")
                found.shape = tuple();
            else
                fail();
            keys.insert(key);
            if (peek() == ',')
                ++at_;
            else if (peek() != '}')
                fail();
        }
        ++at_;
        peek();
        if (keys.size() != 3 || at_ < text_.size()) fail();  // nothing but spaces is behind it
        return found;
    }

  private:
    [[noreturn]] static void fail() { throw NotAnArchive{"an array's header cannot be read"}; }

    char peek() {
        while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
        return at_ < text_.size() ? text_[at_] : '\0';
    }

    void expect(char c) {
        if (peek() != c) fail();
        ++at_;
    }

    std::string string() {
        const char mark = peek();
        if (mark != '\'' && mark != '"') fail();
        const auto end = text_.find(mark, at_ + 1);
        if (end == text_.npos) fail();
        std::string found = text_.substr(at_ + 1, end - at_ - 1);
        at_ = end + 1;
        return found;
    }

    bool boolean() {
        peek();
        for (const char* word : {"True", "False"})
            if (text_.compare(at_, std::strlen(word), word) == 0) {
                at_ += std::strlen(word);
                return word[0] == 'T';
            }
        fail();
    }

    std::vector<std::int64_t> tuple() {
        std::vector<std::int64_t> found;
        expect('(');
        while (peek() != ')') {
            const std::size_t begin = at_;
            while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
            const bool padded = at_ - begin > 1 && text_[begin] == '0';  // as Python has no number
            if (at_ == begin || at_ - begin > 18 || padded || found.size() > 32) fail();
            found.push_back(std::stoll(text_.substr(begin, at_ - begin)));
            if (peek() == ',')
                ++at_;
            else if (peek() != ')')
                fail();
        }
        ++at_;
        return found;
    }

    const std::string& text_;
    std::size_t at_ = 0;
};

std::string type_of(const std::string& code) {
    static const std::map<std::string, std::string> names{
        {"<f4", "float32"}, {"<f8", "float64"}, {"<f2", "float16"}, {"|u1", "uint8"},
        {"|i1", "int8"},    {"<i2", "int16"},   {"<i4", "int32"},   {"<i8", "int64"},
        {"<u2", "uint16"},  {"<u4", "uint32"},  {"<u8", "uint64"},  {"|b1", "bool"},
        {">f4", ">f4"},     {">f8", ">f8"}};
    const auto found = names.find(code);
    if (code.find('O') != code.npos) throw NotAnArchive{"arrays of objects are not read"};
    return found == names.end() ? code : found->second;
}

std::optional<Array> array(const OpenFile& file, const Entry& entry, const std::string& type,
                           std::vector<std::string>& problems) {
    std::string data = content(file, entry);
    if (data.size() < 10 || data.compare(0, 6, "\x93NUMPY") != 0)
        throw NotAnArchive{"an array's header cannot be read"};
    const int version = data[6];
    if ((version != 1 && version != 2) || data[7] != 0)
        throw NotAnArchive{"array format (" + std::to_string(static_cast<unsigned char>(data[6])) +
                           ", " + std::to_string(static_cast<unsigned char>(data[7])) +
                           ") is not known"};
    const std::size_t before = version == 1 ? 10 : 12;
    const std::uint64_t length = number(data, 8, version == 1 ? 2 : 4);
    if (length > data.size() - std::min(before, data.size()) || length > most_header)
        throw NotAnArchive{"an array's header cannot be read"};
    const std::string text = data.substr(before, length);
    Array found = Header(text).read();
    found.type = type_of(found.code);
    double elements = 1;
    for (std::int64_t n : found.shape) elements *= static_cast<double>(n);
    if (elements > most_elements)
        throw NotAnArchive{"an array has the shape " + tuple(found.shape).substr(0, 80)};
    if (found.type != type) {
        problems.push_back(entry.name + " are " + found.type + ", " +
                           (type == "float32" ? "not float32" : "not the bytes of a text"));
        return std::nullopt;
    }
    const std::uint64_t size = data.size() - before - length;
    const std::uint64_t item = found.type == "float32" ? 4 : 1;
    if (elements * static_cast<double>(item) != static_cast<double>(size))
        throw NotAnArchive{"'" + entry.name + "' of shape " + tuple(found.shape) + " has " +
                           std::to_string(size) + " bytes"};
    data.erase(0, before + length);
    found.data = std::move(data);
    return found;
}

}  // namespace

const Array* Archive::find(const std::string& name) const {
    const auto found = arrays.find(name);
    return found == arrays.end() ? nullptr : &found->second;
}

Archive read_npz(const OpenFile& file) {
    Archive found;
    std::map<std::string, Entry> entries;  // of those that are there twice, the last one
    std::set<std::string> twice;
    for (Entry& entry : directory(file)) {
        if (entries.count(entry.name)) twice.insert(entry.name);
        entries[entry.name] = std::move(entry);
    }
    const auto is_known = [](const std::string& name) {
        return std::find(std::begin(known), std::end(known), name) != std::end(known);
    };
    found.is_head = entries.count("scales") || entries.count("biases");
    for (const auto& [name, entry] : entries)
        if (!is_known(name))
            found.problems.push_back("unknown array '" + printable(name.substr(0, 80)) + "'");
    for (std::size_t i = 0; i < (found.is_head ? std::size(known) : of_banks); ++i)
        if (!entries.count(known[i]))
            found.problems.push_back(std::string("missing array '") + known[i] + "'");
    for (const char* name : known)
        if (twice.count(name)) found.problems.push_back(std::string("two arrays '") + name + "'");
    if (found.problems.size() > most_problems) found.problems.resize(most_problems);
    for (const char* name : known) {
        const auto entry = entries.find(name);
        if (entry == entries.end()) continue;
        const char* type = std::strcmp(name, "meta") == 0 ? "uint8" : "float32";
        if (auto made = array(file, entry->second, type, found.problems))
            found.arrays[name] = std::move(*made);
    }
    return found;
}

}  // namespace clap::inner
