use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::*;
use crate::export::testing::{decode, push_record, record, span_name};
use crate::otlp::TraceId;
use crate::sampling::{Keep, Threshold};
use crate::tail::journal_hold::{JournalHold, Note, NoteRecorder};

const DELAY: Duration = Duration::from_secs(1);

fn limits(max_spans: usize, max_bytes: usize) -> settings::BatchSettings {
    settings::BatchSettings { max_spans, max_bytes, max_delay: DELAY }
}

/// Returns the spans of each closed batch as `project: ids`.
fn closed(batcher: &mut Batcher) -> Vec<(String, Vec<String>)> {
    let batches = batcher.take_closed().collect::<Vec<_>>();
    batches
        .iter()
        .map(|batch| {
            let request = decode(batch);
            assert_eq!(request.spans.len(), batch.span_count() as usize);
            (request.name, request.spans.into_iter().map(|span| span.name).collect())
        })
        .collect()
}

fn expected(project: &str, batches: &[&[u64]]) -> Vec<(String, Vec<String>)> {
    let names = |ids: &&[u64]| ids.iter().map(|&id| span_name(project, id)).collect();
    batches.iter().map(|ids| (format!("projects/{project}"), names(ids))).collect()
}

#[test]
fn a_batch_is_full_by_spans_or_by_bytes() {
    let len = record("p", 1, "n").len();
    let name = 2 + "projects/p".len();
    let cases: &[(usize, usize, &[&[u64]])] = &[
        (2, 1 << 20, &[&[1, 2], &[3, 4], &[5]]),
        (1, 1 << 20, &[&[1], &[2], &[3], &[4], &[5]]),
        // The limits: exactly three spans, one byte less than three spans, and less than one span.
        (100, name + 3 * len, &[&[1, 2, 3], &[4, 5]]),
        (100, name + 3 * len - 1, &[&[1, 2], &[3, 4], &[5]]),
        (100, 10, &[&[1], &[2], &[3], &[4], &[5]]),
    ];
    for (max_spans, max_bytes, batches) in cases {
        let mut batcher = Batcher::new(Form::CloudTrace, limits(*max_spans, *max_bytes), Budget::new(0));
        for id in 1..=5 {
            push_record(&mut batcher, &"p".into(), Instant::now(), &record("p", id, "n"));
        }
        batcher.flush();
        assert_eq!(closed(&mut batcher), expected("p", batches), "{max_spans} spans, {max_bytes} bytes");
    }
}

#[test]
fn a_batch_waits_for_its_delay_since_its_first_span() {
    let mut batcher = Batcher::new(Form::CloudTrace, limits(100, 1 << 20), Budget::new(0));
    let start = Instant::now();
    assert_eq!(batcher.next_due(), None);
    for (project, id, after) in [("p", 1, 0), ("q", 2, 400), ("p", 3, 800)] {
        let at = start + Duration::from_millis(after);
        push_record(&mut batcher, &project.into(), at, &record(project, id, "n"));
    }
    assert_eq!(batcher.next_due(), Some(start + DELAY));
    batcher.close_due(start + DELAY - Duration::from_nanos(1));
    assert_eq!(closed(&mut batcher), []);
    batcher.close_due(start + DELAY);
    assert_eq!(closed(&mut batcher), expected("p", &[&[1, 3]]));
    assert_eq!(batcher.next_due(), Some(start + DELAY + Duration::from_millis(400)));
}

#[test]
fn a_failed_span_leaves_the_batch_as_it_was() {
    let mut batcher = Batcher::new(Form::CloudTrace, limits(100, 1 << 20), Budget::new(0));
    let fail = |batcher: &mut Batcher| {
        let place = Place { project: &"p".into(), resource: &[], head: &[], number: None };
        let result = batcher.push(place, Instant::now(), |out| {
            out.extend_from_slice(b"half a span");
            Err("no")
        });
        assert_eq!(result, Err("no"));
    };
    fail(&mut batcher);
    assert_eq!(batcher.next_due(), None);
    push_record(&mut batcher, &"p".into(), Instant::now(), &record("p", 1, "n"));
    fail(&mut batcher);
    push_record(&mut batcher, &"p".into(), Instant::now(), &record("p", 2, "n"));
    batcher.flush();
    assert_eq!(closed(&mut batcher), expected("p", &[&[1, 2]]));
}

