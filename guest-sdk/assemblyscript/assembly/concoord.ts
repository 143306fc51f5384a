// Objects in AssemblyScript: an object declares its types and methods here, and exports.ts runs it (object ABI 1,
// docs/src/objects/abi.md). Whatever its variables refer to is its state. See example/tally.ts.
//
// The arguments of a call are checked against the method's types before the method runs, and so is an imported state:
// inside, every reading succeeds if it follows the types. What is wrong in the object itself stops it with `throw`, which
// undoes the call.
import { Reader, Writer } from "./postcard";

export { Reader, Writer };

// The kinds of types, numbered as in the interface.
export enum Kind {
  Bool,
  I8,
  I16,
  I32,
  I64,
  I128,
  U8,
  U16,
  U32,
  U64,
  U128,
  F32,
  F64,
  Char,
  String,
  Bytes,
  Unit,
  Option,
  Seq,
  Tuple,
  Map,
  Struct,
  Enum,
}

// Index of a declared type.
export type TypeIndex = i32;

// In place of a type: a variant that carries nothing, or a method that does not fail.
export const NOTHING: TypeIndex = -1;

// An argument, a field, or a variant of an enum.
export class Field {
  constructor(public name: string, public type: TypeIndex) {}
}

class Type {
  // `parts`: the element of an option or sequence, key and value of a map, all elements of a tuple.
  constructor(public kind: Kind, public parts: TypeIndex[], public name: string, public fields: Field[]) {}
}

class Session {
  constructor(public slot: u64, public index: u32) {}
}

// One input, as a method sees it.
export class Call {
  // The result, or the error if the method failed.
  result: Writer = new Writer();
  failed: bool = false;

  constructor(
    public arguments: Reader,
    // Grows from input to input: fit for a fencing token.
    public position: u64,
    // Decided time, in microseconds since the Unix epoch.
    public now: u64,
    // Of random numbers: the same on every replica.
    public seed: u64,
    public caller: Session | null,
  ) {}

  // The method fails with an error of its error type, which is to be written into the result that this gives.
  fail(): Writer {
    this.failed = true;
    this.result.clear();
    return this.result;
  }
}

export class Method {
  constructor(
    public name: string,
    public doc: string,
    public isUpdate: bool,
    public parameters: Field[],
    public result: TypeIndex,
    public error: TypeIndex,
    public run: (call: Call) => void,
  ) {}
}

// The one object of a module.
class Declared {
  name: string = "";
  version: string = "";
  doc: string = "";
  types: Type[] = [];
  methods: Method[] = [];
  state: TypeIndex = NOTHING;
  exportState: (to: Writer) => void = (_: Writer) => {
    throw new Error("the object has no state()");
  };
  importState: (from: Reader) => string = (_: Reader) => "the object has no state()";
}

export const declared: Declared = new Declared();

export function object(name: string, version: string, doc: string): void {
  declared.name = name;
  declared.version = version;
  declared.doc = doc;
}

// How the state is exported and imported, as a value of this type. The import gives why the state does not fit, when it
// has changed nothing yet, or an empty string.
export function state(type: TypeIndex, exportState: (to: Writer) => void, importState: (from: Reader) => string): void {
  declared.state = type;
  declared.exportState = exportState;
  declared.importState = importState;
}

// A method that runs on every replica.
export function update(
  name: string,
  doc: string,
  parameters: Field[],
  result: TypeIndex,
  error: TypeIndex,
  run: (call: Call) => void,
): void {
  declared.methods.push(new Method(name, doc, true, parameters, result, error, run));
}

// A method that runs on one replica, and whatever it changes is undone.
export function query(
  name: string,
  doc: string,
  parameters: Field[],
  result: TypeIndex,
  error: TypeIndex,
  run: (call: Call) => void,
): void {
  declared.methods.push(new Method(name, doc, false, parameters, result, error, run));
}

function declare(kind: Kind, parts: TypeIndex[], name: string, fields: Field[]): TypeIndex {
  return declared.types.push(new Type(kind, parts, name, fields)) - 1;
}

// A type without parts.
export function simple(kind: Kind): TypeIndex {
  return declare(kind, [], "", []);
}

export function option(element: TypeIndex): TypeIndex {
  return declare(Kind.Option, [element], "", []);
}

export function seq(element: TypeIndex): TypeIndex {
  return declare(Kind.Seq, [element], "", []);
}

export function tuple(parts: TypeIndex[]): TypeIndex {
  return declare(Kind.Tuple, parts, "", []);
}

export function map(key: TypeIndex, value: TypeIndex): TypeIndex {
  return declare(Kind.Map, [key, value], "", []);
}

export function struct(name: string, fields: Field[]): TypeIndex {
  return declare(Kind.Struct, [], name, fields);
}

