//! A small Transformer with fresh weights: an encoder as a `config.json` describes it, perhaps in other sizes, such as
//! those of Turc et al. 2019 (arXiv 1908.08962). Knows sizes and names of keys; the families know what they mean.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{
    super::{
        HeadKind, ModelError, Pooling,
        encoders::{Facts, architecture_of},
        folder::read_json,
    },
    transformer::{DEPTHS, TransformerConfig, forget_the_model},
};
use crate::text::Tokenizer;

/// What `config.json` of a family may call the width of hidden states, heads, and units of the feed-forward layers.
const HIDDEN: [&str; 3] = ["hidden_size", "dim", "d_model"];
const HEADS: [&str; 3] = ["num_attention_heads", "n_heads", "n_head"];
const INNER: [&str; 3] = ["intermediate_size", "hidden_dim", "d_inner"];
/// What is as wide as hidden states where it says the same number.
const AS_WIDE: [&str; 2] = ["embedding_size", "pooler_hidden_size"];

const FLAG: &str = "--encoder-config";

/// Sizes that take the place of those in a `config.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EncoderSizes {
    /// Number of layers.
    pub layers: Option<usize>,
    /// Width of hidden states. Heads stay as wide as they are and the feed-forward layer as many times as wide, where
    /// they are not given.
    pub hidden: Option<i64>,
    /// Heads of attention.
    pub heads: Option<i64>,
    /// Units of the feed-forward layers.
    pub inner: Option<i64>,
}

impl TransformerConfig {
    /// An encoder as `file`, a `config.json` or the folder of one, describes it, in these sizes, for the ids of
    /// `tokenizer`. The head is a linear layer on the mean of all tokens, for not every tokenizer has one that stands for
    /// the text.
    pub fn described(
        file: &Path,
        sizes: EncoderSizes,
        tokenizer: &Tokenizer,
        max_length: usize,
        dropout: f64,
    ) -> Result<Self, ModelError> {
        let path = if file.is_dir() { file.join("config.json") } else { file.to_owned() };
        let refuse = |cause: String| ModelError::Argument { flag: FLAG, path: path.clone(), cause };
        let named = |error| match error {
            ModelError::Malformed { cause, .. } => refuse(cause),
            ModelError::Read { source, .. } => refuse(source.to_string()),
            other => other,
        };
        let mut fields: Map<String, Value> = read_json(&path).map_err(named)?;
        resize(&mut fields, sizes).map_err(refuse)?;
        forget_the_model(&mut fields);
        let padding = tokenizer.padding();
        fields.insert("vocab_size".to_owned(), json!(tokenizer.rows()));
        if let Some(padding) = padding {
            fields.insert("pad_token_id".to_owned(), json!(padding));
        }
        let encoder = Value::Object(fields);
        let architecture = architecture_of(&path, &encoder).map_err(named)?;
        let Facts { longest_input, .. } = architecture.facts();
        if let Some(longest) = longest_input.filter(|&longest| longest < max_length) {
            return Err(refuse(format!(
                "has positions for {longest} tokens, and --max-length is {max_length}; choose --max-length {longest}, or \
                 raise `max_position_embeddings` there"
            )));
        }
        if let Some(counted) = architecture.padding().filter(|&counted| padding != Some(counted)) {
            let found = padding.map_or_else(
                || "the tokenizer has neither [PAD] nor <pad>".to_owned(),
                |id| format!("the tokenizer pads with token {id}"),
            );
            return Err(refuse(format!(
                "counts positions from after token {counted}, which pads, and {found}; choose the model's own with \
                 --tokenizer, or another family"
            )));
        }
        let classifier = HeadKind::Linear { pooling: Pooling::Mean };
        Ok(Self { encoder, classifier, dropout })
    }
}

/// Puts `sizes`, and what follows from them, in the place of what stands there. What is missing or no number is for the
/// family to name.
fn resize(fields: &mut Map<String, Value>, sizes: EncoderSizes) -> Result<(), String> {
    if let (Some(layers), Some((depth, _))) = (sizes.layers, stated(fields, DEPTHS)) {
        fields.insert(depth.to_owned(), json!(layers));
        if let Some(types) = fields.get_mut("layer_types").and_then(Value::as_array_mut) {
            types.truncate(layers);
        }
    }
    let Some(((width, before), (heads, heads_before))) =
        stated(fields, HIDDEN).zip(stated(fields, HEADS))
    else {
        return Ok(());
    };
    if before < 1 || heads_before < 1 {
        return Ok(());
    }
    let hidden = sizes.hidden.unwrap_or(before);
    let units = before / heads_before;
    let count = match sizes.heads {
        Some(count) => count,
        None if hidden == before => heads_before,
        None if hidden.checked_rem(units) == Some(0) => hidden / units,
        None => {
            return Err(format!(
                "a head has {units} units there, of which --hidden {hidden} is no multiple; give --heads too"
            ));
        }
    };
    if hidden.checked_rem(count) != Some(0) {
        return Err(format!(
            "`{width}` {hidden} is no multiple of `{heads}` {count}; choose others with --hidden and --heads"
        ));
    }
    fields.insert(width.to_owned(), json!(hidden));
    fields.insert(heads.to_owned(), json!(count));
    if let Some((inner, units)) = stated(fields, INNER) {
        let as_many_times = (units as f64 * hidden as f64 / before as f64).round() as i64;
        fields.insert(inner.to_owned(), json!(sizes.inner.unwrap_or(as_many_times.max(1))));
    }
    for name in AS_WIDE {
        if fields.get(name).and_then(Value::as_i64) == Some(before) {
            fields.insert(name.to_owned(), json!(hidden));
        }
    }
    let changed = hidden != before || count != heads_before;
    if changed && fields.contains_key("d_head") {
        fields.insert("d_head".to_owned(), json!(hidden / count));
    }
    Ok(())
}

