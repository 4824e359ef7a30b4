//! Reads what `tests/fixtures/make_checkpoints.py` wrote with PyTorch, whole and damaged.

use std::{collections::HashMap, fs, io::Cursor, path::PathBuf};

use serde_json::Value as Json;
use tch::{Kind, Tensor};

use super::{
    MAX_PICKLE_BYTES, PickleError, machine::read_pickle, read, read_checkpoint, value::Value,
};

const READABLE: [&str; 5] =
    ["zip.bin", "legacy.bin", "protocol4.bin", "nested.bin", "storage_views.bin"];

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoints").join(name)
}

fn read_bytes(content: &[u8]) -> Result<Vec<(String, Tensor)>, PickleError> {
    read(Cursor::new(content), content.len() as u64)
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.to_kind(Kind::Double).flatten(0, -1)).unwrap()
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Float => "float32",
        Kind::Half => "float16",
        Kind::BFloat16 => "bfloat16",
        Kind::Double => "float64",
        Kind::Int64 => "int64",
        Kind::Int => "int32",
        Kind::Int16 => "int16",
        Kind::Int8 => "int8",
        Kind::Uint8 => "uint8",
        Kind::Bool => "bool",
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_tensor_is_what_pytorch_reads() {
    let expected = fs::read(fixture("expected.json")).unwrap();
    let expected: HashMap<String, Vec<Json>> = serde_json::from_slice(&expected).unwrap();
    assert_eq!(expected.len(), READABLE.len());
    for file in READABLE {
        let found = read_checkpoint(&fixture(file)).unwrap();
        let names = found.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>();
        let expected_names =
            expected[file].iter().map(|entry| entry["name"].as_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(names, expected_names, "{file}");
        for ((name, tensor), expected) in found.iter().zip(&expected[file]) {
            let shape: Vec<i64> = serde_json::from_value(expected["shape"].clone()).unwrap();
            let values: Vec<f64> = serde_json::from_value(expected["values"].clone()).unwrap();
            assert_eq!(tensor.size(), shape, "{file}: {name}");
            assert_eq!(kind_name(tensor.kind()), expected["kind"], "{file}: {name}");
            assert!(tensor.is_contiguous(), "{file}: {name}");
            // Every value is a small fraction of a power of two, exact as a double and as text.
            assert_eq!(numbers(tensor), values, "{file}: {name}");
        }
    }
}

#[test]
fn a_shared_storage_is_read_once() {
    for file in ["zip.bin", "legacy.bin"] {
        let tensors =
            read_checkpoint(&fixture(file)).unwrap().into_iter().collect::<HashMap<_, _>>();
        let _ = tensors["view.again"].get(1).fill_(-5.0);
        // The transposed view had to be copied; the tensor itself is the storage.
        assert_eq!(numbers(&tensors["view.transposed"].get(0)), [0.0, 6.0, 12.0, 18.0], "{file}");
        assert_eq!(numbers(&tensors["view.again"].get(1)), [-5.0; 6], "{file}");
    }
}

#[test]
fn a_foreign_function_is_named_and_not_run() {
    let trace = PathBuf::from("/tmp/lectern-was-intruded");
    for file in ["forbidden_zip.bin", "forbidden_legacy.bin"] {
        let error = read_checkpoint(&fixture(file)).unwrap_err();
        let PickleError::Forbidden { global, .. } = &error else { panic!("{error}") };
        assert_eq!(global, "posix.system");
        assert!(error.to_string().contains("was not run"), "{error}");
    }
    assert!(!trace.exists());
}

#[test]
fn big_endian_files_are_refused() {
    for file in ["big_endian_zip.bin", "big_endian_legacy.bin"] {
        let error = read_checkpoint(&fixture(file)).unwrap_err();
        assert!(matches!(error, PickleError::BigEndian), "{file}: {error}");
    }
}

#[test]
fn what_is_no_checkpoint_is_refused_by_its_beginning() {
    for content in ["", "version https://git-lfs.github.com/spec/v1\noid sha256:00"] {
        let error = read_bytes(content.as_bytes()).unwrap_err();
        assert!(matches!(error, PickleError::Unknown { .. }), "{error}");
    }
}

#[test]
fn a_file_cut_short_anywhere_is_refused() {
    for file in READABLE {
        let content = fs::read(fixture(file)).unwrap();
        for length in 0..content.len() {
            let read = read_bytes(&content[..length]);
            assert!(read.is_err(), "{file} cut to {length} of {}", content.len());
        }
    }
}

#[test]
fn a_damaged_byte_is_an_error_or_another_number_but_never_a_panic() {
    for file in READABLE {
        let content = fs::read(fixture(file)).unwrap();
        // A sample, for time: these flips and 0x04 at every byte were tried once and did no harm.
        for place in (0..content.len()).step_by(1 + content.len() / 500) {
            let mut damaged = content.clone();
            damaged[place] ^= [0x01, 0x80, 0xff][place % 3];
            for (_, tensor) in read_bytes(&damaged).unwrap_or_default() {
                let _ = numbers(&tensor);
            }
        }
    }
}

#[test]
fn a_damaged_number_in_an_archive_shows_in_its_checksum() {
    let mut content = fs::read(fixture("protocol4.bin")).unwrap();
    let numbers = [1.0_f32, 2.0].map(f32::to_le_bytes).concat();
    let place = content.windows(8).position(|bytes| bytes == numbers).unwrap();
    content[place] ^= 1;
    let error = read_bytes(&content).unwrap_err().to_string();
    assert!(error.starts_with("protocol4/data/0: "), "{error}");
}

/// The legacy file of one two-element tensor whose tensor instruction is replaced.
fn legacy_with(tensor: &[u8], elements: i64) -> Vec<u8> {
    let mut file = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    file.extend(b"\x80\x02M\xe9\x03.\x80\x02}.\x80\x02}X\x01\0\0\0w");
    file.extend(b"ctorch._utils\n_rebuild_tensor_v2\n(");
    file.extend(b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu\x8a\x08");
    file.extend(elements.to_le_bytes());
    file.extend(b"NtQ");
    file.extend(tensor);
    file.extend(b"tRs.\x80\x02]X\x01\0\0\x000a.");
    file.extend(elements.to_le_bytes());
    file.extend([1.0_f32, 2.0].map(f32::to_le_bytes).concat());
    file
}

#[test]
fn a_tensor_outside_its_storage_is_refused() {
    let [(_, tensor)] =
        read_bytes(&legacy_with(b"K\0K\x02\x85K\x01\x85", 2)).unwrap().try_into().unwrap();
    assert_eq!(numbers(&tensor), [1.0, 2.0]);
    let cases: [(&str, &[u8]); 6] = [
        ("one element too many", b"K\0K\x03\x85K\x01\x85"),
        ("offset too large", b"K\x01K\x02\x85K\x01\x85"),
        ("offset negative", b"J\xff\xff\xff\xffK\x01\x85K\x01\x85"),
        ("stride too large", b"K\0K\x02\x85K\x02\x85"),
        ("stride negative", b"K\x01K\x02\x85J\xff\xff\xff\xff\x85"),
        ("stride missing", b"K\0K\x02\x85)"),
    ];
    for (case, tensor) in cases {
        let error = read_bytes(&legacy_with(tensor, 2)).unwrap_err();
        assert!(error.to_string().contains("tensor \"w\": reaches outside"), "{case}: {error}");
    }
}

#[test]
fn a_claimed_size_beyond_the_file_is_refused_before_it_is_allocated() {
    let whole = b"K\0K\x02\x85K\x01\x85";
    for elements in [i64::MAX, i64::MAX / 4, 1 << 40] {
        let error = read_bytes(&legacy_with(whole, elements)).unwrap_err();
        assert!(matches!(error, PickleError::TooLarge { .. }), "{error}");
    }
    // Two elements, expanded by a stride of zero to 2³¹ - 1.
    let expanded = b"K\0J\xff\xff\xff\x7f\x85K\0\x85";
    let error = read_bytes(&legacy_with(expanded, 2)).unwrap_err();
    assert!(matches!(error, PickleError::TooLarge { .. }), "{error}");
}

#[test]
fn a_dict_that_is_mentioned_before_it_is_filled_is_filled_everywhere() {
    // d = {}; pair = (d, d); d["a"] = 1, which is done to the second mention
    let program = b"\x80\x02(}q\x00h\x00X\x01\0\0\0aK\x01st.";
    let pickle = read_pickle(&mut program.as_slice(), "test").unwrap();
    let Value::Tuple(pair) = pickle.root else { panic!("{:?}", pickle.root) };
    let [Value::Dict(first), Value::Dict(second)] = pickle.sequences[pair][..] else {
        panic!("{:?}", pickle.sequences[pair]);
    };
    assert_eq!((first, pickle.dicts[first].len()), (second, 1));
}

#[test]
fn malformed_programs_are_refused_with_their_place() {
    let programs: [&[u8]; 9] = [
        b".",
        b"(.",
        b"N(s.",
        b"K\x01K\x02K\x03s.",
        b"}(K\x01u.",
        b"h\x07.",
        b"N)R.",
        b"\x8a\xff",
        b"X\xff\xff\x0f\0abc",
    ];
    for program in programs {
        let error = read_pickle(&mut &*program, "data.pkl").unwrap_err().to_string();
        assert!(error.starts_with("data.pkl, byte "), "{program:?}: {error}");
        assert!(error.contains("fetch it again"), "{program:?}: {error}");
    }
}

#[test]
fn deep_nesting_and_endless_pickles_do_no_harm() {
    let mut nested = b")".to_vec();
    nested.extend(b"\x85".repeat(1 << 20));
    nested.push(b'.');
    drop(read_pickle(&mut nested.as_slice(), "test").unwrap());
    let mut endless = std::io::repeat(b'(');
    let error = read_pickle(&mut endless, "test").unwrap_err();
    assert!(matches!(error, PickleError::TooLarge { limit: MAX_PICKLE_BYTES, .. }), "{error}");
}
