use std::collections::BTreeMap;

use postcard_schema::Schema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::*;
use crate::codec;
use crate::interface::TypeTable;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Schema)]
struct Job {
    name: String,
    runs: Vec<u32>,
    note: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Schema)]
struct Meters(f32);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Schema)]
struct Nothing;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Schema)]
enum Shape {
    Empty,
    Circle(Meters),
    Box(u8, i16),
    Named { name: char, of: Option<Job> },
}

/// An interface with one type, and that type.
fn interface_of<T: Schema>() -> (Interface, TypeIndex) {
    let mut types = TypeTable::default();
    let ty = types.add(T::SCHEMA);
    let interface = Interface {
        name: "Test".into(),
        version: "1.0.0".into(),
        doc: String::new(),
        types: types.finish(),
        event: None,
        init: vec![],
        methods: vec![],
    };
    (Interface::decode(&codec::to_bytes(&interface)).expect("an interface of our own"), ty)
}

/// The value, its JSON by serde and the bytes by postcard are the same to the converter.
fn agrees<T: Schema + Serialize + DeserializeOwned>(value: &T) {
    let as_json = serde_json::to_value(value).expect("serializes");
    agrees_as(value, as_json);
}

fn agrees_as<T: Schema + Serialize>(value: &T, as_json: Value) {
    let (interface, ty) = interface_of::<T>();
    let bytes = codec::to_bytes(value);
    assert_eq!(encode(&interface, ty, &as_json), Ok(bytes.clone()), "{as_json}");
    assert_eq!(decode(&interface, ty, &bytes), Ok(as_json));
}

fn refused<T: Schema>(value: Value) -> String {
    let (interface, ty) = interface_of::<T>();
    encode(&interface, ty, &value).expect_err("does not fit").to_string()
}

fn malformed<T: Schema>(bytes: &[u8]) -> String {
    let (interface, ty) = interface_of::<T>();
    decode(&interface, ty, bytes).expect_err("does not fit").to_string()
}

fn job() -> Job {
    Job { name: "a \"b\" ü".into(), runs: vec![0, 127, 128, u32::MAX], note: None }
}

#[test]
fn numbers_agree_with_serde_and_postcard_at_their_edges() {
    macro_rules! edges {
        ($($ty:ty),*) => { $(for value in [<$ty>::MIN, <$ty>::MAX, 0, 1, 63, 64, 100] { agrees(&value); })* };
    }
    edges!(u8, u16, u32, u64, i8, i16, i32, i64);
    for value in [-1i64, -64, -65, -8192, -8193] {
        agrees(&value);
    }
}

#[test]
fn wide_integers_become_strings_beyond_64_bits() {
    agrees_as(&u128::from(u64::MAX), json!(u64::MAX));
    agrees_as(&u128::MAX, json!("340282366920938463463374607431768211455"));
    agrees_as(&i128::MIN, json!("-170141183460469231731687303715884105728"));
    agrees_as(&-1i128, json!(-1));
    let (interface, ty) = interface_of::<i128>();
    assert_eq!(encode(&interface, ty, &json!("-7")), Ok(codec::to_bytes(&-7i128)));
}

#[test]
fn floats_print_short_and_have_names_for_what_json_lacks() {
    agrees_as(&0.1f32, json!(0.1));
    agrees(&0.1f64);
    agrees(&f64::MIN_POSITIVE);
    agrees_as(&f32::MAX, json!(3.402_823_5e38));
    agrees_as(&f64::INFINITY, json!("Infinity"));
    agrees_as(&f32::NEG_INFINITY, json!("-Infinity"));
    agrees_as(&f64::NAN, json!("NaN"));
    let (interface, ty) = interface_of::<f64>();
    assert_eq!(encode(&interface, ty, &json!(3)), Ok(codec::to_bytes(&3.0f64)));
}

#[test]
fn compounds_agree_with_serde_and_postcard() {
    agrees(&true);
    agrees(&'ü');
    agrees(&String::from("text"));
    agrees(&());
    agrees(&Nothing);
    agrees(&(1u8, String::from("x"), [7i32, -7]));
    agrees(&Some(5u16));
    agrees(&Vec::<Option<u8>>::from([None, Some(1)]));
    agrees(&job());
    agrees(&Job { note: Some(String::new()), ..job() });
    agrees(&Meters(1.5));
    agrees(&BTreeMap::from([(String::from("k"), job()), (String::new(), job())]));
    for shape in [
        Shape::Empty,
        Shape::Circle(Meters(2.0)),
        Shape::Box(1, -300),
        Shape::Named { name: 'x', of: Some(job()) },
        Shape::Named { name: '\u{10ffff}', of: None },
    ] {
        agrees(&shape);
    }
    agrees(&Ok::<u8, String>(3));
    agrees(&Err::<u8, String>("no".into()));
}

#[test]
fn maps_with_other_keys_are_pairs() {
    agrees_as(&BTreeMap::from([(1u8, true), (2, false)]), json!([[1, true], [2, false]]));
}

