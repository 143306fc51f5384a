// Objects in C: everything between an object's functions and the exports that a replica calls (object ABI 1,
// docs/src/objects/abi.md). No libc is needed.
//
// An object is one source file. It includes this header, keeps its state in static variables, and defines
//
//     static const struct concoord_object concoord_object = { ... };
//
// with its types, its methods, and two functions that export and import its state; see example/tally.c. `build` beside
// this header compiles it. By hand, with clang 14 or newer and the wasm-ld of the same version:
//
//     clang --target=wasm32-unknown-unknown -std=c11 -Os -ffreestanding -nostdlib -mbulk-memory -I guest-sdk/c
//         -Wl,--no-entry,--export=concoord_abi,--export=concoord_panic,--strip-all,--stack-first,-z,stack-size=65536
//         -o tally.wasm tally.c
//
// The arguments of a call are checked against the method's types before the method runs, and so is an imported state:
// inside, every `concoord_take_...` succeeds if it follows the types. What is wrong in the object itself stops it with
// `concoord_fail`, which undoes the call.
//
// A static variable is the whole state, so it has its place in every snapshot. There are no constructors: a C++ one, or
// `__attribute__((constructor))`, never runs.
#ifndef CONCOORD_H
#define CONCOORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The largest input: an invocation of up to 200 bytes with its arguments, or an imported state. A larger one fails.
#ifndef CONCOORD_INPUT_BYTES_MAX
#define CONCOORD_INPUT_BYTES_MAX 65536
#endif

// The largest result, exported state or interface. A larger one fails.
#ifndef CONCOORD_OUTPUT_BYTES_MAX
#define CONCOORD_OUTPUT_BYTES_MAX 65536
#endif

// The most arguments of one method.
#define CONCOORD_ARGUMENTS_MAX 8

#define CONCOORD_COUNT(array) ((uint32_t)(sizeof(array) / sizeof((array)[0])))

// ---- What an object says of itself ----

// The kinds of types, numbered as in the interface.
enum concoord_kind {
    CONCOORD_BOOL,
    CONCOORD_I8,
    CONCOORD_I16,
    CONCOORD_I32,
    CONCOORD_I64,
    CONCOORD_I128,
    CONCOORD_U8,
    CONCOORD_U16,
    CONCOORD_U32,
    CONCOORD_U64,
    CONCOORD_U128,
    CONCOORD_F32,
    CONCOORD_F64,
    CONCOORD_CHAR,
    CONCOORD_STRING,
    CONCOORD_BYTES,
    CONCOORD_UNIT,
    CONCOORD_OPTION,
    CONCOORD_SEQ,
    CONCOORD_TUPLE,
    CONCOORD_MAP,
    CONCOORD_STRUCT,
    CONCOORD_ENUM,
};

// In place of a type: a variant that carries nothing.
#define CONCOORD_NOTHING UINT32_MAX

// An argument, a field, an element of a tuple (its name counts for nothing) or a variant of an enum. A list of them ends
// with a name that is NULL.
struct concoord_field {
    const char *name;
    uint32_t type; // index into the object's types
};

// One type. It may refer only to types that stand before it.
struct concoord_type {
    enum concoord_kind kind;
    uint32_t of;                         // element of an option or sequence, key of a map
    uint32_t value;                      // value of a map
    const char *name;                    // of a struct or enum
    const struct concoord_field *fields; // of a tuple, struct or enum
};

enum concoord_method_kind {
    CONCOORD_QUERY,  // runs on one replica, and whatever it changes is undone
    CONCOORD_UPDATE, // runs on every replica
};

struct concoord_call;

struct concoord_method {
    const char *name;
    const char *doc;
    enum concoord_method_kind kind;
    void (*run)(struct concoord_call *);
    struct concoord_field arguments[CONCOORD_ARGUMENTS_MAX + 1];
    uint32_t result;
    bool fails;     // whether it may call concoord_fail_with
    uint32_t error; // type of its error if so
};

struct concoord_reader;
struct concoord_writer;

struct concoord_object {
    const char *name;
    const char *version;
    const char *doc;
    const struct concoord_type *types;
    uint32_t type_count;
    const struct concoord_method *methods;
    uint32_t method_count;
    // Type of the state that `export_state` writes and `import_state` reads.
    uint32_t state;
    void (*export_state)(struct concoord_writer *);
    // NULL, or why the state does not fit; then nothing may have been changed.
    const char *(*import_state)(struct concoord_reader *);
};

