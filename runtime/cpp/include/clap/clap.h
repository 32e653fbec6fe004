/* Zero-shot audio classification from a bundle of clap-export: the C interface.
 *
 * Nothing throws across it. A call that fails returns a code other than CLAP_OK; the sentence that
 * says why is clap_last_error(), of the calling thread's last failure. Texts are UTF-8 and end in 0.
 * Threads may share a model; a listener is for one thread at a time.
 */
#ifndef CLAP_CLAP_H
#define CLAP_CLAP_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define CLAP_API __declspec(dllexport)
#else
#define CLAP_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Codes of errors: those of the Python runtime's exceptions. */
typedef enum clap_code {
    CLAP_OK = 0,
    CLAP_ARGUMENT = 1, /* a value out of range */
    CLAP_SCHEMA = 2,   /* a manifest with unknown, missing or wrong keys */
    CLAP_BUNDLE = 3,   /* a bundle that is missing, damaged or of another space */
    CLAP_AUDIO = 4,    /* a recording that cannot be used */
    CLAP_LABEL = 5,    /* labels that cannot be used */
    CLAP_BACKEND = 6,  /* an engine that is not there, or failed */
    CLAP_INTERNAL = 7  /* a fault of this library, or no memory left */
} clap_code;

typedef struct clap_model clap_model;       /* a bundle, or a tagger, with its labels */
typedef struct clap_listener clap_listener; /* a stream that is heard as it comes */

/* How a model is opened. Set it to CLAP_OPTIONS, then change what is to be otherwise. Fields are
 * only ever added at the end: `size` says which of them a caller knows. */
typedef struct clap_options {
    size_t size;
    const char *engine;  /* "openvino" or "onnxruntime"; NULL: the first that was built in */
    int threads;         /* of the CPU inside one run; 0: the engine's choice */
    const char *windows; /* "head", "spaced:3", ...; NULL: the bundle's own policy */
    const char *scores;  /* "softmax", "cosine", "multilabel"; NULL: softmax, or the head's or tagger's */
    const char *prompt;  /* with one {} for the label; NULL: the bundle's */
    int64_t top_k;       /* most predictions; 0: all */
    double threshold;    /* predictions with a lower score are dropped; below -1e300: none are */
} clap_options;

#define CLAP_OPTIONS {sizeof(clap_options), NULL, 0, NULL, NULL, NULL, 0, -1.0e308}

typedef struct clap_prediction {
    const char *label; /* the model's, until its labels change or it is closed */
    double score;
    double similarity; /* the cosine */
} clap_prediction;

/* How a stream is heard. */
typedef struct clap_listening {
    size_t size;
    double hop;            /* seconds between the starts of windows */
    double gate;           /* dBFS below which a window is silence; below -1e300: none is */
    double on, off;        /* scores from which a label is on, and below which it is off */
    double minimum, gap;   /* seconds of the shortest event, and between two of them */
    int64_t smooth;        /* windows that a score is smoothed over, an odd number */
    const char *smoothing; /* "median" or "mean" */
} clap_listening;

#define CLAP_LISTENING {sizeof(clap_listening), 0.5, -1.0e308, 0.5, 0.5, 0.0, 0.0, 1, "median"}

typedef struct clap_event {
    const char *label; /* the listener's, until it is closed */
    int ended;         /* 0: it began */
    double start, end; /* seconds; `end` so far, of one that began */
    double peak, peak_at;
} clap_event;

/* Opens the folder of a bundle, or the file of a tagger. `options` may be NULL. */
CLAP_API clap_code clap_open(const char *path, const clap_options *options, clap_model **model);
/* Labels to look for, by name, or from a saved bank or head (.npz). A tagger has its own. */
CLAP_API clap_code clap_labels(clap_model *model, const char *const *names, size_t count);
CLAP_API clap_code clap_bank(clap_model *model, const char *path);
CLAP_API size_t clap_label_count(const clap_model *model);
CLAP_API const char *clap_label(const clap_model *model, size_t number); /* NULL: there is none */
/* What the scores are: "softmax", "cosine" or "multilabel", until the labels change; NULL without
 * labels. */
CLAP_API const char *clap_scores(const clap_model *model);

/* Classifies a file of any length, or samples in [-1, 1] at a rate in Hz. The best `room`
 * predictions are written, best first; `count` says how many there were. Few or none may pass the
 * threshold: "none of these". */
CLAP_API clap_code clap_predict_file(clap_model *model, const char *path, clap_prediction *found,
                                     size_t room, size_t *count);
CLAP_API clap_code clap_predict(clap_model *model, const float *samples, size_t length, double rate,
                                clap_prediction *found, size_t room, size_t *count);
/* What is wrong with the file that this thread classified last, of which only a part could be used;
 * empty if nothing is. */
CLAP_API const char *clap_last_warning(void);

/* Embeds a text, a file or samples: `dim` numbers, which must be clap_dimension(model). */
CLAP_API size_t clap_dimension(const clap_model *model);
CLAP_API clap_code clap_embed_text(clap_model *model, const char *text, float *vector, size_t dim);
CLAP_API clap_code clap_embed_file(clap_model *model, const char *path, float *vector, size_t dim);
CLAP_API clap_code clap_embed(clap_model *model, const float *samples, size_t length, double rate,
                              float *vector, size_t dim);

/* Listens to a stream with the labels that the model has now. The model may be closed before it. */
CLAP_API clap_code clap_listen(clap_model *model, double rate, const clap_listening *how,
                               clap_listener **listener);
CLAP_API clap_code clap_feed(clap_listener *listener, const float *samples, size_t length);
/* Ends the stream: all that is open ends. */
CLAP_API clap_code clap_finish(clap_listener *listener);
/* The next event that is known; 0 if there is none yet. */
CLAP_API int clap_next_event(clap_listener *listener, clap_event *event);
CLAP_API void clap_stop(clap_listener *listener);

CLAP_API void clap_close(clap_model *model);

CLAP_API const char *clap_last_error(void);   /* a sentence */
CLAP_API clap_code clap_last_code(void);
CLAP_API const char *clap_code_word(clap_code code); /* "bundle", "audio", ... */
CLAP_API const char *clap_version(void);

#ifdef __cplusplus
}
#endif

#endif
