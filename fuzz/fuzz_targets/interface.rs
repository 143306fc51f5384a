//! The decoding of interfaces: what is accepted can be shown, compared and used to convert values, and nothing of that
//! panics or becomes large.
#![no_main]

use concoord_wire::compatibility::breaking_changes;
use concoord_wire::interface::Interface;
use concoord_wire::{codec, json, signature};
use libfuzzer_sys::fuzz_target;

/// Bytes of a text about one method or type, with a name in front of it that is not cut.
const TEXT_BYTES_MAX: usize = 9000;

fuzz_target!(|input: &[u8]| {
    // The last byte says how many of those before it are a value.
    let Some((&length, rest)) = input.split_last() else { return };
    let (bytes, value) = rest.split_at(rest.len() - rest.len().min(length.into()));
    let Ok(interface) = Interface::decode(bytes) else { return };
    let again = codec::to_bytes(&interface);
    // Numbers can be written longer than they need to be.
    assert!(again == bytes || again.len() < bytes.len());
    assert_eq!(Interface::decode(&again).as_ref(), Ok(&interface));
    shown(&interface, bytes.len());
    compared(&interface);
    converted(&interface, value);
});

fn shown(interface: &Interface, bytes: usize) {
    let methods = interface.methods.iter().map(|method| signature::method(interface, method));
    let texts = methods.chain([signature::constructor(interface)]).chain(signature::definitions(interface));
    for text in texts {
        assert!(text.len() <= TEXT_BYTES_MAX + bytes, "{} bytes", text.len());
    }
    let shown = serde_json::to_string(interface).expect("it has a JSON");
    assert_eq!(serde_json::from_str::<Interface>(&shown).expect("it is JSON").methods.len(), interface.methods.len());
}

fn compared(interface: &Interface) {
    assert!(breaking_changes(interface, interface).is_empty(), "it does not differ from itself");
    let mut less = interface.clone();
    if less.methods.pop().is_some() {
        assert!(breaking_changes(&less, interface).is_empty(), "a method more breaks nobody");
        assert_eq!(breaking_changes(interface, &less).changes.len(), 1);
    }
    less.methods.iter_mut().for_each(|method| method.arguments.reverse());
    let changes = breaking_changes(interface, &less).changes;
    changes.iter().for_each(|change| assert!(!change.to_string().is_empty()));
}

/// The value as each result, to JSON and back.
fn converted(interface: &Interface, bytes: &[u8]) {
    for method in &interface.methods {
        if let Ok(value) = json::decode(interface, method.result, bytes) {
            // Two fields or variants may have one name; then JSON can't say which is meant.
            if let Ok(again) = json::encode(interface, method.result, &value) {
                let read = json::decode(interface, method.result, &again).expect("what was encoded can be decoded");
                assert_eq!(read, value);
            }
        }
        if let Ok(values) = json::decode_arguments(interface, &method.arguments, bytes) {
            assert_eq!(values.len(), method.arguments.len());
        }
    }
}
