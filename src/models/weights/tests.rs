//! Weights in one file and in shards, whole and damaged; checkpoints by `tests/fixtures/make_checkpoints.py`.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use half::{bf16, f16};
use safetensors::{Dtype, tensor::TensorView};
use tch::{Kind, Tensor};
use tempfile::TempDir;

use super::{find_weights, read_weights, weight_bytes, write_weights};
use crate::models::ModelError;

/// Exact in every floating-point type.
const VALUES: [f32; 4] = [0.5, -2.0, 1.5, 96.0];

fn checkpoint(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/checkpoints").join(name)
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.flatten(0, -1)).unwrap()
}

/// A safetensors file of one tensor, `w`, of shape [2, 2].
fn file_of(dtype: Dtype, bytes: &[u8]) -> Vec<u8> {
    let view = TensorView::new(dtype, vec![2, 2], bytes).unwrap();
    safetensors::serialize([("w", view)], None).unwrap()
}

/// `model-1.safetensors` with `a` and `b`, `model-2.safetensors` with `c`, and the index.
fn sharded(index: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let [a, b, c] = [0.0, 1.0, 2.0].map(|value| Tensor::from_slice(&[value, value + 0.5]));
    let path = |name: &str| folder.path().join(name);
    write_weights(&path("model-1.safetensors"), [("a", &a), ("b", &b)].into_iter()).unwrap();
    write_weights(&path("model-2.safetensors"), [("c", &c)].into_iter()).unwrap();
    fs::write(path("model.safetensors.index.json"), index).unwrap();
    folder
}

fn refusal(folder: &Path) -> String {
    find_weights(folder).unwrap_err().to_string()
}

const INDEX: &str = r#"{"metadata": {"total_size": 24}, "weight_map":
    {"a": "model-1.safetensors", "b": "model-1.safetensors", "c": "model-2.safetensors"}}"#;

#[test]
fn every_floating_point_type_becomes_float32() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let files = [
        (Dtype::F32, VALUES.map(f32::to_le_bytes).concat()),
        (Dtype::F16, VALUES.map(|v| f16::from_f32(v).to_le_bytes()).concat()),
        (Dtype::BF16, VALUES.map(|v| bf16::from_f32(v).to_le_bytes()).concat()),
        (Dtype::F64, VALUES.map(|v| f64::from(v).to_le_bytes()).concat()),
    ];
    for (dtype, bytes) in files {
        fs::write(&path, file_of(dtype, &bytes)).unwrap();
        let (found, tensors) = find_weights(folder.path()).unwrap();
        assert_eq!(found, path);
        let tensor = &tensors["w"];
        assert_eq!((tensor.kind(), tensor.size()), (Kind::Float, vec![2, 2]), "{dtype:?}");
        assert_eq!(numbers(tensor), VALUES, "{dtype:?}");
    }
    let expected = fs::read(checkpoint("expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_slice(&expected).unwrap();
    let tensors = read_weights(&checkpoint("zip.bin")).unwrap();
    for entry in expected["zip.bin"].as_array().unwrap() {
        let (name, kind) = (entry["name"].as_str().unwrap(), entry["kind"].as_str().unwrap());
        if kind.contains("float") {
            let values: Vec<f32> = serde_json::from_value(entry["values"].clone()).unwrap();
            assert_eq!(tensors[name].kind(), Kind::Float, "{name}");
            assert_eq!(numbers(&tensors[name]), values, "{name}");
        }
    }
}

#[test]
fn a_type_that_no_weights_have_is_named_with_its_tensor() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    fs::write(&path, file_of(Dtype::F8_E4M3, &[0; 4])).unwrap();
    let error = refusal(folder.path());
    assert!(error.contains("model.safetensors: w is of type F8_E4M3"), "{error}");
}

