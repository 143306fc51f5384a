// What is left of a call that fails: text for its caller. `throw` and failed assertions come here, with the compiler's flag
// `--use abort=assembly/panic/abort`. This file imports nothing and takes no memory, since the compiler runs it before
// there is any, and there may be none left.

const PANIC_BYTES_MAX: u32 = 1020;

// Length and text of what `abort` was told last.
export const concoord_panic: usize = memory.data(4 + PANIC_BYTES_MAX);

export function abort(message: string | null, file: string | null, line: u32, _column: u32): void {
  store<u32>(concoord_panic, 0);
  panicText(message !== null ? message : "assertion failed");
  if (file !== null) {
    panicText(", at ");
    panicText(file);
    panicText(":");
    panicNumber(line);
  }
  unreachable();
}

function panicText(text: string): void {
  const length = load<u32>(concoord_panic);
  // A unit of UTF-16 makes at most three bytes.
  const units = min(text.length, ((PANIC_BYTES_MAX - length) / 3) as i32);
  const to = concoord_panic + 4 + length;
  const written = String.UTF8.encodeUnsafe(changetype<usize>(text), units, to, false, String.UTF8.ErrorMode.REPLACE);
  store<u32>(concoord_panic, length + (written as u32));
}

function panicNumber(number: u32): void {
  if (number >= 10) {
    panicNumber(number / 10);
  }
  const length = load<u32>(concoord_panic);
  if (length < PANIC_BYTES_MAX) {
    store<u8>(concoord_panic + 4 + length, 0x30 + ((number % 10) as u8));
    store<u32>(concoord_panic, length + 1);
  }
}
