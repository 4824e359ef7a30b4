//! What was asked and not yet answered: ids, content, credits. Pure; knows no connection.

use std::{
    collections::{VecDeque, hash_map::Entry},
    sync::Arc,
};

use lectern::wire::{Answer, ByContent, ContentHash};

use super::{Request, batches::Place};

/// How an answer contradicts what was asked.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Never sent on this stream, or answered before.
    #[error("it answers example {id}, which is not in flight")]
    NotInFlight {
        /// The id of the answer.
        id: u64,
    },
    /// The right id with another example's row.
    #[error("its row for example {id} answers content {answered}, asked was {asked}")]
    OtherContent {
        /// The id of the answer.
        id: u64,
        /// Hash of what was asked under this id.
        asked: ContentHash,
        /// Hash that came with the row.
        answered: ContentHash,
    },
}

/// Examples on their way to the teacher and back.
///
/// Ids count up in the order of asking and are never used twice, so one number divides what is on
/// the stream from what waits for credit, and an example is found by how far its id is from the oldest.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    /// The id of the first of `asked`.
    oldest: u64,
    /// By id; `None` is answered, and the first never is.
    asked: VecDeque<Option<Asked>>,
    unanswered: usize,
    /// Ids below are on the present stream.
    sent_below: u64,
    sent: usize,
    credits: usize,
    by_content: ByContent<u64>,
}

#[derive(Debug)]
struct Asked {
    request: Arc<Request>,
    places: Places,
}

/// Where an outcome belongs: one place, and those that joined it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Places {
    first: Place,
    joined: Vec<Place>,
}

impl Places {
    pub(super) fn iter(&self) -> impl Iterator<Item = Place> {
        std::iter::once(self.first).chain(self.joined.iter().copied())
    }
}

impl InFlight {
    pub(super) fn is_empty(&self) -> bool {
        self.unanswered == 0
    }

    /// Examples asked and not answered, sent or not.
    pub(super) fn len(&self) -> usize {
        self.unanswered
    }

    /// Examples that the teacher has and has not answered.
    pub(super) fn sent(&self) -> usize {
        self.sent
    }

    /// Examples that may be sent now.
    pub(super) fn ready(&self) -> usize {
        (self.unanswered - self.sent).min(self.credits.saturating_sub(self.sent))
    }

    /// Asks for an example's row at a place. True if it is new; false if it joins the same content.
    pub(super) fn ask(&mut self, request: Arc<Request>, place: Place) -> bool {
        match self.by_content.entry(request.content()) {
            Entry::Occupied(entry) => {
                let index = (entry.get() - self.oldest) as usize;
                if let Some(Some(asked)) = self.asked.get_mut(index) {
                    asked.places.joined.push(place);
                }
                false
            }
            Entry::Vacant(entry) => {
                entry.insert(self.oldest + self.asked.len() as u64);
                let places = Places { first: place, joined: Vec::new() };
                self.asked.push_back(Some(Asked { request, places }));
                self.unanswered += 1;
                true
            }
        }
    }

    /// The next examples to send in one message: at most `most`, within the credits, and in all not
    /// over `bytes` by the caller's `cost` (but one example always goes).
    pub(super) fn take(
        &mut self,
        most: usize,
        bytes: usize,
        cost: impl Fn(&Request) -> usize,
    ) -> Vec<(u64, Arc<Request>)> {
        let mut left = bytes;
        let first = self.sent_below.max(self.oldest);
        let unsent = self.asked.range((first - self.oldest) as usize..).zip(first..);
        let taken: Vec<_> = unsent
            .filter_map(|(asked, id)| Some((id, &asked.as_ref()?.request)))
            .take(most.min(self.ready()))
            .enumerate()
            .map_while(|(i, (id, request))| {
                let cost = cost(request);
                (i == 0 || cost <= left).then(|| {
                    left = left.saturating_sub(cost);
                    (id, Arc::clone(request))
                })
            })
            .collect();
        self.sent += taken.len();
        if let Some((last, _)) = taken.last() {
            self.sent_below = last + 1;
        }
        taken
    }

    /// Checks an answer against what was asked and tells where its outcome belongs.
    pub(super) fn settle(&mut self, answer: &Answer) -> Result<Places, Mismatch> {
        let id = answer.id;
        let index = id.checked_sub(self.oldest).filter(|_| id < self.sent_below);
        let mut slot = index.and_then(|index| self.asked.get_mut(index as usize));
        let Some(Some(Asked { request, .. })) = &slot else {
            return Err(Mismatch::NotInFlight { id });
        };
        let content = request.content();
        if let Ok(row) = &answer.outcome
            && row.content != content
        {
            return Err(Mismatch::OtherContent { id, asked: content, answered: row.content });
        }
        let asked = slot.as_mut().and_then(|slot| slot.take());
        let asked = asked.ok_or(Mismatch::NotInFlight { id })?;
        self.sent -= 1;
        self.unanswered -= 1;
        self.by_content.remove(&content);
        while self.asked.pop_front_if(|oldest| oldest.is_none()).is_some() {
            self.oldest += 1;
        }
        Ok(asked.places)
    }

