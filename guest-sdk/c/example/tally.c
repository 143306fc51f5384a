// Totals by name. What each part is stands in concoord.h.
#include "concoord.h"

#define NAMES_MAX 64
#define NAME_BYTES_MAX 32

static struct tally { char name[NAME_BYTES_MAX]; uint32_t length; int64_t total; } tallies[NAMES_MAX];
static uint32_t count;

enum { TEXT, I64, MAYBE_I64, PAIR, PAIRS };
static const struct concoord_type types[] = {
    [TEXT] = {CONCOORD_STRING},
    [I64] = {CONCOORD_I64},
    [MAYBE_I64] = {CONCOORD_OPTION, .of = I64},
    [PAIR] = {CONCOORD_TUPLE, .fields = (const struct concoord_field[]){{"name", TEXT}, {"total", I64}, {0}}},
    [PAIRS] = {CONCOORD_SEQ, .of = PAIR},
};

static struct tally *find(struct concoord_text name) {
    for (uint32_t at = 0; at < count; at++) {
        if (concoord_equal(name.bytes, name.length, tallies[at].name, tallies[at].length)) return &tallies[at];
    }
    return NULL;
}

static struct tally *insert(struct concoord_text name) {
    struct tally *tally = &tallies[count++];
    __builtin_memcpy(tally->name, name.bytes, tally->length = name.length);
    tally->total = 0;
    return tally;
}

static void add(struct concoord_call *call) {
    struct concoord_text name = concoord_take_text(&call->arguments);
    int64_t by = concoord_take_signed(&call->arguments);
    struct tally *tally = find(name);
    if (tally == NULL && name.length > NAME_BYTES_MAX) {
        concoord_put_string(concoord_fail_with(call), "a name has at most 32 bytes");
    } else if (tally == NULL && count == NAMES_MAX) {
        concoord_put_string(concoord_fail_with(call), "there are 64 names already");
    } else {
        tally = tally != NULL ? tally : insert(name);
        if (__builtin_add_overflow(tally->total, by, &tally->total)) concoord_fail("the total overflows");
        concoord_put_signed(&call->result, tally->total);
    }
}

static void total(struct concoord_call *call) {
    const struct tally *tally = find(concoord_take_text(&call->arguments));
    concoord_put_byte(&call->result, tally != NULL);
    if (tally != NULL) concoord_put_signed(&call->result, tally->total);
}

static void export_state(struct concoord_writer *to) {
    concoord_put_unsigned(to, count);
    for (uint32_t at = 0; at < count; at++) {
        concoord_put_text(to, tallies[at].name, tallies[at].length);
        concoord_put_signed(to, tallies[at].total);
    }
}

static void all(struct concoord_call *call) {
    export_state(&call->result);
}

static const char *import_state(struct concoord_reader *from) {
    uint32_t names = concoord_take_length(from);
    struct concoord_reader checked = *from;
    if (names > NAMES_MAX) return "there are more than 64 names";
    for (uint32_t at = 0; at < names; at++) {
        if (concoord_take_text(&checked).length > NAME_BYTES_MAX) return "a name has at most 32 bytes";
        concoord_take_signed(&checked);
    }
    for (count = 0; count < names;) {
        struct tally *tally = insert(concoord_take_text(from));
        tally->total = concoord_take_signed(from);
    }
    return NULL;
}

static const struct concoord_method methods[] = {
    {"add", "Adds to the total of a name, and gives it.", CONCOORD_UPDATE, add,
     .arguments = {{"name", TEXT}, {"by", I64}}, .result = I64, .fails = true, .error = TEXT},
    {"total", "The total of a name that was added to.", CONCOORD_QUERY, total,
     .arguments = {{"name", TEXT}}, .result = MAYBE_I64},
    {"all", "All names with their totals, in the order in which they came.", CONCOORD_QUERY, all, .result = PAIRS},
};

static const struct concoord_object concoord_object = {
    .name = "Tally", .version = "0.1.0", .doc = "Totals by name.",
    .types = types, .type_count = CONCOORD_COUNT(types),
    .methods = methods, .method_count = CONCOORD_COUNT(methods),
    .state = PAIRS, .export_state = export_state, .import_state = import_state,
};