// The object's author defines it.
static const struct concoord_object concoord_object;

// ---- Failing ----

#define CONCOORD_PANIC_BYTES_MAX 1020

const uint32_t concoord_abi = 1;

struct {
    uint32_t length;
    char text[CONCOORD_PANIC_BYTES_MAX];
} concoord_panic;

// Ends the call with an error that shows `text`; nothing of what the call changed stays.
_Noreturn static inline void concoord_fail(const char *text) {
    concoord_panic.length = 0;
    while (text[concoord_panic.length] != 0 && concoord_panic.length < CONCOORD_PANIC_BYTES_MAX) {
        concoord_panic.text[concoord_panic.length] = text[concoord_panic.length];
        concoord_panic.length++;
    }
    __builtin_trap();
}

// ---- Writing postcard ----

struct concoord_writer {
    uint8_t *start;
    uint8_t *at;
    uint8_t *end;
};

static inline void concoord_put_raw(struct concoord_writer *to, const void *bytes, uint32_t length) {
    if ((size_t)(to->end - to->at) < length) {
        concoord_fail("the output is longer than CONCOORD_OUTPUT_BYTES_MAX");
    }
    __builtin_memcpy(to->at, bytes, length);
    to->at += length;
}

// u8 and bool; a u8 is the only unsigned number that is no varint.
static inline void concoord_put_byte(struct concoord_writer *to, uint8_t byte) {
    concoord_put_raw(to, &byte, 1);
}

// u16, u32, u64, lengths and numbers of variants.
static inline void concoord_put_unsigned(struct concoord_writer *to, uint64_t value) {
    for (; value >= 0x80; value >>= 7) {
        concoord_put_byte(to, (uint8_t)(value | 0x80));
    }
    concoord_put_byte(to, (uint8_t)value);
}

// i16, i32, i64.
static inline void concoord_put_signed(struct concoord_writer *to, int64_t value) {
    concoord_put_unsigned(to, ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0));
}

static inline void concoord_put_f32(struct concoord_writer *to, float value) {
    concoord_put_raw(to, &value, sizeof value);
}

static inline void concoord_put_f64(struct concoord_writer *to, double value) {
    concoord_put_raw(to, &value, sizeof value);
}

// Strings, chars and bytes. A string must be UTF-8.
static inline void concoord_put_text(struct concoord_writer *to, const char *text, uint32_t length) {
    concoord_put_unsigned(to, length);
    concoord_put_raw(to, text, length);
}

static inline uint32_t concoord_length(const char *text) {
    uint32_t length = 0;
    while (text[length] != 0) {
        length++;
    }
    return length;
}

static inline void concoord_put_string(struct concoord_writer *to, const char *text) {
    concoord_put_text(to, text, concoord_length(text));
}

// ---- Reading postcard ----

struct concoord_reader {
    const uint8_t *at;
    const uint8_t *end;
    const char *problem; // NULL, or why the bytes are not what was taken; then nothing more is taken
};

// Part of the input: gone with the end of the call.
struct concoord_text {
    const char *bytes;
    uint32_t length;
};

static inline bool concoord_equal(const char *one, uint32_t length, const char *other, uint32_t other_length) {
    uint32_t at = 0;
    while (length == other_length && at < length && one[at] == other[at]) {
        at++;
    }
    return length == other_length && at == length;
}

static inline uint64_t concoord_problem(struct concoord_reader *from, const char *problem) {
    from->problem = from->problem != NULL ? from->problem : problem;
    from->at = from->end;
    return 0;
}

// Skips `length` bytes and gives where they are; NULL when there are fewer.
static inline const uint8_t *concoord_take_raw(struct concoord_reader *from, uint64_t length) {
    if ((uint64_t)(from->end - from->at) < length) {
        concoord_problem(from, "the bytes end within it");
        return NULL;
    }
    from->at += length;
    return from->at - length;
}

static inline uint8_t concoord_take_byte(struct concoord_reader *from) {
    const uint8_t *byte = concoord_take_raw(from, 1);
    return byte != NULL ? *byte : 0;
}

// A varint of a number of so many bits. Of one with more than 64 only the low 64 are given.
static inline uint64_t concoord_take_varint(struct concoord_reader *from, uint32_t bits) {
    uint64_t value = 0;
    for (uint32_t shift = 0; shift < bits; shift += 7) {
        uint8_t byte = concoord_take_byte(from);
        if (bits - shift < 7 && byte >> (bits - shift) != 0) {
            break;
        }
        value |= shift < 64 ? (uint64_t)(byte & 0x7f) << shift : 0;
        if (byte < 0x80) {
            return value;
        }
    }
    return concoord_problem(from, "the number is too large for its type");
}

