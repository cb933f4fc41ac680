use std::time::Duration;

use super::*;
use crate::export::testing::{decode, push_record, record, span_name};

const DELAY: Duration = Duration::from_secs(1);

fn limits(max_spans: usize, max_bytes: usize) -> settings::Batch {
    settings::Batch { max_spans, max_bytes, max_delay: DELAY }
}

/// The spans of each closed batch, as `project: ids`.
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
        // Exactly three spans, one byte less than three, and less than one.
        (100, name + 3 * len, &[&[1, 2, 3], &[4, 5]]),
        (100, name + 3 * len - 1, &[&[1, 2], &[3, 4], &[5]]),
        (100, 10, &[&[1], &[2], &[3], &[4], &[5]]),
    ];
    for (max_spans, max_bytes, batches) in cases {
        let mut batcher = Batcher::new(limits(*max_spans, *max_bytes), Budget::new(0));
        for id in 1..=5 {
            push_record(&mut batcher, &"p".into(), Instant::now(), &record("p", id, "n"));
        }
        batcher.flush();
        assert_eq!(closed(&mut batcher), expected("p", batches), "{max_spans} spans, {max_bytes} bytes");
    }
}

#[test]
fn a_batch_waits_for_its_delay_since_its_first_span() {
    let mut batcher = Batcher::new(limits(100, 1 << 20), Budget::new(0));
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
    let mut batcher = Batcher::new(limits(100, 1 << 20), Budget::new(0));
    let fail = |batcher: &mut Batcher| {
        let result = batcher.push(&"p".into(), Instant::now(), |out| {
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
    let mut batcher = Batcher::new(limits(100, 1 << 20), Budget::new(0));
    for id in 0..=OPEN_PROJECTS_MAX as u64 {
        let project = format!("p{id}");
        push_record(&mut batcher, &project.as_str().into(), Instant::now(), &record(&project, id, "n"));
    }
    assert_eq!(closed(&mut batcher), expected("p0", &[&[0]]));
}

#[test]
fn the_budget_has_the_bytes_until_the_last_part_of_a_batch_is_gone() {
    let budget = Budget::new(0);
    let mut batcher = Batcher::new(limits(4, 1 << 20), budget.clone());
    let len = record("p", 1, "n").len();
    push_record(&mut batcher, &"p".into(), Instant::now(), &record("p", 1, "n"));
    assert!(budget.used_bytes() >= len);
    for id in 2..=4 {
        push_record(&mut batcher, &"p".into(), Instant::now(), &record("p", id, "n"));
    }
    assert_eq!(budget.used_bytes(), 4 * len + OVERHEAD_BYTES);
    let batch = batcher.take_closed().next().unwrap();
    let (left, right) = batch.halves().unwrap();
    drop((batch, left));
    assert_eq!(budget.used_bytes(), 4 * len + OVERHEAD_BYTES);
    drop(right);
    assert_eq!(budget.used_bytes(), 0);
}

#[test]
fn joined_batches_have_every_span_in_order() {
    let budget = Budget::new(0);
    let mut batcher = Batcher::new(limits(2, 1 << 20), budget.clone());
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
    assert_eq!(budget.used_bytes(), 5 * record("p", 0, "n").len() + OVERHEAD_BYTES);
    drop(joined);
    assert_eq!(budget.used_bytes(), 0);
}

#[test]
fn halves_have_every_span_once() {
    for count in 1..=9u32 {
        let mut batcher = Batcher::new(limits(100, 1 << 20), Budget::new(0));
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
