//! A module to be loaded: what it is, how it is started, and what it may take.

use anyhow::{Context, anyhow, bail};
use concoord_wire::abi::ObjectLimits;
use concoord_wire::interface::{Argument, Interface, Type};
use concoord_wire::{json, signature};
use serde_json::Value;

use crate::builtin;
use crate::compiler::compiler;

/// How an object is loaded.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct LoadFlags {
    /// Arguments of the object's constructor: a JSON array of all of them, or a JSON object that names each; optional ones may be
    /// left out [default: none]
    #[arg(long, value_name = "JSON")]
    init: Option<String>,

    #[command(flatten)]
    limits: LimitFlags,
}

/// What an object may take.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub(crate) struct LimitFlags {
    /// Gas that one call may use: about the instructions that it executes [default: 500000000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    gas_per_call: Option<u64>,

    /// Pages of 64 KiB that the object's memory may have [default: 4096]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65536))]
    memory_pages: Option<u32>,
}

impl LoadFlags {
    /// Postcard of the constructor's arguments.
    ///
    /// # Errors
    /// When they are not what the constructor takes; says what it takes.
    pub(super) fn arguments_for(&self, interface: &Interface) -> anyhow::Result<Vec<u8>> {
        start_arguments(interface, self.init.as_deref())
    }

    /// Whether anything was given.
    pub(crate) fn are_given(&self) -> bool {
        self.init.is_some() || self.limits.are_given()
    }

    /// What the object may take.
    pub(crate) fn limits(&self) -> ObjectLimits {
        self.limits.over(ObjectLimits::default())
    }
}

impl LimitFlags {
    fn are_given(self) -> bool {
        self.gas_per_call.is_some() || self.memory_pages.is_some()
    }

    /// These limits, with what was given in their place.
    fn over(self, limits: ObjectLimits) -> ObjectLimits {
        ObjectLimits {
            gas_per_call: self.gas_per_call.unwrap_or(limits.gas_per_call),
            memory_pages: self.memory_pages.unwrap_or(limits.memory_pages),
        }
    }

    /// The same, or `None` where nothing was given.
    pub(crate) fn changed(self, limits: ObjectLimits) -> Option<ObjectLimits> {
        self.are_given().then(|| self.over(limits))
    }
}

/// A module that was checked.
#[derive(Debug)]
pub(crate) struct Source {
    /// As it was given.
    given: String,
    /// The name it goes by if it is given none.
    pub(crate) name: String,
    /// Its bytes.
    pub(crate) module: Vec<u8>,
    /// Whether it is a standard object.
    pub(crate) is_builtin: bool,
}

impl Source {
    /// Finds and checks what `given` names: a standard object, or else a file.
    ///
    /// # Errors
    /// When it is neither, or no replica would run it.
    pub(crate) fn find(given: &str) -> anyhow::Result<Source> {
        let builtin::Source { name, module, is_builtin } = builtin::resolve(given)?;
        concoord_module::check(&module).map_err(|refusal| anyhow!("{given}: {refusal}"))?;
        Ok(Source { given: given.into(), name, module, is_builtin })
    }

    /// What it can do: the module is run to be asked.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) fn interface(&self) -> anyhow::Result<Interface> {
        let described = super::show::describe(&self.module, &*compiler());
        described.map_err(|error| error.context(format!("{}: it can't be asked what it does", self.given)))
    }

    /// Postcard of the constructor's arguments. Where none are given, the module is not asked whether it takes some.
    ///
    /// # Errors
    /// When they are not what the constructor takes; says what it takes.
    pub(crate) fn start_arguments(&self, flags: &LoadFlags) -> anyhow::Result<Vec<u8>> {
        match &flags.init {
            None => Ok(Vec::new()),
            given => start_arguments(&self.interface()?, given.as_deref()),
        }
    }
}

fn start_arguments(interface: &Interface, given: Option<&str>) -> anyhow::Result<Vec<u8>> {
    let takes = || format!("wrong arguments for the constructor {}", signature::constructor(interface));
    let value = match given {
        None => Value::Array(Vec::new()),
        Some(given) => serde_json::from_str(given).with_context(|| format!("--init '{given}' is not JSON"))?,
    };
    let values = match value {
        Value::Array(values) => values,
        Value::Object(named) => by_name(interface, named).with_context(takes)?,
        _ => bail!("--init takes a JSON array of all arguments, or a JSON object that names each"),
    };
    json::encode_arguments(interface, &interface.init, &values).with_context(takes)
}

/// The values in the order of the arguments. Optional ones may be left out.
fn by_name(interface: &Interface, mut named: serde_json::Map<String, Value>) -> anyhow::Result<Vec<Value>> {
    let take = |argument: &Argument| {
        let missing = || matches!(interface.ty(argument.ty), Type::Option(_)).then_some(Value::Null);
        named.remove(&argument.name).or_else(missing).with_context(|| format!("'{}' is missing", argument.name))
    };
    let values = interface.init.iter().map(take).collect::<anyhow::Result<Vec<_>>>()?;
    match named.keys().next() {
        None => Ok(values),
        Some(extra) => bail!("there is no '{extra}'"),
    }
}

#[cfg(test)]
mod tests {
    use concoord_wire::interface::TypeIndex;

    use super::*;
    use crate::print;

    fn interface() -> Interface {
        let argument = |name: &str, ty| Argument { name: name.into(), ty: TypeIndex(ty) };
        Interface {
            name: "Bank".into(),
            version: "1.0.0".into(),
            doc: String::new(),
            types: vec![Type::String, Type::U8],
            event: None,
            init: vec![argument("name", 0), argument("fee", 1)],
            methods: vec![],
        }
    }

    #[test]
    fn a_constructor_takes_its_arguments_in_order_or_by_name() {
        let encoded = |given| start_arguments(&interface(), Some(given)).expect(given);
        assert_eq!(encoded(r#"["mine", 7]"#), b"\x04mine\x07");
        assert_eq!(encoded(r#"{"fee": 7, "name": "mine"}"#), b"\x04mine\x07");
        let optional = Argument { name: "note".into(), ty: TypeIndex(2) };
        let with_note = Interface { types: vec![Type::String, Type::U8, Type::Option(TypeIndex(0))], ..interface() };
        let with_note = Interface { init: [interface().init, vec![optional]].concat(), ..with_note };
        assert_eq!(
            start_arguments(&with_note, Some(r#"{"fee": 7, "name": "a"}"#)).expect("it is optional"),
            b"\x01a\x07\0"
        );
        let none = Interface { init: vec![], ..interface() };
        assert!(start_arguments(&none, None).expect("none is enough").is_empty());
    }

    #[test]
    fn wrong_constructor_arguments_name_what_it_takes() {
        let said = |given| print::one_line(&start_arguments(&interface(), given).expect_err("wrong"));
        let takes = "wrong arguments for the constructor Bank(name: String, fee: u8): ";
        assert_eq!(said(None), format!("{takes}takes 2 arguments, 0 given"));
        assert_eq!(said(Some(r#"{"name": "mine"}"#)), format!("{takes}'fee' is missing"));
        assert_eq!(said(Some(r#"{"name": "a", "fee": 1, "tax": 2}"#)), format!("{takes}there is no 'tax'"));
        assert!(said(Some(r#"["mine", 300]"#)).starts_with(takes));
        assert!(said(Some("7")).starts_with("--init takes a JSON array"));
        assert!(said(Some("[7")).starts_with("--init '[7' is not JSON"));
    }
}
