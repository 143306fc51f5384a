// Postcard, the encoding of everything that passes between an object and its replica (docs/src/objects/abi.md).

// What a writer keeps of its memory when a larger one is not needed any more, so that one long output does not stay in
// every snapshot.
const WRITER_BYTES_KEPT = 64 * 1024;

export class Writer {
  private bytes: ArrayBuffer = new ArrayBuffer(256);
  private length: i32 = 0;

  clear(): void {
    this.length = 0;
    if (this.bytes.byteLength > WRITER_BYTES_KEPT) {
      this.bytes = new ArrayBuffer(256);
    }
  }

  // Address and length as the exports give them; good until the next call of this writer.
  place(): u64 {
    return ((changetype<usize>(this.bytes) as u64) << 32) | this.length;
  }

  // Address of so many bytes that are to be written next.
  private room(length: i32): usize {
    const needed = this.length + length;
    if (needed > this.bytes.byteLength) {
      const larger = new ArrayBuffer(max(needed, 2 * this.bytes.byteLength));
      memory.copy(changetype<usize>(larger), changetype<usize>(this.bytes), this.length);
      this.bytes = larger;
    }
    this.length = needed;
    return changetype<usize>(this.bytes) + needed - length;
  }

  // u8 and bool; a u8 is the only unsigned number that is no varint.
  byte(value: u8): void {
    store<u8>(this.room(1), value);
  }

  // u16, u32, u64, lengths and numbers of variants.
  unsigned(value: u64): void {
    for (; value >= 0x80; value >>= 7) {
      this.byte((value as u8) | 0x80);
    }
    this.byte(value as u8);
  }

  // i16, i32, i64.
  signed(value: i64): void {
    this.unsigned(((value << 1) ^ (value >> 63)) as u64);
  }

  f32(value: f32): void {
    store<f32>(this.room(4), value);
  }

  f64(value: f64): void {
    store<f64>(this.room(8), value);
  }

  // A string as UTF-8; half of a surrogate pair becomes U+FFFD.
  string(value: string): void {
    const length = String.UTF8.byteLength(value);
    this.unsigned(length);
    const to = this.room(length);
    String.UTF8.encodeUnsafe(changetype<usize>(value), value.length, to, false, String.UTF8.ErrorMode.REPLACE);
  }

  bytesOf(value: Uint8Array): void {
    this.unsigned(value.length);
    this.raw(value.dataStart, value.length);
  }

  // All that another writer holds, with its length in front: a value within a value.
  written(other: Writer): void {
    this.unsigned(other.length);
    this.raw(changetype<usize>(other.bytes), other.length);
  }

  private raw(from: usize, length: i32): void {
    memory.copy(this.room(length), from, length);
  }
}

// Reads what lies in memory between two addresses. After a problem nothing more is read.
export class Reader {
  // Why the bytes are not what was read from them; empty if they are.
  problem: string = "";

  constructor(private at: usize, private end: usize) {}

  // The same bytes from here on, to be read once more.
  copy(): Reader {
    return new Reader(this.at, this.end);
  }

  left(): usize {
    return this.end - this.at;
  }

  fail(problem: string): void {
    if (this.problem == "") {
      this.problem = problem;
    }
    this.at = this.end;
  }

  // Skips so many bytes and gives where they are; 0 when there are fewer.
  skip(length: u32): usize {
    if (this.left() < length) {
      this.fail("the bytes end within it");
      return 0;
    }
    this.at += length;
    return this.at - length;
  }

  byte(): u8 {
    const at = this.skip(1);
    return at != 0 ? load<u8>(at) : 0;
  }

  // A varint of a number of so many bits. Of one with more than 64 only the low 64 are given.
  varint(bits: i32): u64 {
    let value: u64 = 0;
    for (let shift = 0; shift < bits; shift += 7) {
      const byte = this.byte();
      if (bits - shift < 7 && byte >> ((bits - shift) as u8) != 0) {
        break;
      }
      if (shift < 64) {
        value |= ((byte & 0x7f) as u64) << shift;
      }
      if (byte < 0x80) {
        return value;
      }
    }
    this.fail("the number is too large for its type");
    return 0;
  }

  // u16, u32, u64.
  unsigned(): u64 {
    return this.varint(64);
  }

  // i16, i32, i64.
  signed(): i64 {
    const value = this.varint(64);
    return ((value >> 1) as i64) ^ -((value & 1) as i64);
  }

  // Lengths and numbers of variants.
  length(): u32 {
    return this.varint(32) as u32;
  }

  // A bool, or whether there is a value of an option, which follows then.
  bool(): bool {
    const byte = this.byte();
    if (byte > 1) {
      this.fail("expected 0 or 1");
    }
    return byte == 1;
  }

  f32(): f32 {
    const at = this.skip(4);
    return at != 0 ? load<f32>(at) : 0;
  }

  f64(): f64 {
    const at = this.skip(8);
    return at != 0 ? load<f64>(at) : 0;
  }

  // A string or a char. Bytes that are no UTF-8 make one that is of no use: `characters` finds them.
  string(): string {
    const length = this.length();
    const at = this.skip(length);
    return at != 0 ? String.UTF8.decodeUnsafe(at, length) : "";
  }

  bytes(): Uint8Array {
    const length = this.length();
    const at = this.skip(length);
    const bytes = new Uint8Array(at != 0 ? length : 0);
    memory.copy(bytes.dataStart, at, bytes.length);
    return bytes;
  }

  // Reads a string and gives how many characters it has; a problem if it is not UTF-8.
  characters(): u32 {
    const length = this.length();
    let at = this.skip(length);
    const end = at != 0 ? at + length : 0;
    let characters: u32 = 0;
    for (; at < end; characters++) {
      const character = characterLength(at, end - at);
      if (character == 0) {
        this.fail("the text is not UTF-8");
        return 0;
      }
      at += character;
    }
    return characters;
  }
}

// Bytes of the character that begins here; 0 if none of UTF-8 does.
function characterLength(at: usize, left: usize): usize {
  const first = load<u8>(at);
  if (first < 0x80) {
    return 1;
  }
  const length: usize = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || left < length) {
    return 0;
  }
  // Neither what a shorter form could say, nor half of a surrogate pair, nor anything beyond the last character.
  const low: u8 = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  const high: u8 = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  const second = load<u8>(at + 1);
  if (second < low || second > high) {
    return 0;
  }
  for (let index: usize = 2; index < length; index++) {
    if ((load<u8>(at + index) & 0xc0) != 0x80) {
      return 0;
    }
  }
  return length;
}