export function enumeration(name: string, variants: Field[]): TypeIndex {
  return declare(Kind.Enum, [], name, variants);
}

function putFields(to: Writer, fields: Field[]): void {
  to.unsigned(fields.length);
  for (let index = 0; index < fields.length; index++) {
    to.string(fields[index].name);
    to.unsigned(fields[index].type);
  }
}

function putVariants(to: Writer, variants: Field[]): void {
  to.unsigned(variants.length);
  for (let index = 0; index < variants.length; index++) {
    const carries = variants[index].type != NOTHING;
    to.string(variants[index].name);
    // Payload::Unit or Payload::Newtype.
    to.unsigned(carries ? 1 : 0);
    if (carries) {
      to.unsigned(variants[index].type);
    }
  }
}

function putType(to: Writer, type: Type): void {
  to.unsigned(type.kind);
  if (type.kind == Kind.Tuple) {
    to.unsigned(type.parts.length);
  }
  for (let index = 0; index < type.parts.length; index++) {
    to.unsigned(type.parts[index]);
  }
  if (type.kind == Kind.Struct || type.kind == Kind.Enum) {
    to.string(type.name);
  }
  if (type.kind == Kind.Struct) {
    putFields(to, type.fields);
  } else if (type.kind == Kind.Enum) {
    putVariants(to, type.fields);
  }
}

function putMethod(to: Writer, method: Method): void {
  const fails = method.error != NOTHING;
  to.string(method.name);
  to.string(method.doc);
  to.unsigned(method.isUpdate ? 1 : 0);
  putFields(to, method.parameters);
  to.unsigned(method.result);
  to.byte(fails ? 1 : 0);
  if (fails) {
    to.unsigned(method.error);
  }
}

// The interface.
export function describe(to: Writer): void {
  to.string(declared.name);
  to.string(declared.version);
  to.string(declared.doc);
  to.unsigned(declared.types.length);
  for (let index = 0; index < declared.types.length; index++) {
    putType(to, declared.types[index]);
  }
  to.unsigned(0); // the constructor's arguments
  to.unsigned(declared.methods.length);
  for (let index = 0; index < declared.methods.length; index++) {
    putMethod(to, declared.methods[index]);
  }
  to.byte(0); // no events
}

// Reads one value of this type; the reader has a problem afterwards if there is none.
export function check(from: Reader, index: TypeIndex): void {
  const type = declared.types[index];
  switch (type.kind) {
    case Kind.Bool: from.bool(); break;
    case Kind.I8:
    case Kind.U8: from.byte(); break;
    case Kind.I16:
    case Kind.U16: from.varint(16); break;
    case Kind.I32:
    case Kind.U32: from.varint(32); break;
    case Kind.I64:
    case Kind.U64: from.varint(64); break;
    case Kind.I128:
    case Kind.U128: from.varint(128); break;
    case Kind.F32: from.skip(4); break;
    case Kind.F64: from.skip(8); break;
    case Kind.Char:
      if (from.characters() != 1) {
        from.fail("expected one character");
      }
      break;
    case Kind.String: from.characters(); break;
    case Kind.Bytes: from.skip(from.length()); break;
    case Kind.Unit: break;
    case Kind.Option:
      if (from.bool()) {
        check(from, type.parts[0]);
      }
      break;
    case Kind.Seq:
    case Kind.Map:
      for (let left = from.length(); left > 0 && from.problem == ""; left--) {
        checkAll(from, type.parts);
      }
      break;
    case Kind.Tuple: checkAll(from, type.parts); break;
    case Kind.Struct:
      for (let at = 0; at < type.fields.length; at++) {
        check(from, type.fields[at].type);
      }
      break;
    case Kind.Enum: checkVariant(from, type.fields); break;
  }
}

function checkAll(from: Reader, parts: TypeIndex[]): void {
  for (let index = 0; index < parts.length; index++) {
    check(from, parts[index]);
  }
}

function checkVariant(from: Reader, variants: Field[]): void {
  const number = from.length();
  if (number >= (variants.length as u32)) {
    from.fail("there is no such variant");
  } else if (variants[number].type != NOTHING) {
    check(from, variants[number].type);
  }
}

// Why these are not the arguments that a method takes; empty if they are.
export function wrongArguments(parameters: Field[], from: Reader): string {
  for (let index = 0; index < parameters.length; index++) {
    check(from, parameters[index].type);
    if (from.problem != "") {
      return `argument ${index + 1} '${parameters[index].name}': ${from.problem}`;
    }
  }
  return from.left() > 0 ? `${parameters.length} taken, bytes left over: ${from.left()}` : "";
}

export function session(from: Reader): Session {
  const slot = from.unsigned();
  return new Session(slot, from.length());
}
