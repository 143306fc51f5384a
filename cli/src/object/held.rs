//! Who holds an object and who waits for it, where it has methods that say so, as all lock-like standard objects do.

use concoord_client::{Client, Consistency};
use concoord_wire::interface::{Interface, MethodKind};
use serde_json::Value;

use crate::{call, print};

/// Queries without arguments by which an object says it.
const QUERIES: [&str; 2] = ["holders", "waiters"];
/// Of each list, as many are printed as text.
const SHOWN_MAX: usize = 20;

/// What each of [`QUERIES`] gave, where the object has it, or why it gave nothing.
pub(super) type Held = Vec<(&'static str, Result<Value, String>)>;

/// Asks an object.
pub(super) async fn ask(client: &Client, object: &str, interface: &Interface) -> Held {
    let mut held = Held::new();
    for name in QUERIES {
        let Some(method) = interface.method(name) else { continue };
        if method.kind != MethodKind::Query || !method.arguments.is_empty() {
            continue;
        }
        let answer = client.query(Some(object), name, Vec::new(), Consistency::Linearizable).await;
        let said =
            answer.map_err(anyhow::Error::from).and_then(|answer| call::decode(object, interface, method, &answer));
        held.push((name, said.map_err(|error| format!("{error:#}"))));
    }
    held
}

/// A line for each holder and for each who waits.
pub(super) fn lines(held: &Held) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, said) in held {
        match said {
            Err(why) => lines.push(format!("{name}: {why}")),
            Ok(Value::Array(all)) if all.is_empty() => lines.push(format!("{name}: none")),
            Ok(Value::Array(all)) => {
                lines.push(format!("{name}:"));
                lines.extend(all.iter().take(SHOWN_MAX).map(|one| format!("  {}", text(one))));
                let more = all.len().saturating_sub(SHOWN_MAX);
                lines.extend((more > 0).then(|| format!("  and {more} more")));
            }
            Ok(other) => lines.push(format!("{name}: {}", text(other))),
        }
    }
    lines.iter().map(|line| print::clean(line)).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(word) => word.clone(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| format!("{name} {}", text(value))).collect::<Vec<_>>().join(", ")
        }
        other => print::json_text(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_holder_has_a_line_up_to_a_bound() {
        let held = vec![
            ("holders", Ok(json!([{"token": 1023, "session": "27-0"}, {"token": 1030, "session": "31-0"}]))),
            ("waiters", Ok(json!((0..22).map(|index| format!("{index}-0")).collect::<Vec<_>>()))),
        ];
        let lines = lines(&held);
        assert_eq!(
            lines[..5],
            ["holders:", "  session 27-0, token 1023", "  session 31-0, token 1030", "waiters:", "  0-0"]
        );
        assert_eq!((lines.len(), lines.last().map(String::as_str)), (4 + SHOWN_MAX + 1, Some("  and 2 more")));
    }

    #[test]
    fn nobody_and_no_answer_are_said() {
        let held = vec![("holders", Ok(json!([]))), ("waiters", Err("it is suspended".into()))];
        assert_eq!(lines(&held), ["holders: none", "waiters: it is suspended"]);
        assert_eq!(lines(&vec![("holders", Ok(json!({"by": [1, null]})))]), ["holders: by [1,null]"]);
    }
}
