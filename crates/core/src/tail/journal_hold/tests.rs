use parking_lot::Mutex;

use super::*;
use crate::sampling::Threshold;

const TRACE: TraceId = TraceId([4; 16]);
const KEEP: Keep = Keep::new(0, Threshold::ALWAYS);

#[derive(Debug, Default)]
struct Book(Mutex<Vec<Note>>);

impl NoteRecorder for Book {
    fn note(&self, note: Note) {
        self.0.lock().push(note);
    }
}

impl Book {
    fn take(&self) -> Vec<Note> {
        std::mem::take(&mut self.0.lock())
    }
}

fn held() -> (Arc<Book>, Arc<JournalHold>) {
    let book = Arc::new(Book::default());
    let hold = JournalHold::new(8, Arc::clone(&book) as _);
    (book, hold)
}

#[test]
fn a_request_of_which_nothing_is_kept_is_released_with_its_last_reference() {
    let (book, hold) = held();
    let other = Arc::clone(&hold);
    drop(hold);
    assert_eq!(book.take(), []);
    drop(other);
    assert_eq!(book.take(), [Note::Released(8)]);
}

#[test]
fn kept_spans_are_settled_with_their_last_part() {
    let (book, hold) = held();
    let kept = KeptSpansHold::new(hold, TRACE, KEEP);
    assert_eq!(book.take(), [Note::Kept(8, TRACE, KEEP)]);
    kept.split();
    kept.settle();
    assert_eq!(book.take(), []);
    kept.settle();
    assert_eq!(book.take(), [Note::Settled(8, TRACE)]);
    drop(kept);
    assert_eq!(book.take(), [Note::Released(8)]);
}

#[test]
fn a_request_with_unsettled_spans_is_never_released() {
    let (book, hold) = held();
    let (kept, settled) = (KeptSpansHold::new(Arc::clone(&hold), TRACE, KEEP), KeptSpansHold::new(hold, TRACE, KEEP));
    settled.settle();
    kept.split();
    kept.settle();
    drop(kept);
    drop(settled);
    let notes = book.take();
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert!(!notes.contains(&Note::Released(8)));
}
