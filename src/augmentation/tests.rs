//! What is made of texts, by hand and by its statistics.
