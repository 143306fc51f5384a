use std::path::PathBuf;

use super::*;
use crate::cluster::Scratch;

/// Runs a page that needs no replica.
fn run(page: &str) -> Result<Ran, String> {
    run_in(&Scratch::new("page"), page)
}

fn run_in(scratch: &Scratch, page: &str) -> Result<Ran, String> {
    let directory = scratch.path().join("here");
    std::fs::create_dir(&directory).expect("there is room");
    let nowhere = PathBuf::from("/nonexistent");
    run_page(page, &directory, Tools { commands: &nowhere, examples: &nowhere, environment: &[] })
}

fn console(lines: &str) -> String {
    format!("# A page\n\n```console\n{lines}\n```\n")
}

fn fails(page: &str, with: &str) {
    let why = run(page).expect_err(page);
    assert!(why.contains(with), "{why}");
}

#[test]
fn commands_share_a_shell_and_a_directory_and_print_what_stands_below_them() {
    let page = console(
        "$ x=5\n$ mkdir a && cd a\n$ echo $x; echo $x \\\n    more >&2\n5\n5 more\n$ pwd\n.../a\n$ printf 'no end'\nno end",
    );
    assert_eq!(run(&page), Ok(Ran { compared: 3, started: 0, elsewhere: 0 }));
}

#[test]
fn a_block_may_stand_in_a_list() {
    let page = |printed: &str| format!("1. It\n\n   ```console\n   $ echo '  1'\n{printed}\n   ```\n");
    assert!(run(&page("     1")).is_ok());
    fails(&page("   1"), "the page says\n1");
}

#[test]
fn whatever_is_printed_otherwise_fails_at_its_line() {
    fails(&console("$ echo 1\n1\n$ echo 2\n3"), "line 6: the page says\n3\nbut this is printed\n2");
    for lines in ["$ echo 1", "$ echo 1\n1\n1", "$ echo a; echo b\na", "$ echo ab\na", "$ true\n1", "$ echo a b\na  b"]
    {
        assert!(run(&console(&format!("$ echo 1\n1\n{lines}"))).is_err(), "{lines}");
    }
}

#[test]
fn a_command_fails_only_where_the_page_says_so() {
    let failing = "$ echo 'concoord: no'; false\nconcoord: no";
    assert!(run(&console(failing)).is_ok());
    fails(&console("$ echo 1; false\n1"), "exit code 1");
    fails(&console("$ echo 'concoord: no'\nconcoord: no"), "exit code 0");
    assert!(run(&console("$ echo degraded; false\ndegraded")).is_ok());
    fails(&console("$ exit 3\n3"), "no end of");
    fails(&console("$ cargo run --example x\n3"), "the pages run examples");
}

#[test]
fn three_dots_stand_for_anything_in_a_line_or_for_lines() {
    for lines in ["$ echo one two\none...", "$ seq 9\n1\n...\n9", "$ seq 3\n...\n2\n...", "$ echo 'a    b'\na  b"] {
        assert!(run(&console(lines)).is_ok(), "{lines}");
    }
    for lines in ["$ echo one two\none...three", "$ seq 9\n1\n...\n10", "$ seq 3\n...\n4\n..."] {
        assert!(run(&console(lines)).is_err(), "{lines}");
    }
}

#[test]
fn a_free_number_is_the_same_throughout_a_page_in_commands_too() {
    let begin = "```console,any=17,any=22-0\n$ echo token 40 of 6-12\ntoken 17 of 22-0\n```\n";
    let page = |line: &str, printed: &str| format!("{begin}\n```console\n$ {line}\n{printed}\n```\n");
    for (line, printed) in
        [("echo 17; echo 22-0", "17\n22-0"), ("echo 40 6-12", "17 22-0"), ("echo 117 170", "117 170")]
    {
        assert!(run(&page(line, printed)).is_ok(), "{line}");
    }
    fails(&page("echo 41", "17"), "the page says\n17\nbut this is printed\n41");
    fails(&page("echo 400", "17"), "400");
    fails("```console,any=17\n$ echo 17\n17\n```\n", "17 was printed nowhere before");
    fails("```console,any=x\n$ echo x\nx\n```\n", "no number");
}

