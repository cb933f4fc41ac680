//! The compiler of expressions that tests of single fields cannot express, to a [`Formula`]: several fields,
//! arithmetic, keys inside of values, and nested functions. It checks the types that are known, so that a comparison
//! that always has the same answer is an error, as it is for tests.

use crate::condition::formula::{
    CompareOp, Constant, FieldOwner, FieldType, Formula, Function, MathOp, Term, TimePart,
};
use crate::condition::{Condition, Field, Pattern, ValueType};

use super::answer::TruthConditions;
use super::compile::operand;
use super::grammar::{Expr, ExprNode, PathSegment};
use super::path;
use super::value::{FieldView, Operand};
use super::{ConditionContext, OttlError};

/// The type of a term, as far as it is known before the evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TermType {
    Any,
    Nil,
    Bool,
    Int,
    Double,
    Text,
    Bytes,
    List,
    Map,
    Time,
    Duration,
    Id,
}

impl TermType {
    fn shown(self) -> &'static str {
        match self {
            TermType::Any => "an attribute",
            TermType::Nil => "nil",
            TermType::Bool => "a boolean",
            TermType::Int => "an integer",
            TermType::Double => "a double",
            TermType::Text => "a string",
            TermType::Bytes => "bytes",
            TermType::List => "a list",
            TermType::Map => "a map",
            TermType::Time => "a time",
            TermType::Duration => "a duration",
            TermType::Id => "an id",
        }
    }

    fn is_number(self) -> bool {
        matches!(self, TermType::Int | TermType::Double)
    }

    fn has_order(self) -> bool {
        !matches!(self, TermType::Nil | TermType::List | TermType::Map | TermType::Id)
    }
}

/// A term with its type.
struct Typed {
    term: Term,
    kind: TermType,
    /// True if the value may be nil.
    nullable: bool,
}

impl Typed {
    fn new(term: Term, kind: TermType) -> Self {
        Typed { term, kind, nullable: kind == TermType::Any }
    }

    fn nullable(term: Term, kind: TermType) -> Self {
        Typed { term, kind, nullable: true }
    }
}

/// Compiles an expression that must be true or false to a formula.
pub(super) fn answer(expr: &Expr, context: ConditionContext) -> Result<TruthConditions, OttlError> {
    let mut builder = FormulaBuilder { context, owner: None };
    let Typed { term, kind, .. } = builder.term(expr)?;
    if !matches!(kind, TermType::Bool | TermType::Any) {
        let message = format!("{} alone is neither true nor false", kind.shown());
        return Err(OttlError::new(expr.offset, message).help("compare it with something"));
    }
    let owner = builder.owner.ok_or_else(|| {
        OttlError::new(expr.offset, "a condition without a path").help("compare a path with a constant")
    })?;
    let formula = |expected| Condition::Formula(Box::new(Formula { owner, term: term.clone(), expected }));
    Ok(TruthConditions { yes: formula(true), no: formula(false) })
}

struct FormulaBuilder {
    context: ConditionContext,
    /// The owner of the fields so far.
    owner: Option<FieldOwner>,
}

impl FormulaBuilder {
    fn term(&mut self, expr: &Expr) -> Result<Typed, OttlError> {
        match &expr.node {
            ExprNode::Path(segments) => self.path(segments, expr.offset),
            ExprNode::Index(inner, key) => {
                let inner = self.term(inner)?;
                index(inner, key)
            }
            ExprNode::List(values) => {
                let terms: Result<Vec<Term>, _> = values.iter().map(|value| Ok(self.term(value)?.term)).collect();
                Ok(Typed::new(Term::List(terms?), TermType::List))
            }
            ExprNode::Map(entries) => {
                let entries = entries.iter().map(|(key, value)| Ok((key.clone(), self.term(value)?.term)));
                Ok(Typed::new(Term::Map(entries.collect::<Result<_, OttlError>>()?), TermType::Map))
            }
            ExprNode::Math(op, left, right) => self.math(*op, left, right, expr.offset),
            ExprNode::Compare(op, left, right) => self.compare(*op, left, right),
            ExprNode::Call(name, arguments) => self.call(expr, name, arguments),
            ExprNode::Not(_) | ExprNode::And(_) | ExprNode::Or(_) => {
                Err(OttlError::new(expr.offset, "`and`, `or` or `not` inside of a value")
                    .help("write it between comparisons"))
            }
            _ => self.constant(expr),
        }
    }

