// What the conformance kit cannot ask: published vectors, numbers as Python writes them, and the C
// interface. `clap-checks [BUNDLE BANK WAV]` says what failed, and ends with 1 then.

#include <cmath>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "clap/clap.hpp"
#include "plain/json.h"
#include "plain/sha256.h"
#include "plain/shown.h"

namespace {

int failures = 0;

void same(const std::string& what, const std::string& found, const std::string& wanted) {
    if (found == wanted) return;
    std::printf("%s: %s, not %s\n", what.c_str(), found.c_str(), wanted.c_str());
    ++failures;
}

void holds(const std::string& what, bool found) {
    same(what, found ? "yes" : "no", "yes");
}

// FIPS 180-4, and NIST's examples for it.
void check_sha256() {
    using clap::inner::sha256;
    same("of nothing", sha256(""),
         "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    same("of abc", sha256("abc"),
         "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    same("of two blocks", sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    same("of a million letters", sha256(std::string(1000000, 'a')),
         "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    for (std::size_t length = 0; length < 200; ++length) {  // however the bytes come
        const std::string data(length, 'x');
        clap::inner::Sha256 digest;
        for (char c : data) digest.add(std::string_view(&c, 1));
        same("byte by byte, " + std::to_string(length), digest.hex(), sha256(data));
    }
}

void check_numbers() {
    using clap::inner::to_text;
    same("a tenth", to_text(0.1), "0.1");
    same("one", to_text(1.0), "1.0");
    same("a large one", to_text(1e16), "1e+16");
    same("a less large one", to_text(1e15), "1000000000000000.0");
    same("a small one", to_text(1e-5), "1e-05");
    same("a less small one", to_text(1e-4), "0.0001");
    same("the largest", to_text(1.7976931348623157e308), "1.7976931348623157e+308");
    same("a text", clap::inner::quoted("it's \"so\"\n\xE2\x80\xAE"), "'it\\'s \"so\"\\n\\u202e'");
    same("a long text", clap::inner::shortly("spaced:3:4:5:6:7:8:9:10:11:12:13"),
         "'spaced:3:4:5...9:10:11:12:13'");
}

std::string error_of(const std::string& document) {
    try {
        clap::inner::parse_json(document);
        return "";
    } catch (const clap::inner::NotJson& problem) {
        return problem.said;
    }
}

void check_json() {
    same("a key twice", error_of("{\"a\": 1, \"a\": 2}"), "the key 'a' is there twice");
    same("depth", error_of(std::string(101, '[')), "brackets are nested more than 100 deep");
    same("depth that is taken", error_of(std::string(100, '[') + std::string(100, ']')), "");
    same("digits", error_of("123456789012345678901"), "a number has 21 digits");
    same("more than 64 bits",
         clap::inner::to_text(clap::inner::parse_json("99999999999999999999").number),
         "99999999999999999999");
    same("nothing", error_of(""), "Expecting value: line 1 column 1 (char 0)");
    same("a comma", error_of("[1,\n2,]"), "Expecting value: line 2 column 3 (char 6)");
    same("more", error_of("{} {}"), "Extra data: line 1 column 4 (char 3)");
    same("a pair", clap::inner::parse_json("\"\\ud83d\\ude00\"").text, "\xF0\x9F\x98\x80");
    holds("half a pair", !error_of("\"\\ud83d\"").empty());
    holds("bytes that are no UTF-8", !error_of("\"\xFF\"").empty());
    holds("an overlong form", !error_of("\"\xC0\x80\"").empty());
}

std::string sentence(clap_code code, clap_code wanted) {
    same("the code", clap_code_word(code), clap_code_word(wanted));
    return clap_last_error();
}

// Wrong calls of the C interface are answered, never obeyed.
void check_calls() {
    clap_model* model = nullptr;
    same("no path", sentence(clap_open(nullptr, nullptr, &model), CLAP_ARGUMENT), "path is NULL.");
    same("no bundle", sentence(clap_open("/nowhere", nullptr, &model), CLAP_BUNDLE),
         "no bundle at /nowhere: manifest.json was not found there. Make one with: clap-export "
         "--ckpt CHECKPOINT --target onnx --out DIR");
    holds("nothing was opened", model == nullptr);
    clap_options short_one = CLAP_OPTIONS;
    short_one.size = 0;
    same("no size", sentence(clap_open("/nowhere", &short_one, &model), CLAP_ARGUMENT),
         "a structure's size is not set: begin with its initializer.");
    same("no model", sentence(clap_feed(nullptr, nullptr, 0), CLAP_ARGUMENT), "listener is NULL.");
    holds("no labels of nothing", clap_label_count(nullptr) == 0 && !clap_label(nullptr, 0));
    holds("no scores of nothing", clap_scores(nullptr) == nullptr);
    clap_close(nullptr);
    clap_stop(nullptr);
}

void check_model(const std::string& bundle, const std::string& bank, const std::string& wav) {
    clap_model* model = nullptr;
    clap_options options = CLAP_OPTIONS;
    options.threads = 1;
    same("opened", clap_code_word(clap_open(bundle.c_str(), &options, &model)), "ok");
    clap_prediction best[2];
    std::size_t count = 0;
    same("without labels",
         sentence(clap_predict_file(model, wav.c_str(), best, 2, &count), CLAP_LABEL),
         "no labels were given: call clap_labels or clap_bank first.");
    const char* broken[] = {"dog", "\xFF\xFE"};
    same("labels that are no UTF-8", sentence(clap_labels(model, broken, 2), CLAP_ARGUMENT),
         "a text is not UTF-8: 'utf-8' codec can't decode byte 0xff in position 0: invalid start "
         "byte");
    holds("no scores without labels", clap_scores(model) == nullptr);
    same("the bank", clap_code_word(clap_bank(model, bank.c_str())), "ok");
    same("its scores", clap_scores(model), "softmax");
    same("predicted", clap_code_word(clap_predict_file(model, wav.c_str(), best, 2, &count)), "ok");
    holds("all labels are counted", count == clap_label_count(model) && count > 2);
    holds("the best comes first", best[0].score >= best[1].score);
    float none[1];
    sentence(clap_embed_file(model, wav.c_str(), none, 1), CLAP_ARGUMENT);
    sentence(clap_predict_file(model, "/nowhere.wav", best, 2, &count), CLAP_AUDIO);

    // Threads share a model, and get what one alone gets.
    std::vector<std::thread> threads;
    std::vector<double> scores(4);
    for (double& score : scores)
        threads.emplace_back([&score, model, &wav] {
            clap_prediction mine;
            std::size_t found = 0;
            if (clap_predict_file(model, wav.c_str(), &mine, 1, &found) == CLAP_OK)
                score = mine.score;
        });
    for (std::thread& thread : threads) thread.join();
    for (double score : scores) holds("a thread's score", score == best[0].score);

    // A listener outlives its model.
    clap_listener* listener = nullptr;
    clap_listening how = CLAP_LISTENING;
    how.smooth = 10001;
    same("windows that would be held",
         sentence(clap_listen(model, 16000, &how, &listener), CLAP_ARGUMENT),
         "smooth=10001: pass at most 9999.");
    how.smooth = 1;
    how.on = how.off = 1e-9;
    same("listening", clap_code_word(clap_listen(model, 16000, &how, &listener)), "ok");
    clap_close(model);
    std::vector<float> noise(16000);
    unsigned state = 1;
    for (int second = 0; second < 12; ++second) {
        for (float& sample : noise) {
            state = state * 1664525u + 1013904223u;
            sample = static_cast<float>(state >> 8) / 16777216.0f - 0.5f;
        }
        same("fed", clap_code_word(clap_feed(listener, noise.data(), noise.size())), "ok");
    }
    noise[3] = NAN;
    sentence(clap_feed(listener, noise.data(), noise.size()), CLAP_AUDIO);
    same("finished", clap_code_word(clap_finish(listener)), "ok");
    clap_event event;
    int began = 0, ended = 0;
    while (clap_next_event(listener, &event)) {
        ++(event.ended ? ended : began);
        holds("an event has a length", event.end >= event.start && event.label && *event.label);
    }
    holds("what began has ended", began > 0 && began == ended);
    clap_stop(listener);

    try {
        clap::Model wrong("/nowhere");
        holds("an exception of clap.hpp", false);
    } catch (const clap::Error& error) {
        holds("its code", error.code() == CLAP_BUNDLE);
    }
}

}  // namespace

int main(int count, char** arguments) {
    check_sha256();
    check_numbers();
    check_json();
    check_calls();
    if (count > 3) check_model(arguments[1], arguments[2], arguments[3]);
    std::printf("%d failed\n", failures);
    return failures ? 1 : 0;
}
