//! A small Transformer: any encoder family with a classification head. Its layers start as chosen ones of a larger encoder
//! (Sanh et al. 2019, `DistilBERT`, arXiv 1910.01108, section 3), or fresh in the sizes of `described.rs`.

use std::{collections::HashMap, fmt, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tch::{Device, Tensor};

use super::{
    super::{
        Arithmetic, Builder, HeadKind, Init, ModelError, Pooling, TokenBatch,
        encoder_folder::{canonical_names, is_left_over, tokenizer_of},
        encoders::{Architecture, Encoder, Facts, architecture},
        folder::{malformed, read_json},
        head::Head,
        linear::Kernels,
        weights::find_weights,
    },
    Initial, StudentModel, when,
};
use crate::text::Tokenizer;

/// What `config.json` of a family may call its number of layers.
pub(super) const DEPTHS: [&str; 3] = ["num_hidden_layers", "n_layers", "n_layer"];

/// Shape of a small Transformer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TransformerConfig {
    /// The encoder as `config.json` of a Hugging Face folder describes it.
    pub encoder: Value,
    /// What turns hidden states into logits.
    pub classifier: HeadKind,
    /// Probability of dropout in training, as in the encoder's own.
    pub dropout: f64,
}

impl fmt::Display for TransformerConfig {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let family = self.encoder.get("model_type").and_then(Value::as_str).unwrap_or_default();
        write!(f, "{family}, ")?;
        if let Ok(architecture) = self.architecture() {
            let Facts { depth, width, .. } = architecture.facts();
            write!(f, "{depth} layers x {width}, ")?;
        }
        write!(f, "{}", self.classifier)
    }
}

/// What a small Transformer begins with.
#[derive(Debug)]
pub struct FromEncoder {
    /// Its shape.
    pub config: TransformerConfig,
    /// The encoder's tokenizer.
    pub tokenizer: Tokenizer,
    /// The encoder's tensors, its layers renumbered.
    pub initial: Initial,
}

impl TransformerConfig {
    fn architecture(&self) -> Result<Box<dyn Architecture>, ModelError> {
        architecture(Path::new("the student's encoder"), &self.encoder)
    }

    /// `builder`, and what its source lacks of the encoder starts as `transformers` starts it.
    pub(super) fn starting(&self, builder: Builder) -> Result<Builder, ModelError> {
        let architecture = self.architecture()?;
        Ok(builder.with_missing(move |name, shape| architecture.initial(name, shape)))
    }

    /// An encoder of those `layers` of the one in `folder`, counted from 0, in this order. The head starts
    /// fresh; it is of the kind that the folder's own classifier has, or a linear layer on the mean.
    pub fn from_folder(
        folder: &Path,
        layers: &[usize],
        max_length: usize,
        dropout: f64,
    ) -> Result<FromEncoder, ModelError> {
        let path = folder.join("config.json");
        let mut encoder: Value = read_json(&path)?;
        let whole = architecture(folder, &encoder)?;
        check(&path, whole.as_ref(), layers)?;
        let tokenizer = tokenizer_of(folder, whole.as_ref(), max_length)?;
        let classifier = encoder.get("lectern").map(|ours| {
            serde_json::from_value(ours.clone())
                .map_err(|cause| malformed(&path, format!("`lectern`: {cause}")))
        });
        let classifier =
            classifier.transpose()?.unwrap_or(HeadKind::Linear { pooling: Pooling::default() });

        shorten(&mut encoder, whole.as_ref(), layers);
        if let Some(fields) = encoder.as_object_mut() {
            forget_the_model(fields);
        }
        let config = Self { encoder, classifier, dropout };
        if config.architecture()?.facts().depth != layers.len() {
            let cause = format!("its number of layers stands in none of {}", DEPTHS.join(", "));
            return Err(malformed(&path, cause));
        }
        let (weights, tensors) = find_weights(folder)?;
        let prefix = whole.facts().prefix;
        let tensors = chosen(canonical_names(tensors, prefix), whole.as_ref(), layers);
        let initial = taken(tensors, &weights, &config, whole.head().dense)?;
        Ok(FromEncoder { config, tokenizer, initial })
    }
}

/// Takes out of a `config.json` what is about one model of this shape: labels and names, which would only mislead.
pub(super) fn forget_the_model(fields: &mut Map<String, Value>) {
    for name in ["lectern", "id2label", "label2id", "problem_type", "_name_or_path"] {
        fields.remove(name);
    }
}

/// Whether all layers have the same parameters.
fn shares_layers(whole: &dyn Architecture) -> bool {
    whole.facts().depth > 1 && whole.cuts().len() == 2
}

