//! The name of a new object: what cargo, the compiler and a cluster all take.

use anyhow::{Result, bail, ensure};

/// Long enough for a name, and short enough for every file system and for what is made of it.
const NAME_BYTES_MAX: usize = 64;
/// The compiler's own words, those that it may want later included.
const KEYWORDS: [&str; 52] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true",
    "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield", "union",
];
/// Crates that come with the compiler.
const COMPILERS: [&str; 5] = ["alloc", "core", "proc_macro", "std", "test"];
/// Types that the template uses: a struct of that name would hide them.
const TEMPLATES: [&str; 5] = ["btree_map", "object", "result", "shortage", "string"];

/// What an object is called.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Name {
    /// Name of the package: `parking-lot`.
    pub(super) package: String,
    /// Name of the library, and so of the module: `parking_lot`.
    module: String,
    /// Name of the struct: `ParkingLot`.
    pub(super) type_name: String,
}

impl Name {
    /// # Errors
    /// When it can't be the name of a crate; says what to do.
    pub(super) fn read(given: &str) -> Result<Name> {
        ensure!(!given.is_empty(), "an object needs a name, such as counter");
        if let Some(odd) = odd_character(given) {
            bail!(
                "the name '{given}' has {odd:?} at a place where it can't be: use lower-case letters, digits, '-' and \
                 '_', and begin with a letter{}",
                suggestion(given)
            );
        }
        let bytes = given.len();
        ensure!(
            bytes <= NAME_BYTES_MAX,
            "the name has {bytes} characters, but at most {NAME_BYTES_MAX} fit: shorten it"
        );
        let module = given.replace('-', "_");
        let taken = |by: &str| bail!("'{given}' is {by}: choose another name, such as my-{given}");
        match module.as_str() {
            word if KEYWORDS.contains(&word) => taken("a word of the Rust language"),
            word if COMPILERS.contains(&word) => taken("a crate of the Rust compiler"),
            word if TEMPLATES.contains(&word) => taken("what the new object's source needs under that name"),
            word if word.starts_with("concoord") => taken("among Concoord's own names"),
            _ => Ok(Name { package: given.into(), type_name: camel_case(&module), module }),
        }
    }

    /// The template's text with these names.
    pub(super) fn put_into(&self, text: &str) -> String {
        text.replace("Stock", &self.type_name)
            .replace("stock.wasm", &format!("{}.wasm", self.module))
            .replace("stock", &self.package)
    }
}

/// The first character that can't stand where it does.
fn odd_character(name: &str) -> Option<char> {
    let fits = |(place, character): &(usize, char)| match character {
        'a'..='z' => true,
        '0'..='9' | '-' | '_' => *place > 0,
        _ => false,
    };
    name.char_indices().find(|place| !fits(place)).map(|(_, character)| character)
}

/// A name that is near the given one, if there is one.
fn suggestion(given: &str) -> String {
    let mut near = String::new();
    for character in given.chars() {
        let follows_small = near.ends_with(|last: char| last.is_ascii_lowercase() || last.is_ascii_digit());
        match character.to_ascii_lowercase() {
            small @ ('a'..='z' | '0'..='9') => {
                if character.is_ascii_uppercase() && follows_small {
                    near.push('-');
                }
                near.push(small);
            }
            '_' => near.push('_'),
            _ if follows_small => near.push('-'),
            _ => {}
        }
    }
    let near = near.trim_start_matches(|first: char| !first.is_ascii_lowercase()).trim_end_matches('-');
    if near.is_empty() { String::new() } else { format!("; '{near}' would do") }
}

fn camel_case(name: &str) -> String {
    let capital = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    name.split('_').filter(|word| !word.is_empty()).map(capital).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gives_those_of_crate_module_and_struct() {
        for (given, module, type_name) in
            [("stock", "stock", "Stock"), ("parking-lot", "parking_lot", "ParkingLot"), ("a_2__b-", "a_2__b_", "A2B")]
        {
            let name = Name { package: given.into(), module: module.into(), type_name: type_name.into() };
            assert_eq!(Name::read(given).expect("a name"), name);
        }
        let lot = Name::read("parking-lot").expect("a name");
        assert_eq!(lot.put_into("Stock of stock in stock.wasm"), "ParkingLot of parking-lot in parking_lot.wasm");
    }

    #[test]
    fn what_can_not_be_a_name_is_refused_with_what_to_do() {
        let long = "a".repeat(65);
        for (given, expected) in [
            ("", "an object needs a name"),
            ("Counter", "has 'C' at a place where it can't be: use lower-case letters"),
            ("ParkingLot", "'parking-lot' would do"),
            ("2nd", "has '2' at a place where it can't be"),
            ("2nd", "; 'nd' would do"),
            ("my object", "has ' ' at a place where it can't be"),
            ("my object", "; 'my-object' would do"),
            ("../up", "has '.' at a place"),
            ("größe", "has 'ö' at a place"),
            ("-c", "; 'c' would do"),
            ("match", "'match' is a word of the Rust language: choose another name, such as my-match"),
            ("test", "'test' is a crate of the Rust compiler"),
            ("proc-macro", "'proc-macro' is a crate of the Rust compiler"),
            ("string", "'string' is what the new object's source needs under that name"),
            ("concoord-wire", "'concoord-wire' is among Concoord's own names"),
            (&long, "the name has 65 characters, but at most 64 fit"),
        ] {
            let error = Name::read(given).expect_err(given).to_string();
            assert!(error.contains(expected), "{given}: {error}");
        }
        let error = Name::read("!?").expect_err("no letter in it").to_string();
        assert!(!error.contains("would do"), "{error}");
    }
}