    fn constant(&self, expr: &Expr) -> Result<Typed, OttlError> {
        match operand(expr, self.context)? {
            Operand::Constant(constant) => {
                let kind = kind_of(&constant);
                Ok(Typed::new(Term::Constant(constant), kind))
            }
            other => Err(OttlError::new(expr.offset, format!("{} in a value", other.shown()))),
        }
    }

    fn path(&mut self, segments: &[PathSegment], offset: usize) -> Result<Typed, OttlError> {
        let (owner, measure, keys) = path::place(segments, offset, self.context)?;
        let is_small = !matches!(measure.view, FieldView::Attribute | FieldView::Text);
        self.owner = Some(self.merged(owner, is_small, offset)?);
        let (field_type, kind) = match measure.view {
            FieldView::Text => (FieldType::Text, TermType::Text),
            FieldView::Integer if is_time(&measure.field) => (FieldType::UnixNano, TermType::Int),
            FieldView::Integer => (FieldType::Int, TermType::Int),
            FieldView::Time => (FieldType::Time, TermType::Time),
            FieldView::Id(length) => (FieldType::Id(length), TermType::Id),
            FieldView::IdText(length) => (FieldType::IdText(length), TermType::Text),
            FieldView::KindText(names) => (FieldType::Name(names), TermType::Text),
            _ => (FieldType::Attribute, TermType::Any),
        };
        let whole = Typed::new(Term::Field(measure.field, field_type), kind);
        keys.into_iter().try_fold(whole, index)
    }

    /// Returns the owner of the fields so far together with a field of `owner`. All fields of a formula have the same
    /// owner, because a resource or a scope is read once for all its spans. Only a formula of an event can also use the
    /// fields of the span that have a small and fixed size (`is_small`).
    fn merged(&self, owner: FieldOwner, is_small: bool, offset: usize) -> Result<FieldOwner, OttlError> {
        let owner = match (self.context, owner) {
            (ConditionContext::Event, FieldOwner::Span) if is_small => FieldOwner::Event,
            _ => owner,
        };
        match self.owner {
            Some(other) if other != owner => {
                let message = format!("fields of {} and of {} in one comparison", shown(other), shown(owner));
                Err(OttlError::new(offset, message)
                    .help("use the fields of only one of them in a comparison; join comparisons with `and` and `or`"))
            }
            _ => Ok(owner),
        }
    }

    fn math(&mut self, op: MathOp, left: &Expr, right: &Expr, offset: usize) -> Result<Typed, OttlError> {
        let (left, right) = (self.term(left)?, self.term(right)?);
        let kind = match (op, left.kind, right.kind) {
            (_, TermType::Int, TermType::Int) => TermType::Int,
            (_, a, b) if a.is_number() && b.is_number() => TermType::Double,
            (MathOp::Subtract, TermType::Time, TermType::Time) => TermType::Duration,
            (MathOp::Add | MathOp::Subtract, TermType::Time, TermType::Duration)
            | (MathOp::Add, TermType::Duration, TermType::Time) => TermType::Time,
            (MathOp::Add | MathOp::Subtract, TermType::Duration, TermType::Duration) => TermType::Duration,
            (_, TermType::Any, b) if b.is_number() || b == TermType::Any => TermType::Any,
            (_, a, TermType::Any) if a.is_number() => TermType::Any,
            (_, a, b) => {
                let message = format!("arithmetic of {} and {}", a.shown(), b.shown());
                let help = "numbers go with numbers, durations with durations and times";
                return Err(OttlError::new(offset, message).help(help));
            }
        };
        Ok(Typed { term: Term::Math(op, Box::new(left.term), Box::new(right.term)), kind, nullable: false })
    }