/// Whether an encoder of these layers can be.
fn check(path: &Path, whole: &dyn Architecture, layers: &[usize]) -> Result<(), ModelError> {
    let depth = whole.facts().depth;
    let refuse = |cause: String| Err(malformed(path, format!("--layers: {cause}")));
    if layers.is_empty() {
        return refuse(format!("name some of its layers 0 to {}", depth - 1));
    }
    if let Some(layer) = layers.iter().find(|&&layer| layer >= depth) {
        return refuse(format!("it has no layer {layer}, only 0 to {}", depth - 1));
    }
    if whole.cuts().len() != depth + 1 && !shares_layers(whole) {
        return refuse("its layers share parameters in groups; none can be taken alone".to_owned());
    }
    if whole.computation().get("layer_types").is_some() && layers[0] != 0 {
        return refuse("must begin with 0, the one layer without a norm before it".to_owned());
    }
    Ok(())
}

/// Says in a `config.json` that these are all layers.
fn shorten(encoder: &mut Value, whole: &dyn Architecture, layers: &[usize]) {
    if let Some(types) = whole.computation().get("layer_types").and_then(Value::as_array) {
        encoder["layer_types"] =
            layers.iter().filter_map(|&layer| types.get(layer).cloned()).collect();
    }
    if let Some(depth) = DEPTHS.iter().find(|name| encoder.get(**name).is_some()) {
        encoder[*depth] = json!(layers.len());
    }
}

/// The tensors with these layers alone, renumbered. A layer that is chosen twice is copied.
fn chosen(
    tensors: HashMap<String, Tensor>,
    whole: &dyn Architecture,
    layers: &[usize],
) -> HashMap<String, Tensor> {
    let before = whole.facts().layers;
    let mut chosen = HashMap::new();
    for (name, tensor) in tensors {
        let numbered = name.strip_prefix(before).and_then(|rest| {
            let (number, part) = rest.split_once('.')?;
            Some((number.parse::<usize>().ok()?, part.to_owned()))
        });
        match numbered {
            Some((number, part)) if !shares_layers(whole) => {
                let places = layers.iter().enumerate().filter(|(_, layer)| **layer == number);
                for (place, _) in places {
                    chosen.insert(format!("{before}{place}.{part}"), tensor.copy());
                }
            }
            _ => drop(chosen.insert(name, tensor)),
        }
    }
    chosen
}

/// Those of the tensors of `weights` that the small encoder is made of, and the dense layer named `dense` of a
/// family's head that belongs to the encoder.
fn taken(
    tensors: HashMap<String, Tensor>,
    weights: &Path,
    config: &TransformerConfig,
    dense: &str,
) -> Result<Initial, ModelError> {
    let small = config.architecture()?;
    let prefix = small.facts().prefix;
    let is_family = matches!(config.classifier, HeadKind::Family);
    let of_head: HashMap<String, Tensor> = (tensors.iter())
        .filter(|(name, _)| is_family && name.starts_with(prefix) && name.starts_with(dense))
        .map(|(name, tensor)| (name.clone(), tensor.shallow_clone()))
        .collect();
    let builder = Builder::from_weights(tensors, weights, Device::Cpu)
        .with_left_over(move |name| name.strip_prefix(prefix).is_none_or(is_left_over));
    let _encoder = small.build(&builder)?;
    let parameters = builder.finish()?;
    let of_encoder =
        parameters.iter().map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone()));
    Ok(Initial(of_encoder.chain(of_head).collect()))
}

/// An encoder and a head.
#[derive(Debug)]
pub(super) struct Transformer {
    encoder: Box<dyn Encoder>,
    head: Head,
    dropout: f64,
}

impl Transformer {
    pub(super) fn new(
        builder: &Builder,
        config: &TransformerConfig,
        classes: usize,
        fresh: bool,
    ) -> Result<Self, ModelError> {
        let architecture = config.architecture()?;
        let Facts { width, initializer_range, .. } = architecture.facts();
        let init = if fresh { Init::Normal(initializer_range) } else { Init::Required };
        let encoder = architecture.build(builder)?;
        let (head, classes) = (architecture.head(), classes as i64);
        let head = Head::new(builder, config.classifier, head, width, classes, init)?;
        Ok(Self { encoder, head, dropout: config.dropout })
    }
}

impl StudentModel for Transformer {
    fn logits(&self, batch: &TokenBatch, train: bool) -> Result<Tensor, ModelError> {
        let drop = when(train, self.dropout);
        self.head.forward(&self.encoder.forward(batch, drop)?, batch, drop)
    }

    fn flops(&self, examples: usize, width: usize) -> f64 {
        self.encoder.flops(examples, width)
    }

