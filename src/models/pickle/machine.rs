//! The stack machine of pickles, protocols 2 to 5, as far as a state dict goes. Every instruction's
//! work and memory is bounded by the bytes it was read from.

use std::{collections::HashMap, io::Read};

use super::{
    MAX_PICKLE_BYTES, PickleError,
    value::{Global, Pickle, Value},
};

/// Reads one pickle and leaves the reader behind it; `place` names it in errors.
pub(super) fn read_pickle(
    input: &mut impl Read,
    place: &'static str,
) -> Result<Pickle, PickleError> {
    let mut machine = Machine {
        input,
        place,
        position: 0,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        built: Pickle {
            root: Value::None,
            sequences: Vec::new(),
            dicts: Vec::new(),
            storages: HashMap::new(),
        },
    };
    while machine.step()? {}
    machine.built.root = machine.pop()?;
    Ok(machine.built)
}

/// A program half run.
pub(super) struct Machine<'r, R> {
    input: &'r mut R,
    place: &'static str,
    position: u64,
    pub(super) stack: Vec<Value>,
    /// Heights of the stack at which a MARK lies.
    marks: Vec<usize>,
    memo: HashMap<u32, Value>,
    pub(super) built: Pickle,
}

impl<R: Read> Machine<'_, R> {
    /// One instruction; false after the last.
    fn step(&mut self) -> Result<bool, PickleError> {
        let [opcode] = self.array()?;
        match opcode {
            b'.' => return Ok(false),
            // Protocol and frame lengths change nothing in what the instructions mean.
            0x80 => drop(self.array::<1>()?),
            0x95 => drop(self.array::<8>()?),
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.stack.push(Value::None),
            0x88 => self.stack.push(Value::Bool(true)),
            0x89 => self.stack.push(Value::Bool(false)),
            b'J' => {
                let int = i32::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(int.into()));
            }
            b'K' => {
                let int = self.unsigned::<1>()?;
                self.stack.push(Value::Int(int.into()));
            }
            b'M' => {
                let int = self.unsigned::<2>()?;
                self.stack.push(Value::Int(int.into()));
            }
            0x8a => self.long()?,
            b'G' => {
                self.array::<8>()?;
                self.stack.push(Value::Float);
            }
            b'X' | b'T' => self.text::<4>()?,
            0x8c | b'U' => self.text::<1>()?,
            b')' => self.tuple(self.stack.len()),
            b't' => {
                let mark = self.pop_mark()?;
                self.tuple(mark);
            }
            0x85..=0x87 => {
                let first = self.height_below(usize::from(opcode - 0x84))?;
                self.tuple(first);
            }
            b']' => {
                self.built.sequences.push(Vec::new());
                self.stack.push(Value::List(self.built.sequences.len() - 1));
            }
            b'}' => self.dict(),
            b'a' => {
                let first = self.height_below(1)?;
                self.append(first)?;
            }
            b'e' => {
                let mark = self.pop_mark()?;
                self.append(mark)?;
            }
            b's' => {
                let first = self.height_below(2)?;
                self.set_items(first)?;
            }
            b'u' => {
                let mark = self.pop_mark()?;
                self.set_items(mark)?;
            }
            b'q' => {
                let index = self.unsigned::<1>()?;
                self.remember(index)?;
            }
            b'r' => {
                let index = self.unsigned::<4>()?;
                self.remember(index)?;
            }
            0x94 => self.remember(self.memo.len() as u32)?,
            b'h' => self.recall::<1>()?,
            b'j' => self.recall::<4>()?,
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(&module, &name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(module), Value::Text(name)) = (module, name) else {
                    return Err(self.damaged("a global's name is no text"));
                };
                self.global(&module, &name)?;
            }
            b'R' => self.reduce()?,
            b'b' => self.build()?,
            b'Q' => self.persistent_id()?,
            _ => {
                return Err(
                    self.damaged(format!("instruction {opcode:#04x} is none of a state dict's"))
                );
            }
        }
        Ok(true)
    }

    pub(super) fn damaged(&self, cause: impl Into<String>) -> PickleError {
        PickleError::damaged(self.here(), cause)
    }

    fn here(&self) -> String {
        format!("{}, byte {}", self.place, self.position)
    }

    fn advance(&mut self, bytes: u64) -> Result<(), PickleError> {
        self.position = self.position.saturating_add(bytes);
        if self.position > MAX_PICKLE_BYTES {
            return Err(PickleError::TooLarge {
                place: self.place.to_owned(),
                bytes: self.position,
                limit: MAX_PICKLE_BYTES,
            });
        }
        Ok(())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        self.advance(N as u64)?;
        let mut bytes = [0; N];
        self.input.read_exact(&mut bytes).map_err(|cause| self.damaged(cause.to_string()))?;
        Ok(bytes)
    }

    /// An integer of one, two or four bytes, the lowest first.
    fn unsigned<const N: usize>(&mut self) -> Result<u32, PickleError> {
        let bytes = self.array::<N>()?;
        Ok(bytes.iter().rev().fold(0, |int, &byte| int << 8 | u32::from(byte)))
    }

    /// Grows with what is there, not with the length that the file claims.
    fn bytes(&mut self, length: u32) -> Result<Vec<u8>, PickleError> {
        self.advance(length.into())?;
        let mut bytes = Vec::new();
        self.input.by_ref().take(length.into()).read_to_end(&mut bytes)?;
        if bytes.len() < length as usize {
            return Err(self.damaged(format!("{length} bytes of text, of which {}", bytes.len())));
        }
        Ok(bytes)
    }

    /// A text after its length in `N` bytes.
    fn text<const N: usize>(&mut self) -> Result<(), PickleError> {
        let length = self.unsigned::<N>()?;
        let text = String::from_utf8(self.bytes(length)?);
        let text = text.map_err(|cause| self.damaged(cause.to_string()))?;
        self.stack.push(Value::Text(text.into()));
        Ok(())
    }

    /// Up to a line feed, which is not kept.
    fn line(&mut self) -> Result<String, PickleError> {
        let mut line = Vec::new();
        loop {
            match self.array()? {
                [b'\n'] => break,
                [byte] => line.push(byte),
            }
        }
        String::from_utf8(line).map_err(|cause| self.damaged(cause.to_string()))
    }

    fn long(&mut self) -> Result<(), PickleError> {
        let [length] = self.array()?;
        let bytes = self.bytes(length.into())?;
        if bytes.len() > 16 {
            return Err(self.damaged(format!("an integer of {length} bytes")));
        }
        let negative = bytes.last().is_some_and(|&highest| highest >= 0x80);
        let mut extended = [if negative { 0xff } else { 0 }; 16];
        extended[..bytes.len()].copy_from_slice(&bytes);
        self.stack.push(Value::Int(i128::from_le_bytes(extended)));
        Ok(())
    }

    fn pop_mark(&mut self) -> Result<usize, PickleError> {
        self.marks.pop().ok_or_else(|| self.damaged("a group ends that never began"))
    }

    /// Where the topmost `count` values begin. What lies under an open mark is out of reach.
    fn height_below(&self, count: usize) -> Result<usize, PickleError> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let height = self.stack.len().checked_sub(count).filter(|&height| height >= floor);
        height.ok_or_else(|| self.damaged("an instruction lacks its values"))
    }

    pub(super) fn pop(&mut self) -> Result<Value, PickleError> {
        let top = self.height_below(1)?;
        let value = self.stack.drain(top..).next();
        value.ok_or_else(|| self.damaged("an instruction lacks its value"))
    }

    pub(super) fn top(&self) -> Result<&Value, PickleError> {
        let top = self.height_below(1)?;
        self.stack.get(top).ok_or_else(|| self.damaged("an instruction lacks its value"))
    }

    fn tuple(&mut self, first: usize) {
        self.built.sequences.push(self.stack.drain(first..).collect());
        self.stack.push(Value::Tuple(self.built.sequences.len() - 1));
    }

    pub(super) fn dict(&mut self) {
        self.built.dicts.push(Vec::new());
        self.stack.push(Value::Dict(self.built.dicts.len() - 1));
    }

    fn append(&mut self, first: usize) -> Result<(), PickleError> {
        let values = self.stack.drain(first..).collect::<Vec<_>>();
        let Value::List(list) = *self.top()? else {
            return Err(self.damaged("elements for what is no list"));
        };
        self.built.sequences[list].extend(values);
        Ok(())
    }

    fn set_items(&mut self, first: usize) -> Result<(), PickleError> {
        let mut values = self.stack.drain(first..).collect::<Vec<_>>().into_iter();
        let Value::Dict(dict) = *self.top()? else {
            return Err(self.damaged("items for what is no dict"));
        };
        while let Some(key) = values.next() {
            let value =
                values.next().ok_or_else(|| self.damaged("a dict's key lacks its value"))?;
            self.built.dicts[dict].push((key, value));
        }
        Ok(())
    }

    fn remember(&mut self, index: u32) -> Result<(), PickleError> {
        let value = self.top()?.clone();
        self.memo.insert(index, value);
        Ok(())
    }

    fn recall<const N: usize>(&mut self) -> Result<(), PickleError> {
        let index = self.unsigned::<N>()?;
        let value = self.memo.get(&index).cloned();
        let value = value
            .ok_or_else(|| self.damaged(format!("value {index} is used before it is there")))?;
        self.stack.push(value);
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), PickleError> {
        let global = Global::find(module, name).ok_or_else(|| PickleError::Forbidden {
            place: self.here(),
            // A damaged file may name a megabyte.
            global: format!("{module}.{name}").chars().take(200).collect(),
        })?;
        self.stack.push(Value::Global(global));
        Ok(())
    }
}