#[test]
fn open_projects_are_bounded() {
    let mut batcher = Batcher::new(Form::CloudTrace, limits(100, 1 << 20), Budget::new(0));
    for id in 0..=OPEN_PROJECTS_MAX as u64 {
        let project = format!("p{id}");
        push_record(&mut batcher, &project.as_str().into(), Instant::now(), &record(&project, id, "n"));
    }
    assert_eq!(closed(&mut batcher), expected("p0", &[&[0]]));
}

#[test]
fn the_budget_is_charged_until_the_last_part_of_a_batch_is_dropped() {
    let budget = Budget::new(0);
    let mut batcher = Batcher::new(Form::CloudTrace, limits(4, 1 << 20), budget.clone());
    let len = record("p", 1, "n").len();
    push_record(&mut batcher, &"p".into(), Instant::now(), &record("p", 1, "n"));
    assert!(budget.used_bytes() >= len);
    for id in 2..=4 {
        push_record(&mut batcher, &"p".into(), Instant::now(), &record("p", id, "n"));
    }
    let head = 2 + "projects/p".len();
    assert_eq!(budget.used_bytes(), head + 4 * len + OVERHEAD_BYTES);
    let batch = batcher.take_closed().next().unwrap();
    let (left, right) = batch.halves().unwrap();
    drop(batch.clone());
    assert_eq!(budget.used_bytes(), head + 4 * len + 2 * (head + 2 * len) + 3 * OVERHEAD_BYTES);
    drop((batch, left));
    assert_eq!(budget.used_bytes(), head + 2 * len + OVERHEAD_BYTES);
    drop(right);
    assert_eq!(budget.used_bytes(), 0);
}

/// Creates holds of requests in a journal, and records the notes about them.
#[derive(Debug, Default)]
struct Book(parking_lot::Mutex<Vec<Note>>);

impl NoteRecorder for Book {
    fn note(&self, note: Note) {
        self.0.lock().push(note);
    }
}

impl Book {
    /// Pushes a fragment of a request in the journal, with spans of these ids.
    fn push(self: &Arc<Self>, batcher: &mut Batcher, request: u64, ids: std::ops::Range<u64>) {
        let hold = JournalHold::new(request, Arc::clone(self) as _);
        let hold = KeptSpansHold::new(hold, TraceId([1; 16]), Keep::new(0, Threshold::ALWAYS));
        for id in ids {
            let place = Place { project: &"p".into(), resource: &[], head: b"\n\nprojects/p", number: None };
            let Ok(_) = batcher.push_held(place, Some(&hold), Instant::now(), |out| {
                out.extend(record("p", id, "n"));
                Ok::<(), std::convert::Infallible>(())
            });
        }
        hold.settle();
    }

    /// Returns the requests whose spans are settled, and the requests that are released.
    fn notes(&self) -> (Vec<u64>, Vec<u64>) {
        let notes = self.0.lock().clone();
        let settled =
            notes.iter().filter_map(|note| if let Note::Settled(request, _) = note { Some(*request) } else { None });
        let released =
            notes.iter().filter_map(|note| if let Note::Released(request) = note { Some(*request) } else { None });
        (settled.collect(), released.collect())
    }
}

#[test]
fn a_request_in_the_journal_is_settled_with_its_last_batch() {
    let (book, budget) = (Arc::new(Book::default()), Budget::new(0));
    let mut batcher = Batcher::new(Form::CloudTrace, limits(4, 1 << 20), budget.clone());
    book.push(&mut batcher, 1, 0..2);
    book.push(&mut batcher, 2, 2..6);
    batcher.flush();
    let [first, second] = <[Batch; 2]>::try_from(batcher.take_closed().collect::<Vec<_>>()).unwrap();
    assert!(first.is_journalled() && second.is_journalled());
    assert_eq!(book.notes(), (vec![], vec![]));
    let (left, right) = first.halves().unwrap();
    drop(first);
    left.settle();
    second.clone().settle();
    drop((left, second));
    assert_eq!(book.notes(), (vec![], vec![]), "one half is on its way");
    right.settle();
    drop(right);
    assert_eq!(book.notes(), (vec![1, 2], vec![1, 2]));
    assert_eq!(budget.used_bytes(), 0);
}

