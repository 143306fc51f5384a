// What a replica calls. An object passes these on with `export * from ".../exports"`.
import { Call, Method, Reader, Writer, check, declared, describe, session, wrongArguments } from "./concoord";
export { concoord_panic } from "./panic";

export const concoord_abi: i32 = 1;

// What the input's buffer keeps when a larger one is not needed any more, so that one large input does not stay in every
// snapshot.
const INPUT_BYTES_KEPT: u32 = 64 * 1024;

let input: ArrayBuffer = new ArrayBuffer(0);
const output: Writer = new Writer();

export function concoord_describe(): u64 {
  output.clear();
  describe(output);
  return output.place();
}

export function concoord_buffer(length: u32): usize {
  const kept = input.byteLength as u32;
  if (length > kept || (kept > INPUT_BYTES_KEPT && length <= INPUT_BYTES_KEPT)) {
    input = new ArrayBuffer(length);
  }
  return changetype<usize>(input);
}

function reader(length: u32): Reader {
  const start = changetype<usize>(input);
  return new Reader(start, start + length);
}

const RETURNED: u8 = 0;
const FAILED: u8 = 1;
const REJECTED: u8 = 2;

const UNKNOWN_METHOD: u8 = 0;
const WRONG_ARGUMENTS: u8 = 1;

const ON_INIT: u32 = 0;
const ON_CALL: u32 = 1;

export function concoord_call(length: u32): u64 {
  const from = reader(length);
  const position = from.unsigned();
  const now = from.unsigned();
  const seed = from.unsigned();
  if (from.bool()) { // the id of the call
    session(from);
    from.unsigned();
  }
  const caller = from.bool() ? session(from) : null;
  const trigger = from.length();
  output.clear();
  if (trigger == ON_INIT) {
    initialized(from);
  } else if (trigger == ON_CALL) {
    const name = from.string();
    run(name, new Call(from, position, now, seed, caller));
  } else {
    output.byte(0); // no reply
  }
  // No calls answered, no events, no timers, no lines for the log.
  for (let part = 0; part < 4; part++) {
    output.byte(0);
  }
  return output.place();
}

// Begins an outcome that answers at once.
function answer(kind: u8): void {
  output.byte(1);
  output.byte(kind);
}

function initialized(from: Reader): void {
  const wrong = wrongArguments([], from);
  if (wrong != "") {
    reject(wrong);
  } else {
    answer(RETURNED);
    output.unsigned(0);
  }
}

function reject(wrong: string): void {
  answer(REJECTED);
  output.byte(WRONG_ARGUMENTS);
  output.string(wrong);
}

function run(name: string, call: Call): void {
  for (let index = 0; index < declared.methods.length; index++) {
    if (declared.methods[index].name == name) {
      return runMethod(declared.methods[index], call);
    }
  }
  answer(REJECTED);
  output.byte(UNKNOWN_METHOD);
}

function runMethod(method: Method, call: Call): void {
  const wrong = wrongArguments(method.parameters, call.arguments.copy());
  if (wrong != "") {
    return reject(wrong);
  }
  method.run(call);
  answer(call.failed ? FAILED : RETURNED);
  output.written(call.result);
}

export function concoord_export(): u64 {
  output.clear();
  declared.exportState(output);
  return output.place();
}

export function concoord_import(length: u32): u64 {
  const why = imported(reader(length));
  output.clear();
  // Result::Ok(()) or Result::Err(String).
  output.byte(why != "" ? 1 : 0);
  if (why != "") {
    output.string(why);
  }
  return output.place();
}

function imported(from: Reader): string {
  const checked = from.copy();
  check(checked, declared.state);
  if (checked.problem != "") {
    return checked.problem;
  }
  return checked.left() > 0 ? "bytes are left over" : declared.importState(from);
}
