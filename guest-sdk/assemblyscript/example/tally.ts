// Totals by name. What each part is stands in assembly/concoord.ts.
import { Call, Field, Kind, NOTHING, Reader, Writer, object, option, query, seq, simple, state, tuple, update }
  from "../assembly/concoord";
export * from "../assembly/exports";

const NAMES_MAX: u32 = 64;
const NAME_BYTES_MAX = 32;

class Tally {
  constructor(public name: string, public total: i64) {}
}

let tallies: Tally[] = [];

function find(name: string): Tally | null {
  for (let at = 0; at < tallies.length; at++) {
    if (tallies[at].name == name) return tallies[at];
  }
  return null;
}

function add(call: Call): void {
  const name = call.arguments.string();
  const by = call.arguments.signed();
  let tally = find(name);
  if (tally === null) {
    if (String.UTF8.byteLength(name) > NAME_BYTES_MAX) return call.fail().string("a name has at most 32 bytes");
    if (tallies.length == NAMES_MAX) return call.fail().string("there are 64 names already");
    tally = new Tally(name, 0);
    tallies.push(tally);
  }
  const total = tally.total + by;
  if (total < tally.total != by < 0) throw new Error("the total overflows");
  tally.total = total;
  call.result.signed(total);
}

function total(call: Call): void {
  const tally = find(call.arguments.string());
  call.result.byte(tally !== null ? 1 : 0);
  if (tally !== null) call.result.signed(tally.total);
}

function exportState(to: Writer): void {
  to.unsigned(tallies.length);
  for (let at = 0; at < tallies.length; at++) {
    to.string(tallies[at].name);
    to.signed(tallies[at].total);
  }
}

function importState(from: Reader): string {
  const imported: Tally[] = [];
  const names = from.length();
  if (names > NAMES_MAX) return "there are more than 64 names";
  for (let at: u32 = 0; at < names; at++) {
    const name = from.string();
    if (String.UTF8.byteLength(name) > NAME_BYTES_MAX) return "a name has at most 32 bytes";
    imported.push(new Tally(name, from.signed()));
  }
  tallies = imported;
  return "";
}

const text = simple(Kind.String);
const number = simple(Kind.I64);
const maybe = option(number);
const pairs = seq(tuple([text, number]));

object("Tally", "0.1.0", "Totals by name.");
state(pairs, exportState, importState);
update("add", "Adds to the total of a name, and gives it.", [new Field("name", text), new Field("by", number)],
  number, text, add);
query("total", "The total of a name that was added to.", [new Field("name", text)], maybe, NOTHING, total);
query("all", "All names with their totals, in the order in which they came.", [], pairs, NOTHING,
  (call: Call) => exportState(call.result));