#[test]
fn a_joined_batch_settles_the_requests_of_all_its_parts() {
    let book = Arc::new(Book::default());
    let mut batcher = Batcher::new(Form::CloudTrace, limits(2, 1 << 20), Budget::new(0));
    for request in 1..=3 {
        book.push(&mut batcher, request, 2 * request..2 * request + 2);
    }
    let batches: Vec<_> = batcher.take_closed().collect();
    let joined = batches[0].join(batches[1..].iter(), &Budget::new(0));
    drop(batches);
    joined.settle();
    drop(joined);
    assert_eq!(book.notes(), (vec![1, 2, 3], vec![1, 2, 3]));
}

#[test]
fn a_batch_that_is_dropped_unsettled_leaves_its_request_in_the_journal() {
    let book = Arc::new(Book::default());
    let mut batcher = Batcher::new(Form::CloudTrace, limits(2, 1 << 20), Budget::new(0));
    book.push(&mut batcher, 1, 0..3);
    for batch in batcher.take_closed().collect::<Vec<_>>() {
        batch.settle();
    }
    drop(batcher);
    assert_eq!(book.notes(), (vec![], vec![]), "the last span was in an open batch");
}

#[test]
fn joined_batches_have_every_span_in_order() {
    let budget = Budget::new(0);
    let mut batcher = Batcher::new(Form::CloudTrace, limits(2, 1 << 20), budget.clone());
    for id in 0..5 {
        push_record(&mut batcher, &"p".into(), Instant::now(), &record("p", id, "n"));
    }
    batcher.flush();
    let batches: Vec<Batch> = batcher.take_closed().collect();
    let joined = batches[0].join(batches[1..].iter(), &budget);
    let spans = batches.iter().flat_map(|batch| decode(batch).spans).collect::<Vec<_>>();
    assert_eq!((joined.span_count(), decode(&joined).spans), (5, spans));
    assert_eq!(decode(&joined).name, "projects/p");
    drop(batches);
    assert_eq!(budget.used_bytes(), joined.encoded_len() + OVERHEAD_BYTES);
    drop(joined);
    assert_eq!(budget.used_bytes(), 0);
}

#[test]
fn halves_have_every_span_once() {
    for count in 1..=9u32 {
        let mut batcher = Batcher::new(Form::CloudTrace, limits(100, 1 << 20), Budget::new(0));
        for id in 0..count {
            push_record(&mut batcher, &"p".into(), Instant::now(), &record("p", u64::from(id), "n"));
        }
        batcher.flush();
        let batch = batcher.take_closed().next().unwrap();
        assert_eq!(batch.first_span_name(), span_name("p", 0));
        let Some((left, right)) = batch.halves() else {
            assert_eq!(count, 1);
            continue;
        };
        assert_eq!((left.span_count(), right.span_count()), (count / 2, count - count / 2));
        let both = [decode(&left).spans, decode(&right).spans].concat();
        assert_eq!(both, decode(&batch).spans);
        assert_eq!(decode(&right).name, "projects/p");
    }
}

/// Pushes a span with these numbers of resource and scope. Number 0 stands for an empty resource or scope.
fn push_otlp(batcher: &mut Batcher, (resource, scope): (u32, u32), id: u64) {
    let attributes = |count| Resource { dropped_attributes_count: count, ..Resource::default() };
    let resource = (resource > 0).then(|| attributes(resource));
    let resource = ResourceSpans { resource, schema_url: "r".into(), ..ResourceSpans::default() }.encode_to_vec();
    let named = |number: u32| InstrumentationScope { name: number.to_string(), ..InstrumentationScope::default() };
    let head = ScopeSpans { scope: (scope > 0).then(|| named(scope)), ..ScopeSpans::default() }.encode_to_vec();
    // The records have lengths below and above one byte of varint.
    let span = Span { span_id: id.to_be_bytes().into(), name: "n".repeat(id as usize * 7 % 300), ..Span::default() };
    let record = ScopeSpans { spans: vec![span], ..ScopeSpans::default() }.encode_to_vec();
    let place = Place { project: &"p".into(), resource: &resource, head: &head, number: None };
    let Ok(()) = batcher.push(place, Instant::now(), |out| {
        out.extend(record);
        Ok::<(), std::convert::Infallible>(())
    });
}

