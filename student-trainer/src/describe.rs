//! A teacher's card for people.

use std::fmt;

use lectern::wire::{Encoding, TeacherCard};

/// The card as lines of text.
#[derive(Debug)]
pub(crate) struct CardLines<'a>(pub &'a TeacherCard);

impl fmt::Display for CardLines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let card = self.0;
        let limits = card.limits;
        let encodings: Vec<&str> =
            card.encodings.iter().map(|&encoding| encoding_name(encoding)).collect();
        writeln!(f, "name          {}", card.name)?;
        writeln!(f, "fingerprint   {}", card.fingerprint)?;
        writeln!(f, "architecture  {}", card.architecture)?;
        writeln!(f, "members       {}", card.members)?;
        writeln!(f, "parameters    {}", card.parameters)?;
        writeln!(f, "arithmetic    {}", card.arithmetic)?;
        writeln!(f, "task          {}", card.task)?;
        writeln!(f, "labels        {}: {}", card.labels.len(), card.labels.join(", "))?;
        writeln!(f, "max length    {} tokens", card.max_length)?;
        writeln!(f, "encodings     {}", encodings.join(", "))?;
        writeln!(
            f,
            "limits        {} examples in flight, {} bytes an example, {} bytes a message",
            limits.credits, limits.max_example_bytes, limits.max_message_bytes
        )
    }
}

/// As the flag `--encoding` spells it.
pub(crate) fn encoding_name(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Float32 => "float32",
        Encoding::Float16 => "float16",
        Encoding::TopK => "top-k",
    }
}
