// A method for every kind of type: those that read and write numbers give what they got.
import { Call, Field, Kind, NOTHING, Reader, TypeIndex, Writer, enumeration, map, object, option, query, seq, simple, state,
  struct, tuple } from "../assembly/concoord";
export * from "../assembly/exports";

function method(name: string, run: (call: Call) => void, type: TypeIndex, result: TypeIndex): void {
  query(name, "", [new Field("value", type)], result, NOTHING, run);
}

function giveByte(call: Call): void {
  call.result.byte(call.arguments.byte());
}

function giveUnsigned(call: Call): void {
  call.result.unsigned(call.arguments.unsigned());
}

function giveNothing(_: Call): void {}

const bool = simple(Kind.Bool);
const u8 = simple(Kind.U8);
const i8 = simple(Kind.I8);
const u16 = simple(Kind.U16);
const i32 = simple(Kind.I32);
const u64 = simple(Kind.U64);
const f32 = simple(Kind.F32);
const f64 = simple(Kind.F64);
const char = simple(Kind.Char);
const octets = seq(u8);
const i128 = simple(Kind.I128);
const unit = simple(Kind.Unit);
const u128 = simple(Kind.U128);
const shade = enumeration("Shade", [new Field("Light", NOTHING), new Field("Dark", u8)]);
const i16 = simple(Kind.I16);
const point = struct("Point", [new Field("x", i16), new Field("y", option(f64))]);
const text = simple(Kind.String);
const entries = map(text, u16);
const i64 = simple(Kind.I64);
const triple = tuple([u8, u16, i64]);

object("Every", "0.1.0", "A method for every kind of type.");
state(unit, (_: Writer) => {}, (_: Reader) => "");
method("boolean", (call: Call) => call.result.byte(call.arguments.bool() ? 1 : 0), bool, bool);
method("byte", giveByte, u8, u8);
method("tiny", giveByte, i8, i8);
method("short", giveUnsigned, u16, u16);
method("int", (call: Call) => call.result.signed(call.arguments.signed()), i32, i32);
method("long", giveUnsigned, u64, u64);
method("single", (call: Call) => call.result.f32(call.arguments.f32()), f32, f32);
method("double", (call: Call) => call.result.f64(call.arguments.f64()), f64, f64);
method("letter", (call: Call) => call.result.string(call.arguments.string()), char, char);
method("octets", (call: Call) => call.result.bytesOf(call.arguments.bytes()), octets, octets);
method("wide", giveNothing, i128, unit);
method("wider", giveNothing, u128, unit);
method("shade", giveNothing, shade, unit);
method("point", giveNothing, point, unit);
method("map", giveNothing, entries, unit);
method("triple", giveNothing, triple, unit);
method("unit", giveNothing, unit, unit);