    fn compare(&mut self, op: CompareOp, left: &Expr, right: &Expr) -> Result<Typed, OttlError> {
        let offset = right.offset;
        let (left, right) = (self.term(left)?, self.term(right)?);
        let (a, b) = (left.kind, right.kind);
        let is_same = a == b || a == TermType::Any || b == TermType::Any || (a.is_number() && b.is_number());
        let is_nil = (a == TermType::Nil && right.nullable) || (b == TermType::Nil && left.nullable);
        let is_ordered = matches!(op, CompareOp::Eq | CompareOp::Ne) || (a.has_order() && b.has_order());
        if !(is_same || is_nil) || !is_ordered {
            let message = format!("{} compared with {}", a.shown(), b.shown());
            let help = "both must be of one type; lists, maps, ids and nil have no order";
            return Err(OttlError::new(offset, message).help(help));
        }
        Ok(Typed::new(Term::Compare(op, Box::new(left.term), Box::new(right.term)), TermType::Bool))
    }

    fn call(&mut self, expr: &Expr, name: &str, arguments: &[Expr]) -> Result<Typed, OttlError> {
        match name {
            "Duration" | "TraceID" | "SpanID" => return self.constant(expr),
            "IsRootSpan" => return self.is_root_span(expr),
            "ConvertCase" => return self.convert_case(expr, arguments),
            "IsMatch" => return self.is_match(expr, arguments),
            _ => {}
        }
        let signature = signature(name).ok_or_else(|| super::function::unknown(name, expr.offset))?;
        let FunctionSignature { function, kinds, optional, kind } = signature;
        let terms = self.arguments(expr, name, arguments, kinds, optional)?;
        let term = Term::Call(function, terms);
        let is_conversion = matches!(name, "Bool" | "Int" | "Double" | "String");
        Ok(if is_conversion { Typed::nullable(term, kind) } else { Typed::new(term, kind) })
    }

    /// Compiles the arguments and checks that each has one of its `kinds`; an empty list allows any kind. The last
    /// `optional` arguments may be left out.
    fn arguments(
        &mut self,
        call: &Expr,
        name: &str,
        arguments: &[Expr],
        kinds: &[&[TermType]],
        optional: usize,
    ) -> Result<Vec<Term>, OttlError> {
        if arguments.len() > kinds.len() || arguments.len() + optional < kinds.len() {
            let message = format!("{name} takes {} arguments, not {}", kinds.len(), arguments.len());
            return Err(OttlError::new(call.offset, message));
        }
        let mut terms = Vec::with_capacity(arguments.len());
        for (argument, kinds) in arguments.iter().zip(kinds) {
            let Typed { term, kind, .. } = self.term(argument)?;
            if !kinds.is_empty() && kind != TermType::Any && !kinds.contains(&kind) {
                let expected = kinds.first().map_or("", |kind| kind.shown());
                return Err(OttlError::new(argument.offset, format!("{name} of {}", kind.shown()))
                    .help(format!("the argument must be {expected}")));
            }
            terms.push(term);
        }
        Ok(terms)
    }

    fn is_root_span(&mut self, call: &Expr) -> Result<Typed, OttlError> {
        self.arguments(call, "IsRootSpan", call.arguments(), &[], 0)?;
        if self.context == ConditionContext::Resource {
            return Err(OttlError::new(call.offset, "IsRootSpan cannot be used in a resource condition"));
        }
        self.owner = Some(self.merged(FieldOwner::Span, true, call.offset)?);
        let parent = Term::Field(Field::ParentSpanId, FieldType::Id(8));
        let none = Term::Constant(Constant::Id(vec![0; 8]));
        Ok(Typed::new(Term::Compare(CompareOp::Eq, Box::new(parent), Box::new(none)), TermType::Bool))
    }