#[test]
fn an_id_stands_for_one_as_long() {
    let begin = "```console,any=9f86d081884c7d65\n$ echo id 00ff00ff00ff00ff of 7\nid 9f86d081884c7d65 of 7\n```\n";
    let page = |printed: &str| format!("{begin}\n```console\n$ echo 00ff00ff00ff00ff\n{printed}\n```\n");
    assert!(run(&page("9f86d081884c7d65")).is_ok());
    fails(&page("9f86d081884c7d66"), "9f86d081884c7d66");
    for other in ["00ff00ff00ff00f", "00ff00ff00ff00ff0", "00ff00ff00ff00fg"] {
        assert!(run(&begin.replace("00ff00ff00ff00ff", other)).is_err(), "{other}");
    }
}

#[test]
fn a_time_stands_for_one_in_another_unit() {
    let page =
        |printed: &str| format!("```console,any=1.15 s\n$ echo 'after {printed}, or so'\nafter 1.15 s, or so\n```\n");
    for time in ["999 ms", "2 s", "87.0 us"] {
        assert!(run(&page(time)).is_ok(), "{time}");
    }
    for other in ["999", "ms", "3 B", "5 min", " s"] {
        assert!(run(&page(other)).is_err(), "{other}");
    }
}

#[test]
fn lines_may_come_in_any_order_only_where_the_page_says_so() {
    let page = |flags: &str, printed: &str| {
        format!("```console{flags}\n$ printf 'id\\n3 b\\n4 a\\n'\n{printed}\n```\n```console\n$ echo 4\n1\n```\n")
    };
    let rows = "id\n1 a\n2 b";
    assert!(run(&page(",unordered,any=1,any=2", rows)).is_ok());
    assert!(run(&page(",any=1,any=2", rows)).is_err());
    for other in ["id\n1 a", "id\n1 a\n2 b\n2 b", "id\n1 a\n2 c", "id\n2 a\n1 b"] {
        assert!(run(&page(",unordered,any=1,any=2", other)).is_err(), "{other}");
    }
}

#[test]
fn of_members_in_any_order_another_one_may_lead_and_only_one() {
    let page = |printed: &str| {
        let members = "id  role     leader  live\n1a  replica  leader  live\n2b  replica          live";
        format!("```console,unordered\n$ printf '{printed}'\n{members}\n```\n")
    };
    let head = "id  role     leader  live\\n";
    for (first, second, fits) in
        [("leader", "", true), ("", "leader", true), ("", "", false), ("leader", "leader", false)]
    {
        let row = |id: &str, leader: &str| format!("{id}  replica  {leader:6}  live\\n");
        let ran = run(&page(&format!("{head}{}{}", row("2b", first), row("1a", second))));
        assert_eq!(ran.is_ok(), fits, "{first} {second}: {ran:?}");
    }
}

#[test]
fn what_only_looks_is_run_again_until_it_sees_it() {
    let looks = |command: &str| {
        let block = format!("```console\n$ {command}\n```\n");
        blocks(&block)[0].steps().expect("a command")[0].only_looks()
    };
    for command in
        ["concoord members", "concoord view --json", "dig -t a x", "dig +short x", "concoord object list", "sudo dig"]
    {
        assert!(looks(command), "{command}");
    }
    for command in ["concoord members evict x", "concoord sessions end 3-0", "concoord call x", "digger", "echo dig"] {
        assert!(!looks(command), "{command}");
    }
    let counts = "$ dig() { echo x >>times; wc -l <times; }\n";
    assert!(run(&console(&format!("{counts}$ dig\n3\n$ wc -l <times\n3"))).is_ok());
}

#[test]
fn nothing_is_left_out_without_a_reason_that_says_where_it_runs() {
    let ran = "```console\n$ echo 1\n1\n```\n";
    let ignored = run(&format!("{ran}```console,ignore=delegation\n$ dig\n```\n"));
    assert_eq!(ignored, Ok(Ran { compared: 1, started: 0, elsewhere: 1 }));
    fails(&format!("{ran}```console,ignore=weather\n$ dig\n```\n"), "'ignore=weather' is no reason");
    fails(&format!("{ran}```console\n$ true\n```\n"), "nothing in this block is compared");
    fails("```console,ignore=delegation\n$ dig\n```\n", "nothing of it is compared");
    fails(&console("1"), "what prints this? 1");
}