    /// A new stream with its credits: everything unanswered is to be sent on it, oldest first.
    pub(super) fn restart(&mut self, credits: usize) {
        self.sent = 0;
        self.sent_below = 0;
        self.credits = credits;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use lectern::wire::{Failure, FailureCode, Row};
    use proptest::prelude::*;

    use super::*;

    fn request(text: &str) -> Arc<Request> {
        Arc::new(Request::new(text.to_owned(), None))
    }

    fn place(position: usize) -> Place {
        Place { batch: 0, position }
    }

    fn row(id: u64, text: &str) -> Answer {
        let row = Row {
            content: ContentHash::new(text, None),
            logits: [0.5].into(),
            variance: None,
            truncated: false,
        };
        Answer { id, outcome: Ok(row) }
    }

    fn take(book: &mut InFlight, most: usize) -> Vec<u64> {
        book.take(most, usize::MAX, Request::bytes).into_iter().map(|(id, _)| id).collect()
    }

    #[test]
    fn the_same_content_is_asked_once_and_settled_everywhere() {
        let mut book = InFlight::default();
        book.restart(10);
        assert!(book.ask(request("a"), place(0)));
        assert!(!book.ask(request("a"), place(1)));
        assert!(book.ask(request("b"), place(2)));
        assert_eq!(take(&mut book, 10), [0, 1]);
        let places = book.settle(&row(0, "a")).unwrap();
        assert_eq!(places.iter().collect::<Vec<_>>(), [place(0), place(1)]);
        assert!(book.ask(request("a"), place(3)), "an answered content is asked anew");
    }

    #[test]
    fn answers_to_nothing_are_noticed() {
        let mut book = InFlight::default();
        book.restart(1);
        book.ask(request("a"), place(0));
        book.ask(request("b"), place(1));
        take(&mut book, 10);
        let wrong = [row(1, "b"), row(7, "a")];
        for answer in wrong {
            let id = answer.id;
            assert_eq!(book.settle(&answer), Err(Mismatch::NotInFlight { id }));
        }
        assert!(matches!(book.settle(&row(0, "b")), Err(Mismatch::OtherContent { id: 0, .. })));
        assert!(book.settle(&row(0, "a")).is_ok());
        assert_eq!(book.settle(&row(0, "a")), Err(Mismatch::NotInFlight { id: 0 }));
    }

    #[test]
    fn a_message_ends_where_its_bytes_end_but_is_never_empty() {
        let mut book = InFlight::default();
        book.restart(10);
        for (i, text) in ["1234", "12", "123", "123456789"].into_iter().enumerate() {
            book.ask(request(text), place(i));
        }
        let mut sizes = || book.take(10, 6, Request::bytes).len();
        assert_eq!([sizes(), sizes(), sizes(), sizes()], [2, 1, 1, 0]);
    }

    #[test]
    fn a_failure_needs_no_hash() {
        let mut book = InFlight::default();
        book.restart(1);
        book.ask(request(""), place(0));
        take(&mut book, 1);
        let failure = Failure { code: FailureCode::EmptyText, message: String::new() };
        assert!(book.settle(&Answer { id: 0, outcome: Err(failure) }).is_ok());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Ask(u8),
        Send(usize),
        Answer(prop::sample::Index),
        Restart(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0u8..12).prop_map(Step::Ask),
            2 => (1usize..5).prop_map(Step::Send),
            4 => any::<prop::sample::Index>().prop_map(Step::Answer),
            1 => (1usize..6).prop_map(Step::Restart),
        ]
    }

    proptest! {
        #[test]
        fn every_place_is_settled_once_with_its_own_content_and_credits_hold(
            steps in prop::collection::vec(step(), 0..200)
        ) {
            let mut book = InFlight::default();
            book.restart(3);
            let (mut credits, mut contents, mut done) = (3, Vec::new(), HashSet::new());
            let mut teacher: Vec<(u64, Arc<Request>)> = Vec::new();
            for step in steps.into_iter().chain([Step::Restart(1000), Step::Send(1000)]) {
                match step {
                    Step::Ask(c) => {
                        let text = c.to_string();
                        book.ask(request(&text), place(contents.len()));
                        contents.push(text);
                    }
                    Step::Send(most) => teacher.extend(book.take(most, usize::MAX, Request::bytes)),
                    Step::Answer(which) => {
                        if !teacher.is_empty() {
                            let (id, asked) = teacher.swap_remove(which.index(teacher.len()));
                            for place in book.settle(&row(id, asked.text())).unwrap().iter() {
                                prop_assert_eq!(&contents[place.position], asked.text());
                                prop_assert!(done.insert(place.position));
                            }
                        }
                    }
                    Step::Restart(new) => {
                        credits = new;
                        teacher.clear();
                        book.restart(new);
                    }
                }
                prop_assert_eq!(book.sent(), teacher.len());
                prop_assert!(teacher.len() <= credits);
            }
            for (id, asked) in teacher {
                done.extend(book.settle(&row(id, asked.text())).unwrap().iter().map(|p| p.position));
            }
            prop_assert_eq!(done.len(), contents.len());
            prop_assert!(book.is_empty());
        }
    }
}
