//! Random conditions for a request. They use its keys and values, so that some conditions hold and some do not.

use crate::condition::formula::{CompareOp, Constant, FieldOwner, FieldType, Formula, Function, Term};
use crate::condition::{Check, Condition, Field, Number, Pattern, Range, RangeBound, ValueType};
use crate::otlp::reference::{KeyValue, Request, Value};

const PATTERNS: [&str; 6] = ["", "^[a-z]", "[0-9]+$", "(?i)a|b", ".{3}", r"\x{ff}|é"];
const SUBTREES_MAX: u64 = 3;
const DEPTH_MAX: u32 = 3;

/// Returns `count` conditions that `seed` chooses.
pub(super) fn conditions(request: &Request, seed: u64, count: usize) -> Vec<Condition> {
    let mut generator = Generator { state: seed, keys: vec!["absent".into()], values: vec![Value::Int(2)] };
    generator.learn(request);
    (0..count).map(|_| generator.condition(DEPTH_MAX, false)).collect()
}

struct Generator {
    state: u64,
    keys: Vec<String>,
    values: Vec<Value>,
}

impl Generator {
    fn learn(&mut self, request: &Request) {
        for resource_spans in &request.resource_spans {
            self.learn_attributes(resource_spans.resource.iter().flat_map(|resource| &resource.attributes));
            for scope_spans in &resource_spans.scope_spans {
                let scope = scope_spans.scope.clone().unwrap_or_default();
                self.values.extend([Value::String(scope.name), Value::String(scope.version)]);
                self.learn_attributes(&scope.attributes);
                for span in &scope_spans.spans {
                    self.learn_attributes(&span.attributes);
                    self.learn_attributes(span.events.iter().flat_map(|event| &event.attributes));
                    let strings =
                        [&span.name, &span.trace_state].into_iter().chain(span.events.iter().map(|e| &e.name));
                    self.values.extend(strings.cloned().map(Value::String));
                    self.values.extend([&span.trace_id, &span.parent_span_id].map(|id| Value::Bytes(id.clone())));
                    let numbers = [span.kind.into(), span.flags.into(), span.start_time_unix_nano.cast_signed()];
                    self.values.extend(numbers.map(Value::Int));
                }
            }
        }
    }