#[test]
fn bytes_are_numbers() {
    let interface = Interface { types: vec![Type::Bytes], ..interface_of::<()>().0 };
    let bytes = codec::to_bytes(&serde_bytes::Bytes::new(&[0, 255]));
    assert_eq!(encode(&interface, TypeIndex(0), &json!([0, 255])), Ok(bytes.clone()));
    assert_eq!(decode(&interface, TypeIndex(0), &bytes), Ok(json!([0, 255])));
    let wrong = encode(&interface, TypeIndex(0), &json!([0, 256])).expect_err("no byte");
    assert_eq!(wrong.to_string(), "value[1]: expected u8, found number 256");
}

#[test]
fn a_missing_option_is_none() {
    let (interface, ty) = interface_of::<Job>();
    let encoded = encode(&interface, ty, &json!({"runs": [], "name": ""}));
    assert_eq!(encoded, Ok(codec::to_bytes(&Job { name: String::new(), runs: vec![], note: None })));
}

#[test]
fn refusals_say_where_and_what() {
    let fine = json!({"name": "n", "runs": [1, 2]});
    let with = |key: &str, value: Value| {
        let mut changed = fine.clone();
        changed[key] = value;
        changed
    };
    let cases = [
        (refused::<Job>(with("runs", json!([1, 2, "x"]))), "value.runs[2]: expected u32, found string \"x\""),
        (refused::<Job>(with("runs", json!([-1]))), "value.runs[0]: expected u32, found number -1"),
        (refused::<Job>(with("runs", json!(7))), "value.runs: expected array, found number 7"),
        (refused::<Job>(with("when", json!(1))), "value: unknown field 'when', expected one of 'name', 'runs', 'note'"),
        (refused::<Job>(json!({"name": "n"})), "value: missing field 'runs'"),
        (refused::<Job>(json!([])), "value: expected Job, found array of 0"),
        (refused::<u8>(json!(256)), "value: expected u8, found number 256"),
        (refused::<u64>(json!(1.5)), "value: expected u64, found number 1.5"),
        (refused::<f32>(json!(1e300)), "value: expected f32, found number 1e+300"),
        (refused::<char>(json!("ab")), "value: expected one character, found string \"ab\""),
        (refused::<bool>(Value::Null), "value: expected bool, found null"),
        (refused::<()>(json!({})), "value: expected null, found object"),
        (refused::<(u8, u8)>(json!([1])), "value: expected array of 2, found array of 1"),
        (
            refused::<Shape>(json!("Ring")),
            "value: unknown variant 'Ring', expected one of 'Empty', 'Circle', 'Box', 'Named'",
        ),
        (refused::<Shape>(json!({"Box": [1]})), "value.Box: expected array of 2, found array of 1"),
        (refused::<Shape>(json!({"Empty": 1})), "value.Empty: expected null, found number 1"),
        (refused::<Shape>(json!({"Named": {"name": 1}})), "value.Named.name: expected one character, found number 1"),
        (refused::<BTreeMap<String, u8>>(json!({"k": "v"})), "value.k: expected u8, found string \"v\""),
        (refused::<BTreeMap<u8, u8>>(json!([[1]])), "value[0]: expected [key, value], found array of 1"),
        (
            refused::<u8>(json!("x".repeat(100))),
            "value: expected u8, found string \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"...",
        ),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
}

#[test]
fn arguments_are_named() {
    let (interface, ty) = interface_of::<Job>();
    let arguments = [Argument { name: "job".into(), ty }, Argument { name: "other".into(), ty }];
    let fine = serde_json::to_value(job()).expect("serializes");

    let bytes = encode_arguments(&interface, &arguments, &[fine.clone(), fine.clone()]).expect("fits");
    assert_eq!(bytes, codec::to_bytes(&(job(), job())));
    assert_eq!(decode_arguments(&interface, &arguments, &bytes), Ok(vec![fine.clone(), fine.clone()]));

    let refused = |values: &[Value]| encode_arguments(&interface, &arguments, values).expect_err("wrong").to_string();
    assert_eq!(refused(std::slice::from_ref(&fine)), "takes 2 arguments, 1 given");
    let wrong = json!({"name": 5, "runs": []});
    assert_eq!(refused(&[fine, wrong]), "argument 2 'other'.name: expected string, found number 5");

    let cut = decode_arguments(&interface, &arguments, &bytes[..bytes.len() - 1]).expect_err("cut");
    assert_eq!(cut.to_string(), "argument 2 'other'.note: the bytes end within option");
    let longer = [bytes.as_slice(), &[0]].concat();
    let longer = decode_arguments(&interface, &arguments, &longer).expect_err("longer");
    assert_eq!(longer.to_string(), "arguments: bytes left over: 1");
}

#[test]
fn optional_arguments_at_the_end_may_be_left_out() {
    let (interface, ty) = interface_of::<Option<u8>>();
    let plain = interface.types.iter().position(|ty| *ty == Type::U8).map(|index| TypeIndex(index as u32));
    let plain = Argument { name: "plain".into(), ty: plain.expect("it is a part") };
    let optional = |name: &str| Argument { name: name.into(), ty };
    let encoded = |arguments: &[Argument], values: &[Value]| {
        encode_arguments(&interface, arguments, values).map_err(|error| error.to_string())
    };
    let arguments = [plain.clone(), optional("a"), optional("b")];
    assert_eq!(encoded(&arguments, &[json!(7)]), Ok(vec![7, 0, 0]));
    assert_eq!(encoded(&arguments, &[json!(7), json!(8)]), Ok(vec![7, 1, 8, 0]));
    assert_eq!(encoded(&arguments, &[]), Err("takes 3 arguments, 0 given".into()));
    assert_eq!(
        encoded(&arguments, &[json!(1), json!(2), json!(3), json!(4)]),
        Err("takes 3 arguments, 4 given".into())
    );
    assert_eq!(encoded(&[optional("a"), plain], &[json!(1)]), Err("takes 2 arguments, 1 given".into()));
}

#[test]
fn malformed_bytes_say_where_and_what() {
    let cases = [
        (malformed::<bool>(&[2]), "value: malformed bool"),
        (malformed::<Option<u8>>(&[2, 0]), "value: malformed option"),
        (malformed::<u16>(&[0xff, 0xff, 0xff]), "value: malformed u16"),
        (malformed::<String>(&[1, 0xff]), "value: malformed string"),
        (malformed::<String>(&[9, b'x']), "value: the bytes end within string"),
        (malformed::<Vec<u32>>(&[2, 1]), "value[1]: the bytes end within u32"),
        (malformed::<Shape>(&[4]), "value: malformed Shape: it has no variant 4"),
        (malformed::<Shape>(&[2, 1]), "value.Box[1]: the bytes end within i16"),
        (malformed::<u8>(&[1, 2, 3]), "value: bytes left over: 2"),
        (
            malformed::<BTreeMap<String, u8>>(&[2, 1, b'k', 1, 1, b'k', 2]),
            "value: malformed map: key 'k' stands in it twice",
        ),
    ];
    for (found, expected) in cases {
        assert_eq!(found, expected);
    }
}

#[test]
fn a_few_bytes_never_become_many_values() {
    let twenty_million = codec::to_bytes(&20_000_000u32);
    assert_eq!(twenty_million.len(), 4);
    let index = CONVERSION_VALUES_MAX - 1;
    assert_eq!(malformed::<Vec<()>>(&twenty_million), format!("value[{index}]: more than 1048576 values"));
    assert!(malformed::<BTreeMap<(), ()>>(&twenty_million).ends_with("more than 1048576 values"));
    assert_eq!(malformed::<Vec<u8>>(&codec::to_bytes(&u64::MAX)), "value[0]: the bytes end within u8");

    // Within the interface's limits each level doubles; the values are counted, not the levels.
    let mut types = vec![Type::Unit];
    types.extend((0..31).map(|level| Type::Tuple(vec![TypeIndex(level); 2])));
    let interface = Interface { types, ..interface_of::<()>().0 };
    let interface = Interface::decode(&codec::to_bytes(&interface)).expect("within the limits");
    let doubled = decode(&interface, TypeIndex(31), &[]).expect_err("two to the 31st").to_string();
    assert!(doubled.ends_with("more than 1048576 values"), "{doubled}");
}

#[test]
fn hostile_bytes_never_panic_and_what_decodes_encodes_again() {
    let (interface, ty) = interface_of::<(Shape, Vec<Job>, BTreeMap<u8, i128>, f32, char)>();
    let honest = codec::to_bytes(&(
        Shape::Named { name: 'x', of: Some(job()) },
        vec![job()],
        BTreeMap::from([(1u8, i128::MIN)]),
        1.5f32,
        'y',
    ));
    // Xorshift: the same bytes on every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut decoded = 0;
    for round in 0..100_000 {
        let mut bytes = honest.clone();
        for _ in 0..=random() % 3 {
            let at = random() as usize % bytes.len();
            bytes[at] = random() as u8;
        }
        bytes.truncate(bytes.len() - if round % 4 == 0 { random() as usize % bytes.len() } else { 0 });
        if let Ok(value) = decode(&interface, ty, &bytes) {
            decoded += 1;
            let again = encode(&interface, ty, &value).unwrap_or_else(|error| panic!("{value}: {error}"));
            assert_eq!(decode(&interface, ty, &again), Ok(value));
        }
    }
    assert!(decoded > 1000, "only {decoded} of the changed encodings decoded: they test too little");
}

#[test]
fn only_text_may_be_a_bare_word() {
    for (text, expected) in [
        (interface_of::<String>(), true),
        (interface_of::<char>(), true),
        (interface_of::<Option<String>>(), false),
        (interface_of::<u8>(), false),
    ] {
        assert_eq!(is_string(&text.0, text.1), expected, "{:?}", text.0.types);
    }
}