    fn convert_case(&mut self, call: &Expr, arguments: &[Expr]) -> Result<Typed, OttlError> {
        let [target, case] = arguments else {
            let message = format!("ConvertCase takes 2 arguments, not {}", arguments.len());
            return Err(OttlError::new(call.offset, message));
        };
        let function = match super::function::text(case)? {
            "lower" => Function::ToLowerCase,
            "upper" => Function::ToUpperCase,
            _ => {
                return Err(OttlError::new(case.offset, "unknown case").help("write \"lower\" or \"upper\""));
            }
        };
        let terms = self.arguments(call, "ConvertCase", std::slice::from_ref(target), &[&[TermType::Text]], 0)?;
        Ok(Typed::new(Term::Call(function, terms), TermType::Text))
    }

    fn is_match(&mut self, call: &Expr, arguments: &[Expr]) -> Result<Typed, OttlError> {
        let [target, pattern] = arguments else {
            let message = format!("IsMatch takes 2 arguments, not {}", arguments.len());
            return Err(OttlError::new(call.offset, message));
        };
        let compiled: Pattern = super::function::pattern(pattern)?;
        let kinds = &[TermType::Text, TermType::Bool, TermType::Int, TermType::Double];
        let terms = self.arguments(call, "IsMatch", std::slice::from_ref(target), &[kinds], 0)?;
        Ok(Typed::new(Term::Call(Function::IsMatch(Box::new(compiled)), terms), TermType::Bool))
    }
}

/// The types of the arguments and of the result of a function.
struct FunctionSignature {
    function: Function,
    /// The kinds that each argument may have; an empty list allows any kind.
    kinds: &'static [&'static [TermType]],
    /// The number of arguments at the end that may be left out.
    optional: usize,
    kind: TermType,
}

/// Returns the signature of a function whose arguments are all terms.
fn signature(name: &str) -> Option<FunctionSignature> {
    use TermType::{Any, Bool, Bytes, Double, Duration, Int, List, Map, Text, Time};
    let (function, kinds, kind): (Function, &[&[TermType]], TermType) = match name {
        "Bool" => (Function::Bool, &[&[Bool, Int, Double, Text]], Bool),
        "Int" => (Function::Int, &[&[Bool, Int, Double, Text]], Int),
        "Double" => (Function::Double, &[&[Bool, Int, Double, Text]], Double),
        "String" => (Function::String, &[&[Bool, Int, Double, Text]], Text),
        "Coalesce" => (Function::Coalesce, &[&[List]], Any),
        "Concat" => (Function::Concat, &[&[List], &[Text]], Text),
        "Split" => (Function::Split, &[&[Text], &[Text]], List),
        "Substring" => (Function::Substring, &[&[Text], &[Int], &[Int]], Text),
        "ToLowerCase" => (Function::ToLowerCase, &[&[Text]], Text),
        "ToUpperCase" => (Function::ToUpperCase, &[&[Text]], Text),
        "Trim" => (Function::Trim, &[&[Text], &[Text]], Text),
        "TrimPrefix" => (Function::TrimPrefix, &[&[Text], &[Text]], Text),
        "TrimSuffix" => (Function::TrimSuffix, &[&[Text], &[Text]], Text),
        "HasPrefix" => (Function::HasPrefix, &[&[Text], &[Text]], Bool),
        "HasSuffix" => (Function::HasSuffix, &[&[Text], &[Text]], Bool),
        "Contains" => (Function::Contains, &[&[Text], &[Text]], Bool),
        "ContainsValue" => (Function::ContainsValue, &[&[List], &[]], Bool),
        "Index" => (Function::Index, &[&[Text, List], &[]], Int),
        "IsEmpty" => (Function::IsEmpty, &[&[]], Bool),
        "Len" => (Function::Len, &[&[Text, Bytes, List, Map]], Int),
        "IsString" => (Function::IsType(ValueType::String), &[&[Any]], Bool),
        "IsBool" => (Function::IsType(ValueType::Bool), &[&[Any]], Bool),
        "IsInt" => (Function::IsType(ValueType::Int), &[&[Any]], Bool),
        "IsDouble" => (Function::IsType(ValueType::Double), &[&[Any]], Bool),
        "IsList" => (Function::IsType(ValueType::List), &[&[Any]], Bool),
        "IsMap" => (Function::IsType(ValueType::Map), &[&[Any]], Bool),
        "Nanoseconds" => (Function::DurationParts(1), &[&[Duration]], Int),
        "Microseconds" => (Function::DurationParts(1_000), &[&[Duration]], Int),
        "Milliseconds" => (Function::DurationParts(1_000_000), &[&[Duration]], Int),
        "Seconds" => (Function::DurationRatio(1e9), &[&[Duration]], Double),
        "Minutes" => (Function::DurationRatio(60e9), &[&[Duration]], Double),
        "Hours" => (Function::DurationRatio(3600e9), &[&[Duration]], Double),
        "Year" => (Function::TimePart(TimePart::Year), &[&[Time]], Int),
        "Month" => (Function::TimePart(TimePart::Month), &[&[Time]], Int),
        "Day" => (Function::TimePart(TimePart::Day), &[&[Time]], Int),
        "Weekday" => (Function::TimePart(TimePart::Weekday), &[&[Time]], Int),
        "Hour" => (Function::TimePart(TimePart::Hour), &[&[Time]], Int),
        "Minute" => (Function::TimePart(TimePart::Minute), &[&[Time]], Int),
        "Second" => (Function::TimePart(TimePart::Second), &[&[Time]], Int),
        "Nanosecond" => (Function::TimePart(TimePart::Nanosecond), &[&[Time]], Int),
        "UnixNano" => (Function::Unix(1), &[&[Time]], Int),
        "UnixMicro" => (Function::Unix(1_000), &[&[Time]], Int),
        "UnixMilli" => (Function::Unix(1_000_000), &[&[Time]], Int),
        "UnixSeconds" => (Function::Unix(1_000_000_000), &[&[Time]], Int),
        _ => return None,
    };
    Some(FunctionSignature { function, kinds, optional: usize::from(name == "Trim"), kind })
}