#[test]
fn what_runs_beside_is_waited_for_and_ends_with_the_page() {
    let scratch = Scratch::new("page");
    let page =
        console("$ sh -c 'echo $$ >pid; echo begun; sleep 600' &\nbegun\n$ kill -0 $(cat pid) && echo runs\nruns");
    assert_eq!(run_in(&scratch, &page), Ok(Ran { compared: 1, started: 1, elsewhere: 0 }));
    let pid = std::fs::read_to_string(scratch.path().join("here/pid")).expect("it is there");
    assert!(!PathBuf::from(format!("/proc/{}", pid.trim())).exists(), "it still runs");
    fails(&console("$ sh -c 'echo other' &\nbegun\n$ echo 1\n1"), "the page says\nbegun\nbut this is printed\nother");
    assert!(run(&console("$ sleep 600 &\n$ echo 1\n1")).is_ok(), "it prints nothing");
}

#[test]
fn what_runs_beside_begins_where_the_shell_is_and_what_it_prints_later_is_found() {
    let begin = "$ mkdir a; cd a; export WORD='a b'\n$ sh -c 'pwd; echo \"$WORD\"; sleep 0.1; echo 17; sleep 600; true' &\n.../a";
    let page = |log: &str, lines: &str| {
        format!("{}```console,any=5,log={log}\n{lines}\n```\n```console\n$ echo 17\n5\n```\n", console(begin))
    };
    assert_eq!(run(&page("600;", "a b\n5")), Ok(Ran { compared: 2, started: 1, elsewhere: 0 }));
    for other in ["60", "700"] {
        fails(&page(other, "a b"), &format!("nothing was started with {other}"));
    }
    let ends = page("0.2;", "a b\n6").replace("600", "0.2");
    fails(&ends, "the page says\na b\n6");
}

#[test]
fn what_is_killed_has_ended_before_the_next_command() {
    let slow =
        "$ sh -c 'trap \"sleep 0.2; exit\" TERM; echo $$ >pid; echo begun; while :; do sleep 0.01; done' &\nbegun";
    let page = |kill: &str| console(&format!("{slow}\n$ {kill}\n$ kill -0 $(cat pid) 2>/dev/null || echo gone\ngone"));
    assert!(run(&page("kill $(cat pid)")).is_ok());
    fails(&page("true kill $(cat pid)"), "but this is printed");
    fails(&page("kill -CONT $(cat pid)"), "nothing that was started has ended");
}

#[test]
fn the_log_of_a_replica_is_read_as_on_a_terminal() {
    let line = r#"{"timestamp":"2026-11-24T14:33:03.287Z","level":"INFO","message":"it \"leads\""}"#;
    assert_eq!(on_a_terminal(&format!("{line}\nconcoord: no")), "INFO it \"leads\"\nconcoord: no");
    for line in [r#"{"replica":"127.0.0.1:1","level":"INFO","message":"x"}"#, r#"{"timestamp":"#, "{}", "17"] {
        assert_eq!(on_a_terminal(line), line);
    }
}

#[test]
fn a_replica_that_is_to_fail_is_no_lasting_one() {
    let page = "```console\n$ concoord replica\n...\nconcoord: no\n$ concoord replica\nINFO yes\n$ concoord replica\n$ concoord logger\n```\n";
    let lasting: Vec<bool> = blocks(page)[0].steps().expect("commands").iter().map(Step::is_lasting).collect();
    assert_eq!(lasting, [false, true, true, true]);
}

#[test]
fn every_reason_names_a_test_that_is_there() {
    for (reason, file) in ELSEWHERE {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
        assert!(file.is_file(), "{reason}: {} is missing", file.display());
    }
}

#[test]
fn a_program_of_a_page_is_an_example_letter_by_letter() {
    let example = "//! About.\n\nfn main() {}\n".to_owned();
    let page = "```rust,no_run\nfn main() {}\n```\n\n```rust,no_run\nfn main() { }\n```\n\n```rust\npart\n```\n";
    assert_eq!(strange_programs(page, &[example]), [5]);
}