/// Returns the sorted places and ids of the spans. Checks that each place occurs once.
fn otlp_spans(batch: &Batch) -> Vec<(u32, u32, u64)> {
    let request = ExportTraceServiceRequest::decode(batch.message().clone()).unwrap();
    let mut found = Vec::new();
    let mut places = Vec::new();
    for ResourceSpans { resource, scope_spans, schema_url } in request.resource_spans {
        assert_eq!(schema_url, "r");
        let resource = resource.map_or(0, |resource| resource.dropped_attributes_count);
        for ScopeSpans { scope, spans, .. } in scope_spans {
            let scope = scope.map_or(0, |scope| scope.name.parse().unwrap());
            places.push((resource, scope));
            found.extend(spans.iter().map(|span| {
                let id = u64::from_be_bytes(span.span_id.as_slice().try_into().unwrap());
                (resource, scope, id)
            }));
        }
    }
    places.sort_unstable();
    assert!(places.windows(2).all(|pair| pair[0] != pair[1]), "{places:?}");
    assert_eq!(found.len(), batch.span_count() as usize);
    found.sort_unstable();
    found
}

#[test]
fn otlp_spans_stand_by_resource_and_scope_and_can_be_halved_down_to_one() {
    let budget = Budget::new(0);
    let mut batcher = Batcher::new(Form::Otlp, limits(1000, 1 << 20), budget.clone());
    let mut expected = Vec::new();
    for id in 0..200 {
        let place = (id as u32 % 3, id as u32 % 7);
        push_otlp(&mut batcher, place, id);
        expected.push((place.0, place.1, id));
    }
    expected.sort_unstable();
    batcher.flush();
    let batch = batcher.take_closed().next().unwrap();
    assert_eq!(otlp_spans(&batch), expected);

    let mut singles = Vec::new();
    let mut parts = vec![batch];
    while let Some(part) = parts.pop() {
        let Some((left, right)) = part.halves() else {
            let [(resource, scope, id)] = otlp_spans(&part)[..] else { panic!("{part:?}") };
            assert_eq!(part.first_span_name(), format!("traces//spans/{id:016x}"));
            singles.push((resource, scope, id));
            continue;
        };
        assert!(left.span_count().abs_diff(right.span_count()) <= 1);
        let mut both = [otlp_spans(&left), otlp_spans(&right)].concat();
        both.sort_unstable();
        assert_eq!(both, otlp_spans(&part));
        assert_eq!(otlp_spans(&left.join(std::iter::once(&right), &budget)), both);
        parts.extend([left, right]);
    }
    singles.sort_unstable();
    assert_eq!(singles, expected);
    drop(parts);
    assert_eq!(budget.used_bytes(), 0);
}

#[test]
fn otlp_batches_stay_within_their_bytes() {
    for max_bytes in [300, 1000, 5000] {
        let mut batcher = Batcher::new(Form::Otlp, limits(1000, max_bytes), Budget::new(0));
        for id in 0..200 {
            push_otlp(&mut batcher, (id as u32 % 3, id as u32 % 5), id);
        }
        batcher.flush();
        let batches = batcher.take_closed().collect::<Vec<_>>();
        assert_eq!(batches.iter().map(|batch| otlp_spans(batch).len()).sum::<usize>(), 200);
        let fit = |batch: &&Batch| batch.encoded_len() <= max_bytes;
        assert!(batches.iter().filter(|batch| batch.span_count() > 1).all(|batch| fit(&batch)), "{max_bytes}");
        assert!(max_bytes < 5000 || batches.len() < 20, "{} batches", batches.len());
    }
}

#[test]
fn a_batch_can_be_made_again_of_its_parts() {
    let mut batcher = Batcher::new(Form::Otlp, limits(4, 1 << 20), Budget::new(0));
    (0..4).for_each(|id| push_otlp(&mut batcher, (1, 1), id));
    let batch = batcher.take_closed().next().unwrap();
    let budget = Budget::new(0);
    let project = batch.project().to_string().into();
    let again = Batch::new(batch.form(), project, batch.message().to_vec().into(), batch.span_count(), &budget);
    assert_eq!(otlp_spans(&again), otlp_spans(&batch));
    assert_eq!((again.project(), again.form()), (batch.project(), batch.form()));
    assert_eq!(budget.used_bytes(), batch.encoded_len() + OVERHEAD_BYTES);
    assert_eq!(again.halves().map(|(left, _)| left.span_count()), Some(2));
}