/// Compiles a key or an index in brackets after a value.
fn index(inner: Typed, key: &Expr) -> Result<Typed, OttlError> {
    let term = match &key.node {
        ExprNode::Text(key_text) if matches!(inner.kind, TermType::Any | TermType::Map) => {
            Term::Key(Box::new(inner.term), key_text.clone())
        }
        ExprNode::Int(number) if matches!(inner.kind, TermType::Any | TermType::List) => {
            let number = usize::try_from(*number);
            let number =
                number.map_err(|_| OttlError::new(key.offset, "the index is below 0").help("the first index is 0"))?;
            Term::Element(Box::new(inner.term), number)
        }
        ExprNode::Text(_) | ExprNode::Int(_) => {
            return Err(OttlError::new(key.offset, format!("{} has no keys of this type", inner.kind.shown()))
                .help("maps have strings as keys, lists have integers"));
        }
        _ => {
            return Err(OttlError::new(key.offset, "the key is not a constant")
                .help("write a string in double quotes or an integer"));
        }
    };
    Ok(Typed::new(term, TermType::Any))
}

fn is_time(field: &Field) -> bool {
    matches!(field, Field::StartTime | Field::EndTime | Field::EventTime)
}

fn shown(owner: FieldOwner) -> &'static str {
    match owner {
        FieldOwner::Resource => "a resource",
        FieldOwner::Scope => "a scope",
        FieldOwner::Span => "a span",
        FieldOwner::Event => "an event",
    }
}

fn kind_of(constant: &Constant) -> TermType {
    match constant {
        Constant::Nil => TermType::Nil,
        Constant::Bool(_) => TermType::Bool,
        Constant::Int(_) => TermType::Int,
        Constant::Double(_) => TermType::Double,
        Constant::Text(_) => TermType::Text,
        Constant::Bytes(_) => TermType::Bytes,
        Constant::Duration(_) => TermType::Duration,
        Constant::Id(_) => TermType::Id,
    }
}