#[test]
fn shards_are_read_as_one_file() {
    let folder = sharded(INDEX);
    let (path, tensors) = find_weights(folder.path()).unwrap();
    assert!(path.ends_with("model.safetensors.index.json"));
    let found = ["a", "b", "c"].map(|name| numbers(&tensors[name]));
    assert_eq!(found, [[0.0, 0.5], [1.0, 1.5], [2.0, 2.5]]);
    let on_disk = ["model-1.safetensors", "model-2.safetensors"]
        .map(|name| fs::metadata(folder.path().join(name)).unwrap().len());
    assert_eq!(weight_bytes(folder.path()).unwrap(), on_disk.iter().sum::<u64>());

    let folder = tempfile::tempdir().unwrap();
    for name in ["protocol4.bin", "storage_views.bin"] {
        fs::copy(checkpoint(name), folder.path().join(name)).unwrap();
    }
    let map = [
        ("a.weight", "protocol4.bin"),
        ("a.bias", "protocol4.bin"),
        ("front", "storage_views.bin"),
    ];
    let index = serde_json::json!({"weight_map": HashMap::from(map)});
    fs::write(folder.path().join("pytorch_model.bin.index.json"), index.to_string()).unwrap();
    let (_, tensors) = find_weights(folder.path()).unwrap();
    assert_eq!(numbers(&tensors["a.weight"]), [1.0, 2.0]);
    // `back` is in its shard, though the index does not mention it.
    assert_eq!(tensors.len(), 4);
}

#[test]
fn what_an_index_promises_and_is_not_there_is_named() {
    let folder = sharded(&INDEX.replace("model-2", "model-7"));
    let error = refusal(folder.path());
    assert!(
        error.contains("index.json: names shards that are not in its folder: model-7"),
        "{error}"
    );

    let folder = sharded(
        r#"{"weight_map": {"a": "model-2.safetensors", "c": "model-2.safetensors",
            "d": "model-1.safetensors"}}"#,
    );
    let error = find_weights(folder.path()).unwrap_err();
    let ModelError::Tensors { mut problems, .. } = error else { panic!("{error}") };
    problems.sort();
    assert_eq!(
        problems,
        [
            "a: not in model-2.safetensors, where the index has it",
            "d: not in model-1.safetensors, where the index has it"
        ]
    );
    for (index, cause) in [
        (r#"{"weight_map": {"a": "../model.safetensors"}}"#, "no file name for a shard"),
        (r#"{"weight_map": {}}"#, "names no tensors"),
        (r#"{"metadata": {}}"#, "missing field `weight_map`"),
    ] {
        let error = refusal(sharded(index).path());
        assert!(error.contains(cause), "{error}");
    }
    let error = refusal(tempfile::tempdir().unwrap().path());
    assert!(error.contains("neither model.safetensors nor pytorch_model.bin"), "{error}");
}

#[test]
fn a_safetensors_file_cut_short_anywhere_is_refused_by_name() {
    let folder = sharded(INDEX);
    let path = folder.path().join("model-1.safetensors");
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let error = refusal(folder.path());
        assert!(error.contains("model-1.safetensors: not a whole weights file"), "{error}");
    }
    // Two tensors of eight bytes; the second one's last byte is missing.
    let error = refusal(folder.path());
    assert!(error.contains("b ends at byte 16 of 16, the file at 15"), "{error}");
    fs::write(&path, [&whole[..], &[0]].concat()).unwrap();
    assert!(refusal(folder.path()).contains("17 bytes of values, 16 described"));
}

#[test]
fn a_damaged_byte_in_a_header_is_an_error_or_another_name_but_never_a_panic() {
    let folder = sharded(INDEX);
    let path = folder.path().join("model-1.safetensors");
    let whole = fs::read(&path).unwrap();
    for place in 0..whole.len() - 16 {
        for flip in [0x01, 0x04, 0x80, 0xff] {
            let mut damaged = whole.clone();
            damaged[place] ^= flip;
            fs::write(&path, damaged).unwrap();
            drop(find_weights(folder.path()));
        }
    }
}