/// Which of these keys is there, and its number.
fn stated(fields: &Map<String, Value>, names: [&'static str; 3]) -> Option<(&'static str, i64)> {
    names.into_iter().find_map(|name| Some((name, fields.get(name)?.as_i64()?)))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tch::{Device, Tensor};

    use super::{
        super::{
            super::{
                Builder, Parameters, encoder_folder::canonical_names, folder::write_text,
                weights::find_weights,
            },
            Family,
        },
        *,
    };
    use crate::text::word_tokenizer;

    fn fixture(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
    }

    fn described(name: &str) -> TransformerConfig {
        let (folder, sizes) = (fixture(name), EncoderSizes::default());
        let tokenizer = Tokenizer::from_folder(&folder, 12).unwrap();
        TransformerConfig::described(&folder, sizes, &tokenizer, 12, 0.0).unwrap()
    }

    fn fresh(config: &TransformerConfig, seed: i64) -> Parameters {
        let family = Family::Transformer(Box::new(config.clone()));
        tch::manual_seed(seed);
        let builder = family.starting(Builder::fresh(Device::Cpu)).unwrap();
        family.build(&builder, 3, true).unwrap();
        builder.finish().unwrap()
    }

    fn values(tensors: &[&Tensor]) -> Tensor {
        let flat: Vec<Tensor> = tensors.iter().map(|tensor| tensor.flatten(0, -1)).collect();
        Tensor::cat(&flat, 0)
    }

    /// Within a part of what is expected; thousands of draws deviate by one or two in a hundred.
    fn assert_deviates(what: &str, tensors: &[&Tensor], expected: f64) {
        let found = values(tensors).std(true).double_value(&[]);
        assert!((found / expected - 1.0).abs() < 0.07, "{what}: {found}, not {expected}");
    }

    #[test]
    fn a_fresh_encoder_of_any_family_has_its_checkpoints_tensors_as_transformers_starts_them() {
        for name in [
            "bert/with_pooler",
            "families/albert",
            "families/distilbert",
            "families/electra",
            "families/mpnet",
            "families/roberta",
            "families/xlm_roberta",
            "deberta/encoder",
            "xlnet/encoder",
            "modernbert/encoder",
        ] {
            let config = described(name);
            let parameters = fresh(&config, 1);
            let architecture = architecture_of(Path::new(name), &config.encoder).unwrap();
            let (_, checkpoint) = find_weights(&fixture(name)).unwrap();
            let checkpoint = canonical_names(checkpoint, architecture.facts().prefix);
            let mut drawn = Vec::new();
            for (parameter, tensor) in parameters.iter() {
                if !parameter.starts_with("classifier.") {
                    assert_eq!(tensor.size(), checkpoint[parameter].size(), "{name}, {parameter}");
                }
                match (parameter.rsplit('.').next() == Some("bias"), tensor.dim()) {
                    (true, _) => assert_eq!(tensor, &tensor.zeros_like(), "{name}, {parameter}"),
                    (false, 1) => assert_eq!(tensor, &tensor.ones_like(), "{name}, {parameter}"),
                    _ => drawn.push(tensor),
                }
            }
            if name != "modernbert/encoder" {
                assert_deviates(name, &drawn, 0.02);
            }
            let table = architecture.word_table();
            let words = |seed| fresh(&config, seed).snapshot().unwrap().into_iter();
            let words = |seed| words(seed).find(|(name, _)| *name == table).unwrap().1;
            assert_eq!(words(1), words(1), "{name}");
            assert_ne!(words(1), words(2), "{name}");
        }
    }

    #[test]
    fn modernbert_starts_within_two_deviations_and_smaller_where_it_adds_to_the_residual_stream() {
        let parameters = fresh(&described("modernbert/encoder"), 1);
        let of = |ending: &str| -> Vec<&Tensor> {
            parameters.iter().filter(|(name, _)| name.ends_with(ending)).map(|(_, t)| t).collect()
        };
        // The deviation of a normal distribution that is cut off at two of its own:
        // sqrt(1 - 4 * 0.05399 / 0.95450).
        let cut = 0.8796;
        let (inner, output) = (of(".Wi.weight"), of(".Wo.weight"));
        assert_deviates("Wi", &inner, 0.02 * cut);
        // Of three layers.
        assert_deviates("Wo", &output, 0.02 * cut / 6f64.sqrt());
        let most = |tensors: &[&Tensor]| values(tensors).abs().max().double_value(&[]);
        assert!(most(&inner) < 0.0401 && most(&output) < 0.0401 / 6f64.sqrt());
    }

    fn resized(config: &Value, sizes: EncoderSizes) -> Value {
        let mut fields = config.as_object().unwrap().clone();
        resize(&mut fields, sizes).unwrap();
        Value::Object(fields)
    }

    #[test]
    fn another_width_keeps_the_width_of_heads_and_the_proportion_of_the_inner_layer() {
        let base = json!({
            "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
            "intermediate_size": 3072, "embedding_size": 768,
        });
        let sizes = EncoderSizes { layers: Some(4), hidden: Some(256), ..EncoderSizes::default() };
        // BERT-mini of Turc et al.
        let mini = json!({
            "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4,
            "intermediate_size": 1024, "embedding_size": 256,
        });
        assert_eq!(resized(&base, sizes), mini);
        assert_eq!(resized(&base, EncoderSizes::default()), base);
        let inner = EncoderSizes { inner: Some(512), ..EncoderSizes::default() };
        assert_eq!(resized(&mini, inner)["intermediate_size"], 512);

        let distilbert = json!({"dim": 768, "n_layers": 6, "n_heads": 12, "hidden_dim": 3072});
        let narrow = json!({"dim": 256, "n_layers": 4, "n_heads": 4, "hidden_dim": 1024});
        assert_eq!(resized(&distilbert, sizes), narrow);
        let xlnet =
            json!({"d_model": 768, "n_layer": 12, "n_head": 12, "d_inner": 3072, "d_head": 64});
        let heads = EncoderSizes { heads: Some(8), ..sizes };
        let narrow =
            json!({"d_model": 256, "n_layer": 4, "n_head": 8, "d_inner": 1024, "d_head": 32});
        assert_eq!(resized(&xlnet, heads), narrow);
        let typed = json!({"num_hidden_layers": 3, "layer_types": ["a", "b", "c"]});
        let two = EncoderSizes { layers: Some(2), ..EncoderSizes::default() };
        let short = json!({"num_hidden_layers": 2, "layer_types": ["a", "b"]});
        assert_eq!(resized(&typed, two), short);
    }

    #[test]
    fn what_no_encoder_can_be_is_refused_with_flag_and_file() {
        let folder = tempfile::tempdir().unwrap();
        let words = word_tokenizer(["the film is good"].into_iter(), 1, 100).unwrap();
        let tokenizer = Tokenizer::new(words, 12).unwrap();
        let refused = |fixture_of: &str, change: Value, sizes: EncoderSizes| {
            let mut config: Value = read_json(&fixture(fixture_of).join("config.json")).unwrap();
            for (name, value) in change.as_object().unwrap() {
                config[name] = value.clone();
            }
            write_text(folder.path(), "mini.json", &config.to_string()).unwrap();
            let path = folder.path().join("mini.json");
            let found = TransformerConfig::described(&path, sizes, &tokenizer, 12, 0.0);
            let said = found.unwrap_err().to_string();
            let flag = format!("--encoder-config {}: ", path.display());
            said.strip_prefix(&flag).expect(&said).to_owned()
        };
        let (bert, same) = ("bert/with_pooler", EncoderSizes::default());
        let hidden = |hidden| EncoderSizes { hidden: Some(hidden), ..same };
        for (found, said) in [
            (
                refused(bert, json!({"model_type": null}), same),
                "has no model_type; expected one of",
            ),
            (refused(bert, json!({"model_type": "gpt2"}), same), "\"gpt2\" is not supported"),
            (refused(bert, json!({"hidden_size": 33}), same), "33 is no multiple of `num_att"),
            (refused(bert, json!({"hidden_size": "wide"}), same), "`hidden_size`: invalid type"),
            (refused(bert, json!({}), hidden(40)), "--hidden 40 is no multiple; give --heads too"),
            (refused(bert, json!({"max_position_embeddings": 11}), same), "choose --max-length 11"),
            (refused("families/mpnet", json!({}), same), "the tokenizer pads with token 0;"),
        ] {
            assert!(found.contains(said), "{found}");
        }
        let list = folder.path().join("list.json");
        write_text(folder.path(), "list.json", "[]").unwrap();
        let found = TransformerConfig::described(&list, same, &tokenizer, 12, 0.0).unwrap_err();
        assert!(found.to_string().contains("list.json: cannot be understood"), "{found}");
    }
}