// u16, u32, u64.
static inline uint64_t concoord_take_unsigned(struct concoord_reader *from) {
    return concoord_take_varint(from, 64);
}

// i16, i32, i64.
static inline int64_t concoord_take_signed(struct concoord_reader *from) {
    uint64_t value = concoord_take_varint(from, 64);
    return (int64_t)((value >> 1) ^ (value & 1 ? UINT64_MAX : 0));
}

// Lengths and numbers of variants.
static inline uint32_t concoord_take_length(struct concoord_reader *from) {
    return (uint32_t)concoord_take_varint(from, 32);
}

// Whether there is a value, which follows then.
static inline bool concoord_take_option(struct concoord_reader *from) {
    uint8_t byte = concoord_take_byte(from);
    return byte > 1 ? (bool)concoord_problem(from, "expected 0 or 1") : byte == 1;
}

static inline bool concoord_take_bool(struct concoord_reader *from) {
    return concoord_take_option(from);
}

static inline float concoord_take_f32(struct concoord_reader *from) {
    float value = 0;
    const uint8_t *bytes = concoord_take_raw(from, sizeof value);
    if (bytes != NULL) {
        __builtin_memcpy(&value, bytes, sizeof value);
    }
    return value;
}

static inline double concoord_take_f64(struct concoord_reader *from) {
    double value = 0;
    const uint8_t *bytes = concoord_take_raw(from, sizeof value);
    if (bytes != NULL) {
        __builtin_memcpy(&value, bytes, sizeof value);
    }
    return value;
}

// Strings, chars and bytes.
static inline struct concoord_text concoord_take_text(struct concoord_reader *from) {
    uint32_t length = concoord_take_length(from);
    const uint8_t *bytes = concoord_take_raw(from, length);
    struct concoord_text text = {(const char *)bytes, bytes != NULL ? length : 0};
    return text;
}

// ---- Checking values against their types ----

