//! Every format reads what it writes, and nothing else makes it panic, wait or take memory.

mod formats;

use std::collections::BTreeSet;

use concoord_wire::client::Request;
use concoord_wire::codec::{self, FrameError, FrameReader, TooLarge, VERSION};
use concoord_wire::limits::CLIENT_FRAME_BYTES_MAX;
use concoord_wire::{GroupId, interface};

use formats::{Format, GROUP, all, frame, samples};

/// Mutated inputs per format.
const MUTATIONS: u32 = 10_000;

#[test]
fn every_sample_reads_as_it_was_written() {
    for Format { name, rewrite, samples, .. } in all() {
        assert!(!samples.is_empty(), "{name}");
        for sample in &samples {
            assert_eq!(rewrite(sample).as_ref(), Ok(sample), "{name}");
        }
        assert_eq!(samples.iter().collect::<BTreeSet<_>>().len(), samples.len(), "{name}: equal samples");
    }
}

#[test]
fn an_interface_is_read_with_its_checks() {
    let interface = samples::interface();
    assert_eq!(interface::Interface::decode(&codec::to_bytes(&interface)), Ok(interface));
}

#[test]
fn what_is_cut_short_is_an_error_at_every_length() {
    for Format { name, rewrite, samples, framed } in all() {
        for sample in &samples {
            for length in 0..sample.len() {
                let cut = rewrite(&sample[..length]);
                match cut {
                    Err(FrameError::Empty) => assert!(framed && length == 0, "{name} cut at {length}"),
                    Err(FrameError::Malformed(_)) => {}
                    other => panic!("{name} cut at {length} of {} gave {other:?}", sample.len()),
                }
            }
        }
    }
}

#[test]
fn what_is_left_over_is_an_error_with_its_size() {
    for Format { name, rewrite, samples, .. } in all() {
        for sample in &samples {
            for extra in [1, 5] {
                let longer = [sample.as_slice(), &vec![0; extra]].concat();
                assert_eq!(rewrite(&longer), Err(FrameError::Trailing(extra)), "{name}");
            }
        }
    }
}

#[test]
fn an_unknown_version_is_an_error_that_names_it() {
    for Format { name, rewrite, samples, .. } in all().into_iter().filter(|format| format.framed) {
        for sample in &samples {
            for found in (0..=u8::MAX).filter(|version| *version != VERSION) {
                let mut other = sample.clone();
                other[0] = found;
                assert_eq!(rewrite(&other), Err(FrameError::Version { found }), "{name}");
            }
        }
    }
}

#[test]
fn mutated_inputs_are_errors_or_other_values() {
    for Format { name, rewrite, samples, .. } in all() {
        let mut mutator = formats::mutation::Mutator::new(name);
        let (mut read, mut refused) = (0, 0);
        for _ in 0..MUTATIONS {
            let input = mutator.mutate(&samples);
            match rewrite(&input) {
                // The input may spell a number at more length than we do; the value it stands for must survive.
                Ok(written) => {
                    assert_eq!(rewrite(&written).as_ref(), Ok(&written), "{name} from {input:02x?}");
                    read += 1;
                }
                Err(_) => refused += 1,
            }
        }
        assert!(read > 0 && refused > 0, "{name}: {read} read, {refused} refused: the mutations show nothing");
    }
}

#[test]
fn a_message_beyond_the_limit_is_not_written() {
    let message = Request::Ping { request: 1 };
    let mut out = b"before".to_vec();
    let size = frame(&message).len() - 4;
    assert_eq!(codec::encode(GROUP, &message, size - 1, &mut out), Err(TooLarge { size, limit: size - 1 }));
    assert_eq!(out, b"before");
    assert_eq!(codec::encode(GROUP, &message, size, &mut out), Ok(()));
    assert_eq!(out, [b"before", frame(&message).as_slice()].concat());
}

#[test]
fn a_length_beyond_the_limit_is_refused_before_the_rest_arrives() {
    let limit = CLIENT_FRAME_BYTES_MAX;
    for length in [limit + 1, 0xffff_fff0, u32::MAX as usize] {
        let mut reader = FrameReader::new(limit);
        reader.push(&u32::try_from(length).unwrap().to_le_bytes());
        assert_eq!(reader.next_frame::<Request>(), Err(FrameError::TooLong { length, limit }));
    }
    let mut reader = FrameReader::new(limit);
    reader.push(&u32::try_from(limit).unwrap().to_le_bytes());
    assert_eq!(reader.next_frame::<Request>(), Ok(None), "exactly the limit is waited for");
}

#[test]
fn an_empty_frame_is_an_error() {
    let mut reader = FrameReader::new(100);
    reader.push(&[0; 4]);
    assert_eq!(reader.next_frame::<Request>(), Err(FrameError::Empty));
}

fn read_all(reader: &mut FrameReader) -> Vec<(GroupId, Request)> {
    std::iter::from_fn(|| reader.next_frame().expect("whole frames")).collect()
}

fn expected(requests: &[Request]) -> Vec<(GroupId, Request)> {
    requests.iter().map(|request| (GROUP, request.clone())).collect()
}

#[test]
fn frames_arrive_whole_however_the_bytes_are_cut() {
    let requests = samples::requests();
    let stream = requests.iter().flat_map(frame).collect::<Vec<_>>();
    for chunk in 1..=stream.len() {
        let mut reader = FrameReader::new(CLIENT_FRAME_BYTES_MAX);
        let mut read = Vec::new();
        for bytes in stream.chunks(chunk) {
            reader.push(bytes);
            read.extend(read_all(&mut reader));
        }
        assert_eq!(read, expected(&requests), "in pieces of {chunk}");
    }
}

#[test]
fn many_frames_in_one_push_are_read_in_order() {
    let requests = (0..50_000).map(|request| Request::Ping { request }).collect::<Vec<_>>();
    let mut stream = Vec::new();
    for request in &requests {
        codec::encode(GROUP, request, CLIENT_FRAME_BYTES_MAX, &mut stream).unwrap();
    }
    let mut reader = FrameReader::new(CLIENT_FRAME_BYTES_MAX);
    // The last frame is cut, so that what is kept behind the read frames moves with the next push.
    let (most, rest) = stream.split_at(stream.len() - 3);
    reader.push(most);
    let mut read = read_all(&mut reader);
    assert_eq!(read.len(), requests.len() - 1);
    reader.push(rest);
    read.extend(read_all(&mut reader));
    assert_eq!(read, expected(&requests));
}
