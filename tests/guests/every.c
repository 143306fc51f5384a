// A method for every kind of type: those that read and write numbers give what they got.
#include "concoord.h"

enum { BOOL, U8, I8, U16, I32, U64, F32, F64, CHAR, OCTETS, I128, UNIT, U128, SHADE, I16, MAYBE, POINT, TEXT, MAP, I64, TRIPLE };
static const struct concoord_type types[] = {
    [BOOL] = {CONCOORD_BOOL},
    [U8] = {CONCOORD_U8},
    [I8] = {CONCOORD_I8},
    [U16] = {CONCOORD_U16},
    [I32] = {CONCOORD_I32},
    [U64] = {CONCOORD_U64},
    [F32] = {CONCOORD_F32},
    [F64] = {CONCOORD_F64},
    [CHAR] = {CONCOORD_CHAR},
    [OCTETS] = {CONCOORD_SEQ, .of = U8},
    [I128] = {CONCOORD_I128},
    [UNIT] = {CONCOORD_UNIT},
    [U128] = {CONCOORD_U128},
    [SHADE] = {CONCOORD_ENUM, .name = "Shade",
               .fields = (const struct concoord_field[]){{"Light", CONCOORD_NOTHING}, {"Dark", U8}, {0}}},
    [I16] = {CONCOORD_I16},
    [MAYBE] = {CONCOORD_OPTION, .of = F64},
    [POINT] = {CONCOORD_STRUCT, .name = "Point",
               .fields = (const struct concoord_field[]){{"x", I16}, {"y", MAYBE}, {0}}},
    [TEXT] = {CONCOORD_STRING},
    [MAP] = {CONCOORD_MAP, .of = TEXT, .value = U16},
    [I64] = {CONCOORD_I64},
    [TRIPLE] = {CONCOORD_TUPLE, .fields = (const struct concoord_field[]){{"0", U8}, {"1", U16}, {"2", I64}, {0}}},
};

static void give_bool(struct concoord_call *call) {
    concoord_put_byte(&call->result, concoord_take_bool(&call->arguments));
}

static void give_byte(struct concoord_call *call) {
    concoord_put_byte(&call->result, concoord_take_byte(&call->arguments));
}

static void give_unsigned(struct concoord_call *call) {
    concoord_put_unsigned(&call->result, concoord_take_unsigned(&call->arguments));
}

static void give_signed(struct concoord_call *call) {
    concoord_put_signed(&call->result, concoord_take_signed(&call->arguments));
}

static void give_f32(struct concoord_call *call) {
    concoord_put_f32(&call->result, concoord_take_f32(&call->arguments));
}

static void give_f64(struct concoord_call *call) {
    concoord_put_f64(&call->result, concoord_take_f64(&call->arguments));
}

static void give_text(struct concoord_call *call) {
    struct concoord_text text = concoord_take_text(&call->arguments);
    concoord_put_text(&call->result, text.bytes, text.length);
}

static void give_nothing(struct concoord_call *call) {
    (void)call;
}

static void export_nothing(struct concoord_writer *to) {
    (void)to;
}

static const char *import_nothing(struct concoord_reader *from) {
    (void)from;
    return NULL;
}

#define METHOD(name, run, type, result) {name, "", CONCOORD_QUERY, run, {{"value", type}}, result, false, 0}
static const struct concoord_method methods[] = {
    METHOD("boolean", give_bool, BOOL, BOOL),
    METHOD("byte", give_byte, U8, U8),
    METHOD("tiny", give_byte, I8, I8),
    METHOD("short", give_unsigned, U16, U16),
    METHOD("int", give_signed, I32, I32),
    METHOD("long", give_unsigned, U64, U64),
    METHOD("single", give_f32, F32, F32),
    METHOD("double", give_f64, F64, F64),
    METHOD("letter", give_text, CHAR, CHAR),
    METHOD("octets", give_text, OCTETS, OCTETS),
    METHOD("wide", give_nothing, I128, UNIT),
    METHOD("wider", give_nothing, U128, UNIT),
    METHOD("shade", give_nothing, SHADE, UNIT),
    METHOD("point", give_nothing, POINT, UNIT),
    METHOD("map", give_nothing, MAP, UNIT),
    METHOD("triple", give_nothing, TRIPLE, UNIT),
    METHOD("unit", give_nothing, UNIT, UNIT),
};

static const struct concoord_object concoord_object = {
    .name = "Every", .version = "0.1.0", .doc = "A method for every kind of type.",
    .types = types, .type_count = CONCOORD_COUNT(types),
    .methods = methods, .method_count = CONCOORD_COUNT(methods),
    .state = UNIT, .export_state = export_nothing, .import_state = import_nothing,
};
