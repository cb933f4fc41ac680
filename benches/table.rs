//! The cost of the trace table: inserting a scanned request, and deciding its traces when they are due.
#![allow(missing_docs, clippy::expect_used)]

use std::cell::RefCell;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use spansieve::otlp::scan::scan;
use spansieve::tail::DecisionLog;

mod support;

use support::{pipeline, report, template, workload};

use pipeline::Pipeline;
use template::{Encoding, Template, templates};

const WAIT_MS: u64 = 1_000;
/// Requests that are held while another one is inserted.
const HELD_REQUESTS: u64 = 200;

/// A table with requests at an even rate, which are decided a second after their arrival.
struct Traffic {
    pipeline: Pipeline,
    work: pipeline::Workspace,
    templates: Vec<Template>,
    next: u64,
}

impl Traffic {
    fn new() -> Self {
        Self::through(Pipeline::new(pipeline::settings(WAIT_MS, pipeline::THREE_POLICIES)))
    }

    fn through(pipeline: Pipeline) -> Self {
        let work = pipeline.workspace();
        Traffic { pipeline, work, templates: templates(&workload::Shape::default(), Encoding::Protobuf), next: 0 }
    }

    /// Returns the next request, scanned, and its time of arrival.
    fn scanned(&mut self) -> (Bytes, u64) {
        let count = self.templates.len() as u64;
        let mut body = Vec::new();
        self.templates[(self.next % count) as usize].stamp(workload::mix(self.next / count), &mut body);
        let now_ms = self.next * WAIT_MS / HELD_REQUESTS;
        self.next += 1;
        let body = scan(body.into(), self.pipeline.policies.probe(), &mut self.work.scan).expect("a request");
        (body, now_ms)
    }

    fn insert(&mut self, (body, now_ms): (Bytes, u64)) {
        self.pipeline.insert(body, now_ms, &mut self.work);
    }

    fn decide(&mut self, now_ms: u64) -> usize {
        self.pipeline.decide(self.pipeline.shards(), now_ms, &mut self.work);
        self.work.forget()
    }
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("table");
    let spans = workload::SPAN_COUNT;
    let traffic = RefCell::new(Traffic::new());
    let prepare = || {
        let mut traffic = traffic.borrow_mut();
        let request = traffic.scanned();
        traffic.decide(request.1);
        request
    };
    report::per_span_of(&mut group, "insert", spans, prepare, |request| traffic.borrow_mut().insert(request));
    let prepare = || {
        let mut traffic = traffic.borrow_mut();
        let request = traffic.scanned();
        traffic.insert(request.clone());
        request.1
    };
    report::per_span_of(&mut group, "decide", spans, prepare, |now_ms| traffic.borrow_mut().decide(now_ms));
    let prepare = || traffic.borrow_mut().scanned();
    report::per_span_of(&mut group, "insert and decide", spans, prepare, |request| {
        let mut traffic = traffic.borrow_mut();
        let now_ms = request.1;
        traffic.insert(request);
        traffic.decide(now_ms)
    });
    let facts = || Pipeline::new(pipeline::settings(WAIT_MS, pipeline::THREE_POLICIES)).remembering_facts();
    let mut listened_to = Traffic::through(facts());
    listened_to.work.outcome.decisions = Some(DecisionLog::with_services());
    for (name, traffic) in [("facts", Traffic::through(facts())), ("facts and listeners", listened_to)] {
        let traffic = RefCell::new(traffic);
        let prepare = || traffic.borrow_mut().scanned();
        report::per_span_of(&mut group, &format!("insert and decide, {name}"), spans, prepare, |request| {
            let mut traffic = traffic.borrow_mut();
            let now_ms = request.1;
            traffic.insert(request);
            traffic.decide(now_ms)
        });
    }
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