    fn learn_attributes<'a>(&mut self, attributes: impl IntoIterator<Item = &'a KeyValue>) {
        for attribute in attributes {
            self.keys.extend(String::from_utf8(attribute.key.clone()));
            self.values.extend(attribute.value.clone().and_then(|value| value.value));
        }
    }

    /// Returns a random number below `end` (splitmix64).
    fn below(&mut self, end: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize].clone()
    }

    fn condition(&mut self, depth: u32, in_event: bool) -> Condition {
        let kinds = if depth == 0 { 6 } else { 12 };
        match self.below(kinds) {
            0..5 => self.test(in_event),
            5 => self.formula(in_event),
            6 => Condition::Constant(self.below(2) == 0),
            7 => Condition::Not(Box::new(self.condition(depth - 1, in_event))),
            8 => Condition::All(self.parts(depth, in_event)),
            9 | 10 if !in_event => Condition::AnyEvent(Box::new(self.condition(depth - 1, true))),
            _ => Condition::Any(self.parts(depth, in_event)),
        }
    }

    fn parts(&mut self, depth: u32, in_event: bool) -> Vec<Condition> {
        (0..self.below(SUBTREES_MAX + 1)).map(|_| self.condition(depth - 1, in_event)).collect()
    }

    /// Returns a condition on two fields or on values that are computed from them.
    fn formula(&mut self, in_event: bool) -> Condition {
        let owners: &[FieldOwner] = if in_event {
            &[FieldOwner::Event]
        } else {
            &[FieldOwner::Resource, FieldOwner::Scope, FieldOwner::Span, FieldOwner::Span]
        };
        let owner = self.one_of(owners);
        let (left, right) = (self.term(owner), self.term(owner));
        let (left, right) = (Box::new(left), Box::new(right));
        let term = match self.below(4) {
            0 => Term::Call(Function::ContainsValue, vec![*left, *right]),
            1 => Term::Call(Function::IsEmpty, vec![*left]),
            _ => {
                let op = self.one_of(&[CompareOp::Eq, CompareOp::Ne, CompareOp::Lt, CompareOp::Ge]);
                Term::Compare(op, left, right)
            }
        };
        Condition::Formula(Box::new(Formula { owner, term, expected: self.below(2) == 0 }))
    }

    fn term(&mut self, owner: FieldOwner) -> Term {
        let key = self.one_of(&self.keys.clone());
        let (field, field_type) = match (owner, self.below(3)) {
            (FieldOwner::Resource, _) => (Field::ResourceAttribute(key), FieldType::Attribute),
            (FieldOwner::Scope, 0) => (Field::ScopeName, FieldType::Text),
            (FieldOwner::Scope, _) => (Field::ScopeAttribute(key), FieldType::Attribute),
            (FieldOwner::Span | FieldOwner::Event, 0) => self.one_of(&[
                (Field::Name, FieldType::Text),
                (Field::Kind, FieldType::Int),
                (Field::StartTime, FieldType::UnixNano),
                (Field::ParentSpanId, FieldType::Id(8)),
            ]),
            (FieldOwner::Span, _) => (Field::SpanAttribute(key), FieldType::Attribute),
            (FieldOwner::Event, _) => (Field::EventAttribute(key), FieldType::Attribute),
        };
        let term = Term::Field(field, field_type);
        match self.below(6) {
            0 => Term::Element(Box::new(term), 0),
            1 => Term::Key(Box::new(term), self.one_of(&self.keys.clone())),
            2 => Term::Call(Function::Len, vec![term]),
            3 => Term::Call(
                Function::Concat,
                vec![Term::List(vec![term.clone(), term]), Term::Constant(Constant::Text("a".into()))],
            ),
            _ => term,
        }
    }

    fn test(&mut self, in_event: bool) -> Condition {
        let (field, check) = (self.field(in_event), self.check());
        Condition::test(field, check)
    }

    fn field(&mut self, in_event: bool) -> Field {
        let key = self.one_of(&self.keys.clone());
        let of_event = [Field::EventAttribute(key.clone()), Field::EventName, Field::EventTime];
        // Outside a condition on events, the fields of events are absent.
        if self.below(if in_event { 2 } else { 20 }) == 0 {
            return self.one_of(&of_event);
        }
        let attributes = [Field::Attribute, Field::SpanAttribute, Field::ResourceAttribute, Field::ScopeAttribute];
        if self.below(2) == 0 {
            return self.one_of(&attributes)(key);
        }
        self.one_of(&[
            Field::Name,
            Field::Kind,
            Field::StatusCode,
            Field::StatusMessage,
            Field::TraceState,
            Field::TraceStateEntry("ot".into()),
            Field::TraceStateEntry("vendor".into()),
            Field::Flags,
            Field::Duration,
            Field::StartTime,
            Field::EndTime,
            Field::TraceId,
            Field::SpanId,
            Field::ParentSpanId,
            Field::ScopeName,
            Field::ScopeVersion,
        ])
    }

    fn check(&mut self) -> Check {
        let value = self.one_of(&self.values.clone());
        match (self.below(4), value) {
            (0, _) => self.any_check(),
            (1, Value::String(text) | Value::Bytes(text)) => self.part_of(&String::from_utf8_lossy(&text)),
            (_, Value::String(text)) => match String::from_utf8(text) {
                Ok(text) => Check::OneOf(vec![text, "else".into()]),
                Err(error) => Check::HasSuffix(String::from_utf8_lossy(error.as_bytes()).into()),
            },
            (_, Value::Bytes(bytes)) => Check::Bytes(bytes),
            (_, Value::Bool(value)) => Check::Bool(value),
            (_, Value::Int(at)) => self.range(Number::Int(at)),
            (_, Value::Double(at)) => self.range(Number::Double(at)),
            (_, Value::Array(list)) => Check::Length(Range::exactly(Number::Int(list.values.len() as i64))),
            (_, Value::KeyValues(map)) => Check::Length(Range::exactly(Number::Int(map.values.len() as i64))),
            (_, Value::StringStrindex(_)) => Check::Present,
        }
    }

    /// Returns a check that does not depend on a value in the request, except for nested checks.
    fn any_check(&mut self) -> Check {
        use ValueType::{Bool, Bytes, Double, Int, List, Map, String};
        match self.below(8) {
            0 => Check::Present,
            7 => Check::All(vec![self.check(), self.check()]),
            1 => Check::Type(self.one_of(&[String, Bool, Int, Double, List, Map, Bytes])),
            2 => Check::Matches(Pattern::new(self.one_of(&PATTERNS)).expect("a pattern")),
            3 => Check::MatchesText(Pattern::new(self.one_of(&PATTERNS)).expect("a pattern")),
            4 => Check::ServerFault,
            5 => Check::Element(Box::new(self.check())),
            _ => {
                let range = self.range(Number::Int(1));
                if let Check::Number(range) = range { Check::Length(range) } else { range }
            }
        }
    }

    fn part_of(&mut self, text: &str) -> Check {
        let mut cuts = [0; 2].map(|_| text.floor_char_boundary(self.below(text.len() as u64 + 1) as usize));
        cuts.sort_unstable();
        let [start, end] = cuts;
        match self.below(3) {
            0 => Check::HasPrefix(text[..end].into()),
            1 => Check::HasSuffix(text[start..].into()),
            _ => Check::Contains(text[start..end].into()),
        }
    }

    fn range(&mut self, at: Number) -> Check {
        // An integer that rounds to the same double as its neighbours must not be taken for them.
        let at = match (at, self.below(4)) {
            (Number::Int(v), 0) => Number::Double(v as f64),
            (Number::Int(v), 1) => Number::Int(v.wrapping_add(1)),
            (Number::Double(v), 0) => Number::Int(v as i64),
            (at, _) => at,
        };
        let bound = Some(RangeBound { at, inclusive: self.below(2) == 0 });
        let range = self.one_of(&[
            Range { min: bound, max: None },
            Range { min: None, max: bound },
            Range::exactly(at),
            Range { min: None, max: None },
        ]);
        if self.below(3) == 0 { Check::Numeric(range) } else { Check::Number(range) }
    }
}