// Bytes of the character that begins here; 0 if none of UTF-8 does.
static inline uint32_t concoord_character(const uint8_t *at, uint32_t left) {
    uint8_t first = at[0];
    if (first < 0x80) {
        return 1;
    }
    uint32_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || left < length) {
        return 0;
    }
    // Neither what a shorter form could say, nor half of a surrogate pair, nor anything beyond the last character.
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < low || at[1] > high) {
        return 0;
    }
    for (uint32_t index = 2; index < length; index++) {
        if ((at[index] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

// How many characters the text has; a problem if it is not UTF-8.
static inline uint32_t concoord_check_text(struct concoord_reader *from) {
    struct concoord_text text = concoord_take_text(from);
    uint32_t characters = 0;
    for (uint32_t at = 0; at < text.length; characters++) {
        uint32_t length = concoord_character((const uint8_t *)text.bytes + at, text.length - at);
        if (length == 0) {
            return (uint32_t)concoord_problem(from, "the text is not UTF-8");
        }
        at += length;
    }
    return characters;
}

static inline void concoord_check(struct concoord_reader *from, uint32_t type);

static inline void concoord_check_enum(struct concoord_reader *from, const struct concoord_field *variants) {
    uint32_t number = concoord_take_length(from);
    for (uint32_t index = 0; variants[index].name != NULL; index++) {
        if (index != number) {
            continue;
        }
        if (variants[index].type != CONCOORD_NOTHING) {
            concoord_check(from, variants[index].type);
        }
        return;
    }
    concoord_problem(from, "there is no such variant");
}

// Reads one value of this type; the reader has a problem afterwards if there is none.
static inline void concoord_check(struct concoord_reader *from, uint32_t type) {
    const struct concoord_type *checked = &concoord_object.types[type];
    switch (checked->kind) {
    case CONCOORD_BOOL: concoord_take_bool(from); break;
    case CONCOORD_I8:
    case CONCOORD_U8: concoord_take_byte(from); break;
    case CONCOORD_I16:
    case CONCOORD_U16: concoord_take_varint(from, 16); break;
    case CONCOORD_I32:
    case CONCOORD_U32: concoord_take_varint(from, 32); break;
    case CONCOORD_I64:
    case CONCOORD_U64: concoord_take_varint(from, 64); break;
    case CONCOORD_I128:
    case CONCOORD_U128: concoord_take_varint(from, 128); break;
    case CONCOORD_F32: concoord_take_raw(from, 4); break;
    case CONCOORD_F64: concoord_take_raw(from, 8); break;
    case CONCOORD_CHAR:
        if (concoord_check_text(from) != 1) {
            concoord_problem(from, "expected one character");
        }
        break;
    case CONCOORD_STRING: concoord_check_text(from); break;
    case CONCOORD_BYTES: concoord_take_text(from); break;
    case CONCOORD_UNIT: break;
    case CONCOORD_OPTION:
        if (concoord_take_option(from)) {
            concoord_check(from, checked->of);
        }
        break;
    case CONCOORD_SEQ:
    case CONCOORD_MAP:
        for (uint32_t left = concoord_take_length(from); left > 0 && from->problem == NULL; left--) {
            concoord_check(from, checked->of);
            if (checked->kind == CONCOORD_MAP) {
                concoord_check(from, checked->value);
            }
        }
        break;
    case CONCOORD_TUPLE:
    case CONCOORD_STRUCT:
        for (const struct concoord_field *field = checked->fields; field->name != NULL; field++) {
            concoord_check(from, field->type);
        }
        break;
    case CONCOORD_ENUM: concoord_check_enum(from, checked->fields); break;
    }
}

// ---- Calls ----

struct concoord_session {
    uint64_t slot;
    uint32_t index;
};

// One input, as a method sees it.
struct concoord_call {
    struct concoord_reader arguments;
    struct concoord_writer result;
    bool failed;
    uint64_t position; // grows from input to input: fit for a fencing token
    uint64_t now;      // decided time, in microseconds since the Unix epoch
    uint64_t seed;     // of random numbers: the same on every replica
    bool has_caller;
    struct concoord_session caller;
};

// The method fails with an error of its error type, which is to be written into the result that this gives.
static inline struct concoord_writer *concoord_fail_with(struct concoord_call *call) {
    call->failed = true;
    call->result.at = call->result.start;
    return &call->result;
}

// ---- The exports ----

// In front of a result there is room for what precedes it in an outcome: a reply, an answer and the result's length.
#define CONCOORD_OUTCOME_BEFORE 16
// And behind it for four empty lists.
#define CONCOORD_OUTCOME_BEHIND 4

static uint8_t concoord_input[CONCOORD_INPUT_BYTES_MAX];
static uint8_t concoord_output[CONCOORD_OUTCOME_BEFORE + CONCOORD_OUTPUT_BYTES_MAX + CONCOORD_OUTCOME_BEHIND];

static inline struct concoord_writer concoord_writer(void) {
    uint8_t *start = concoord_output + CONCOORD_OUTCOME_BEFORE;
    struct concoord_writer writer = {start, start, start + CONCOORD_OUTPUT_BYTES_MAX};
    return writer;
}

static inline struct concoord_reader concoord_reader(uint32_t length) {
    struct concoord_reader reader = {concoord_input, concoord_input + length, NULL};
    return reader;
}

static inline uint64_t concoord_written(const struct concoord_writer *writer) {
    return (uint64_t)(uintptr_t)writer->start << 32 | (uint64_t)(writer->at - writer->start);
}

static inline uint32_t concoord_count(const struct concoord_field *fields) {
    uint32_t count = 0;
    while (fields != NULL && fields[count].name != NULL) {
        count++;
    }
    return count;
}

static inline void concoord_put_fields(struct concoord_writer *to, const struct concoord_field *fields) {
    uint32_t count = concoord_count(fields);
    concoord_put_unsigned(to, count);
    for (uint32_t index = 0; index < count; index++) {
        concoord_put_string(to, fields[index].name);
        concoord_put_unsigned(to, fields[index].type);
    }
}

static inline void concoord_put_variants(struct concoord_writer *to, const struct concoord_field *variants) {
    uint32_t count = concoord_count(variants);
    concoord_put_unsigned(to, count);
    for (uint32_t index = 0; index < count; index++) {
        concoord_put_string(to, variants[index].name);
        // Payload::Unit or Payload::Newtype.
        concoord_put_unsigned(to, variants[index].type != CONCOORD_NOTHING);
        if (variants[index].type != CONCOORD_NOTHING) {
            concoord_put_unsigned(to, variants[index].type);
        }
    }
}

static inline void concoord_put_type(struct concoord_writer *to, const struct concoord_type *type) {
    concoord_put_unsigned(to, type->kind);
    switch (type->kind) {
    case CONCOORD_OPTION:
    case CONCOORD_SEQ: concoord_put_unsigned(to, type->of); break;
    case CONCOORD_MAP:
        concoord_put_unsigned(to, type->of);
        concoord_put_unsigned(to, type->value);
        break;
    case CONCOORD_TUPLE:
        concoord_put_unsigned(to, concoord_count(type->fields));
        for (const struct concoord_field *field = type->fields; field->name != NULL; field++) {
            concoord_put_unsigned(to, field->type);
        }
        break;
    case CONCOORD_STRUCT:
        concoord_put_string(to, type->name);
        concoord_put_fields(to, type->fields);
        break;
    case CONCOORD_ENUM:
        concoord_put_string(to, type->name);
        concoord_put_variants(to, type->fields);
        break;
    default: break;
    }
}

static inline void concoord_put_method(struct concoord_writer *to, const struct concoord_method *method) {
    concoord_put_string(to, method->name);
    concoord_put_string(to, method->doc);
    concoord_put_unsigned(to, method->kind);
    concoord_put_fields(to, method->arguments);
    concoord_put_unsigned(to, method->result);
    concoord_put_byte(to, method->fails);
    if (method->fails) {
        concoord_put_unsigned(to, method->error);
    }
}

__attribute__((export_name("concoord_describe"))) uint64_t concoord_describe(void) {
    struct concoord_writer to = concoord_writer();
    concoord_put_string(&to, concoord_object.name);
    concoord_put_string(&to, concoord_object.version);
    concoord_put_string(&to, concoord_object.doc);
    concoord_put_unsigned(&to, concoord_object.type_count);
    for (uint32_t index = 0; index < concoord_object.type_count; index++) {
        concoord_put_type(&to, &concoord_object.types[index]);
    }
    concoord_put_unsigned(&to, 0); // the constructor's arguments
    concoord_put_unsigned(&to, concoord_object.method_count);
    for (uint32_t index = 0; index < concoord_object.method_count; index++) {
        concoord_put_method(&to, &concoord_object.methods[index]);
    }
    concoord_put_byte(&to, 0); // no events
    return concoord_written(&to);
}

__attribute__((export_name("concoord_buffer"))) void *concoord_buffer(uint32_t length) {
    if (length > CONCOORD_INPUT_BYTES_MAX) {
        concoord_fail("the input is longer than CONCOORD_INPUT_BYTES_MAX");
    }
    return concoord_input;
}

// An outcome without a reply: five empty parts.
static inline uint64_t concoord_nothing(void) {
    struct concoord_writer to = concoord_writer();
    concoord_put_raw(&to, (uint8_t[5]){0}, 5);
    return concoord_written(&to);
}

// An outcome that answers at once. The answer stands in `body`; what precedes it is written in front of it.
static inline uint64_t concoord_answered(struct concoord_writer *body, uint8_t answer, bool with_length) {
    uint8_t before[CONCOORD_OUTCOME_BEFORE];
    struct concoord_writer to = {before, before, before + sizeof before};
    concoord_put_byte(&to, 1); // Reply::Now
    concoord_put_byte(&to, answer);
    if (with_length) {
        concoord_put_unsigned(&to, (uint64_t)(body->at - body->start));
    }
    body->start -= to.at - to.start;
    __builtin_memcpy(body->start, to.start, (size_t)(to.at - to.start));
    body->end += CONCOORD_OUTCOME_BEHIND;
    concoord_put_raw(body, (uint8_t[CONCOORD_OUTCOME_BEHIND]){0}, CONCOORD_OUTCOME_BEHIND);
    return concoord_written(body);
}

enum { CONCOORD_RETURNED, CONCOORD_FAILED, CONCOORD_REJECTED };
enum { CONCOORD_UNKNOWN_METHOD, CONCOORD_WRONG_ARGUMENTS };

static inline uint64_t concoord_unknown_method(void) {
    struct concoord_writer to = concoord_writer();
    concoord_put_byte(&to, CONCOORD_UNKNOWN_METHOD);
    return concoord_answered(&to, CONCOORD_REJECTED, false);
}

static inline void concoord_put_decimal(struct concoord_writer *to, uint32_t number) {
    if (number >= 10) {
        concoord_put_decimal(to, number / 10);
    }
    concoord_put_byte(to, (uint8_t)('0' + number % 10));
}

static inline void concoord_put_words(struct concoord_writer *to, const char *words) {
    concoord_put_raw(to, words, concoord_length(words));
}

// Why the arguments are wrong, as an answer; 0 if they are not.
static inline uint64_t concoord_wrong_arguments(const struct concoord_field *arguments, struct concoord_reader from) {
    uint8_t why[256];
    struct concoord_writer to = {why, why, why + sizeof why};
    uint32_t count = concoord_count(arguments);
    for (uint32_t index = 0; index < count && from.problem == NULL; index++) {
        concoord_check(&from, arguments[index].type);
        if (from.problem != NULL) {
            concoord_put_words(&to, "argument ");
            concoord_put_decimal(&to, index + 1);
            concoord_put_words(&to, " '");
            concoord_put_words(&to, arguments[index].name);
            concoord_put_words(&to, "': ");
            concoord_put_words(&to, from.problem);
        }
    }
    if (from.at != from.end) {
        concoord_put_decimal(&to, count);
        concoord_put_words(&to, " taken, bytes left over: ");
        concoord_put_decimal(&to, (uint32_t)(from.end - from.at));
    }
    if (to.at == to.start) {
        return 0;
    }
    struct concoord_writer body = concoord_writer();
    concoord_put_byte(&body, CONCOORD_WRONG_ARGUMENTS);
    concoord_put_text(&body, (const char *)why, (uint32_t)(to.at - to.start));
    return concoord_answered(&body, CONCOORD_REJECTED, false);
}

static inline uint64_t concoord_run(const struct concoord_method *method, struct concoord_call *call) {
    uint64_t wrong = concoord_wrong_arguments(method->arguments, call->arguments);
    if (wrong != 0) {
        return wrong;
    }
    call->result = concoord_writer();
    method->run(call);
    return concoord_answered(&call->result, call->failed ? CONCOORD_FAILED : CONCOORD_RETURNED, true);
}

static inline struct concoord_session concoord_take_session(struct concoord_reader *from) {
    uint64_t slot = concoord_take_unsigned(from);
    struct concoord_session session = {slot, concoord_take_length(from)};
    return session;
}

enum { CONCOORD_ON_INIT, CONCOORD_ON_CALL };

__attribute__((export_name("concoord_call"))) uint64_t concoord_call(uint32_t length) {
    struct concoord_reader from = concoord_reader(length);
    struct concoord_call call = {0};
    call.position = concoord_take_unsigned(&from);
    call.now = concoord_take_unsigned(&from);
    call.seed = concoord_take_unsigned(&from);
    if (concoord_take_option(&from)) { // the id of the call
        concoord_take_session(&from);
        concoord_take_unsigned(&from);
    }
    call.has_caller = concoord_take_option(&from);
    if (call.has_caller) {
        call.caller = concoord_take_session(&from);
    }
    uint32_t trigger = concoord_take_length(&from);
    if (trigger == CONCOORD_ON_INIT) {
        static const struct concoord_field none[] = {{NULL, 0}};
        uint64_t wrong = concoord_wrong_arguments(none, from);
        struct concoord_writer nothing = concoord_writer();
        return wrong != 0 ? wrong : concoord_answered(&nothing, CONCOORD_RETURNED, true);
    }
    if (trigger != CONCOORD_ON_CALL) {
        return concoord_nothing();
    }
    struct concoord_text name = concoord_take_text(&from);
    call.arguments = from;
    for (uint32_t index = 0; index < concoord_object.method_count; index++) {
        const struct concoord_method *method = &concoord_object.methods[index];
        if (concoord_equal(name.bytes, name.length, method->name, concoord_length(method->name))) {
            return concoord_run(method, &call);
        }
    }
    return concoord_unknown_method();
}

__attribute__((export_name("concoord_export"))) uint64_t concoord_export(void) {
    struct concoord_writer to = concoord_writer();
    concoord_object.export_state(&to);
    return concoord_written(&to);
}

// What `import_state` is to read, if it is of the type of the state.
static inline const char *concoord_import_checked(struct concoord_reader from) {
    struct concoord_reader checked = from;
    concoord_check(&checked, concoord_object.state);
    if (checked.problem != NULL) {
        return checked.problem;
    }
    return checked.at != checked.end ? "bytes are left over" : concoord_object.import_state(&from);
}

__attribute__((export_name("concoord_import"))) uint64_t concoord_import(uint32_t length) {
    const char *why = concoord_import_checked(concoord_reader(length));
    struct concoord_writer to = concoord_writer();
    concoord_put_byte(&to, why != NULL); // Result::Ok(()) or Result::Err(String)
    if (why != NULL) {
        concoord_put_string(&to, why);
    }
    return concoord_written(&to);
}

#endif