    /// As a teacher is served in float32.
    fn prepared(self: Box<Self>, device: Device) -> Result<Box<dyn StudentModel>, ModelError> {
        let kernels = Kernels::new(device, Arithmetic::Float32)?;
        let encoder = self.encoder.served(&kernels)?;
        Ok(Box::new(Self { encoder, head: self.head, dropout: 0.0 }))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{
        super::super::{folder::write_text, write_weights},
        *,
    };

    fn fixture(name: &str) -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
    }

    fn built(from: FromEncoder) -> (Transformer, Tokenizer) {
        let builder = Builder::from_weights(from.initial.0, Path::new("initial"), Device::Cpu);
        let model = Transformer::new(&builder, &from.config, 3, true).unwrap();
        builder.finish().unwrap();
        (model, from.tokenizer)
    }

    /// Compares the states of an encoder of these layers with those of the whole one's layers `then`.
    fn assert_chosen(folder: &Path, layers: &[usize], then: &[usize]) {
        let from = TransformerConfig::from_folder(folder, layers, 12, 0.0).unwrap();
        let (small, tokenizer) = built(from);
        let config: Value = read_json(&folder.join("config.json")).unwrap();
        let whole = architecture(folder, &config).unwrap();
        let prefix = whole.facts().prefix;
        let (path, tensors) = find_weights(folder).unwrap();
        let builder = Builder::from_weights(canonical_names(tensors, prefix), &path, Device::Cpu);
        let whole = whole.build(&builder).unwrap();
        let tokens = ["the film is good", "the"].map(|t| tokenizer.encode(t, None).unwrap());
        let batch = TokenBatch::new(&[&tokens[0], &tokens[1]], Device::Cpu).unwrap();
        let mut expected = whole.embed(&batch, 0.0).unwrap();
        for &layer in then {
            expected = whole.layers(layer..layer + 1, expected, &batch, 0.0).unwrap();
        }
        let found = small.encoder.forward(&batch, 0.0).unwrap();
        // Rows of padding have no meaning.
        for (row, tokens) in (0..).zip(&tokens) {
            let part = |x: &Tensor| x.get(row).narrow(0, 0, tokens.len() as i64);
            let difference = (part(&found) - part(&expected)).abs().max().double_value(&[]);
            assert!(difference < 1e-5, "{}: {difference}", folder.display());
        }
    }

    #[test]
    fn chosen_layers_compute_what_they_computed_in_the_whole_encoder() {
        for (name, layers) in [
            ("bert/encoder_no_pooler", [1].as_slice()),
            ("families/roberta", &[1]),
            ("families/xlm_roberta", &[1, 0]),
            ("families/mpnet", &[1]),
            ("families/distilbert", &[1, 1]),
            ("families/electra", &[0]),
            ("deberta/encoder", &[1]),
            ("xlnet/encoder", &[1]),
            ("modernbert/encoder", &[0, 2]),
        ] {
            assert_chosen(&fixture(name), layers, layers);
        }
    }

    #[test]
    fn an_encoder_whose_layers_are_all_one_is_shortened() {
        let folder = tempfile::tempdir().unwrap();
        let albert = fixture("families/albert");
        let (_, tensors) = find_weights(&albert).unwrap();
        let first: Vec<_> =
            tensors.iter().filter(|(name, _)| !name.contains("albert_layer_groups.1.")).collect();
        let first = first.into_iter().map(|(name, tensor)| (name.as_str(), tensor));
        write_weights(&folder.path().join("model.safetensors"), first).unwrap();
        let mut config: Value = read_json(&albert.join("config.json")).unwrap();
        config["num_hidden_groups"] = json!(1);
        write_text(folder.path(), "config.json", &config.to_string()).unwrap();
        let tokenizer = std::fs::read_to_string(albert.join("tokenizer.json")).unwrap();
        write_text(folder.path(), "tokenizer.json", &tokenizer).unwrap();
        assert_chosen(folder.path(), &[0, 3], &[0, 1]);
    }

    #[test]
    fn layers_that_cannot_be_taken_are_refused() {
        let refused = |name: &str, layers: &[usize]| {
            let from = TransformerConfig::from_folder(&fixture(name), layers, 12, 0.0);
            from.unwrap_err().to_string()
        };
        let error = refused("families/roberta", &[0, 2]);
        assert!(error.contains("config.json: --layers: it has no layer 2, only 0 to 1"), "{error}");
        assert!(refused("families/albert", &[0]).contains("share parameters in groups"));
        assert!(refused("modernbert/encoder", &[1]).contains("must begin with 0"));
        assert!(refused("families/roberta", &[]).contains("name some of its layers 0 to 1"));
    }
}
