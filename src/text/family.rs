//! The kinds of tokenizer that encoders are published with: what each calls its special tokens and where
//! it puts them, as `transformers` 5 has it. Knows no files' contents.

/// A kind of tokenizer. Several encoders share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// BERT, DistilBERT, ELECTRA: WordPiece.
    Bert,
    /// WordPiece with the special tokens of RoBERTa.
    MpNet,
    /// Byte-level BPE.
    Roberta,
    /// XLM-RoBERTa: Unigram, ids moved to those of fairseq.
    XlmRoberta,
    /// Unigram, special tokens at the end.
    Xlnet,
    /// Unigram, lower-cased.
    Albert,
    /// DeBERTa-v2 and v3: Unigram.
    DebertaV2,
}

/// What a special token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Begin,
    End,
    Unknown,
    Separator,
    Padding,
    Class,
    Mask,
}

impl Role {
    /// In the order in which tokens that a vocabulary lacks get their ids.
    pub(super) const ALL: [Self; 7] = [
        Self::Begin,
        Self::End,
        Self::Unknown,
        Self::Separator,
        Self::Padding,
        Self::Class,
        Self::Mask,
    ];

    /// Its key in `tokenizer_config.json` and `special_tokens_map.json`.
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Begin => "bos_token",
            Self::End => "eos_token",
            Self::Unknown => "unk_token",
            Self::Separator => "sep_token",
            Self::Padding => "pad_token",
            Self::Class => "cls_token",
            Self::Mask => "mask_token",
        }
    }
}

/// Where special tokens go in `$A`, one text, and `$B`, the second of a pair; the number behind a colon
/// is the type id, 0 where there is none.
pub(super) struct Template {
    pub(super) single: &'static str,
    pub(super) pair: &'static str,
}

impl Family {
    /// The kind that `tokenizer_class` of `tokenizer_config.json` names.
    pub(super) fn of_class(class: &str) -> Option<Self> {
        Some(match class.strip_suffix("Fast").unwrap_or(class) {
            "BertTokenizer" | "DistilBertTokenizer" | "ElectraTokenizer" => Self::Bert,
            "MPNetTokenizer" => Self::MpNet,
            "RobertaTokenizer" => Self::Roberta,
            "XLMRobertaTokenizer" => Self::XlmRoberta,
            "XLNetTokenizer" => Self::Xlnet,
            "AlbertTokenizer" => Self::Albert,
            "DebertaV2Tokenizer" => Self::DebertaV2,
            _ => return None,
        })
    }

    /// The kind that encoders of `model_type` in `config.json` come with.
    pub(super) fn of_model(model_type: &str) -> Option<Self> {
        Some(match model_type {
            "bert" | "distilbert" | "electra" => Self::Bert,
            "mpnet" => Self::MpNet,
            "roberta" => Self::Roberta,
            "xlm-roberta" => Self::XlmRoberta,
            "xlnet" => Self::Xlnet,
            "albert" => Self::Albert,
            "deberta-v2" => Self::DebertaV2,
            _ => return None,
        })
    }

    /// The file that its vocabulary is published in, `merges.txt` beside it for byte-level BPE.
    pub(super) const fn file(self) -> &'static str {
        match self {
            Self::Bert | Self::MpNet => "vocab.txt",
            Self::Roberta => "vocab.json",
            Self::XlmRoberta => "sentencepiece.bpe.model",
            Self::Xlnet | Self::Albert => "spiece.model",
            Self::DebertaV2 => "spm.model",
        }
    }

    /// The special token of this role; none where the family has no such role.
    pub(super) const fn token(self, role: Role) -> Option<&'static str> {
        Some(match (self, role) {
            (Self::Bert, Role::Begin | Role::End) => return None,
            (Self::Bert | Self::DebertaV2, Role::Padding) => "[PAD]",
            (Self::Bert | Self::DebertaV2 | Self::MpNet, Role::Unknown) => "[UNK]",
            (Self::Bert | Self::DebertaV2 | Self::Albert, role) => match role {
                Role::Begin | Role::Class => "[CLS]",
                Role::End | Role::Separator => "[SEP]",
                Role::Mask => "[MASK]",
                Role::Padding => "<pad>",
                Role::Unknown => "<unk>",
            },
            (Self::Xlnet, Role::Separator) => "<sep>",
            (Self::Xlnet, Role::Class) => "<cls>",
            (_, Role::Begin | Role::Class) => "<s>",
            (_, Role::End | Role::Separator) => "</s>",
            (_, Role::Unknown) => "<unk>",
            (_, Role::Padding) => "<pad>",
            (_, Role::Mask) => "<mask>",
        })
    }

    /// Whether the mask token takes the white space before it, unless the folder says otherwise.
    pub(super) const fn mask_strips_left(self) -> bool {
        matches!(self, Self::Xlnet | Self::MpNet)
    }

    /// Whether the published vocabulary leaves the mask token out and the encoder has a row for it.
    pub(super) const fn mask_follows_vocabulary(self) -> bool {
        matches!(self, Self::DebertaV2)
    }

    pub(super) const fn template(self) -> Template {
        match self {
            Self::Bert | Self::Albert | Self::DebertaV2 => {
                Template { single: "cls:0 $A:0 sep:0", pair: "cls:0 $A:0 sep:0 $B:1 sep:1" }
            }
            // No type ids: these encoders have one type, or none.
            Self::MpNet | Self::Roberta | Self::XlmRoberta => {
                Template { single: "cls:0 $A:0 sep:0", pair: "cls:0 $A:0 sep:0 sep:0 $B:0 sep:0" }
            }
            Self::Xlnet => {
                Template { single: "$A:0 sep:0 cls:2", pair: "$A:0 sep:0 $B:1 sep:1 cls:2" }
            }
        }
    }
}
