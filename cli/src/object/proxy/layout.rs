//! Rust as rustfmt writes it with its defaults. Where it can be had, the layout is one that a wider line leaves alone.

/// Characters of a line.
pub(super) const LINE_MAX: usize = 100;
/// Characters between the parentheses of what stays on one line.
const CALL_MAX: usize = 60;
/// Characters of a line with a result below its parameters, that has the brace too.
const RESULT_MAX: usize = 96;
/// Characters between the braces of a variant that stays on one line.
const VARIANT_MAX: usize = 35;

/// `before`, the items and `after`, on one line where they fit.
pub(super) fn in_parentheses(indent: usize, before: &str, items: &[String], after: &str) -> String {
    let inner = items.join(", ");
    let line = format!("{:indent$}{before}({inner}){after}\n", "");
    if (inner.len() <= CALL_MAX || items.len() == 1) && line.len() <= LINE_MAX + 1 {
        return line;
    }
    format!("{:indent$}{before}(\n{}{:indent$}){after}\n", "", one_per_line(indent + 4, items), "")
}

fn one_per_line(indent: usize, items: &[String]) -> String {
    items.iter().map(|item| format!("{:indent$}{item},\n", "")).collect()
}

/// A variant of an enum with what it carries.
pub(super) enum Variant {
    /// Nothing.
    Unit(String),
    /// Values.
    Tuple(String, Vec<String>),
    /// Named fields.
    Struct(String, Vec<String>),
}

/// The variants of an enum: where one has several lines, all with fields have.
pub(super) fn variants(variants: &[Variant]) -> String {
    let written: Vec<String> = variants.iter().map(|one| variant(one, VARIANT_MAX)).collect();
    let is_long = |text: &String| text.trim_end().contains('\n');
    if written.iter().any(is_long) && !written.iter().all(is_long) {
        return variants.iter().map(|one| variant(one, 0)).collect();
    }
    written.concat()
}

fn variant(variant: &Variant, fields_max: usize) -> String {
    match variant {
        Variant::Unit(name) => format!("    {name},\n"),
        Variant::Tuple(name, parts) => in_parentheses(4, name, parts, ","),
        Variant::Struct(name, fields) if fields.is_empty() => format!("    {name} {{}},\n"),
        Variant::Struct(name, fields) => {
            let inner = fields.join(", ");
            let line = format!("    {name} {{ {inner} }},\n");
            if inner.len() <= fields_max && line.len() <= LINE_MAX + 1 {
                return line;
            }
            format!("    {name} {{\n{}    }},\n", one_per_line(8, fields))
        }
    }
}

/// The head of a method that returns `Result<result, error>`.
pub(super) fn signature(name: &str, parameters: &[String], result: [&str; 3]) -> String {
    let [of, ok, error] = result;
    let receiver_and = [&["&self".to_owned()][..], parameters].concat();
    let returns = format!("-> {of}<{ok}, {error}> {{\n");
    let line = format!("    pub async fn {name}({}) {returns}", receiver_and.join(", "));
    if line.len() <= LINE_MAX + 1 {
        return line;
    }
    let parameters = one_per_line(8, &receiver_and);
    let last = format!("    ) {returns}");
    if last.len() <= RESULT_MAX + 1 {
        return format!("    pub async fn {name}(\n{parameters}{last}");
    }
    // rustfmt measures such a line without its brace, and two short.
    if last.len() <= LINE_MAX + 5 {
        return format!("    pub async fn {name}(\n{parameters}{}\n    {{\n", last.trim_end_matches(" {\n"));
    }
    format!("    pub async fn {name}(\n{parameters}    ) -> {of}<\n        {ok},\n        {error},\n    > {{\n")
}

/// The head of a function with one parameter.
pub(super) fn function(head: &str, parameter: &str, returns: &str) -> String {
    let line = format!("{head}({parameter}) -> {returns} {{\n");
    if line.len() <= LINE_MAX + 1 { line } else { format!("{head}(\n    {parameter},\n) -> {returns} {{\n") }
}

/// `let name = value;`, where the value is one word.
pub(super) fn assignment(indent: usize, target: &str, value: &str) -> String {
    let line = format!("{:indent$}{target} = {value};\n", "");
    if line.len() <= LINE_MAX + 1 {
        return line;
    }
    let deeper = indent + 4;
    let broken = format!("{:indent$}{target} =\n{:deeper$}{value};\n", "", "");
    // What is too long for both stays as it is.
    if broken.lines().all(|line| line.len() <= LINE_MAX) { broken } else { line }
}

/// Lines of a comment that begin with `mark`.
pub(super) fn comment(indent: usize, mark: &str, lines: &[String]) -> String {
    lines.iter().map(|line| format!("{:indent$}{}\n", "", format!("{mark} {line}").trim_end())).collect()
}
