//! Calls of functions (`ottlfuncs/README.md`, Converters).

use crate::condition::{Check, Condition, Field, Pattern, ValueType};
use crate::settings::suggest::did_you_mean;

use super::answer::{TruthConditions, absent, test};
use super::compare::{compare, equality_check};
use super::compile::operand;
use super::grammar::{CompareOp, Expr, ExprNode};
use super::lexer::{bytes_of_hex, quote};
use super::value::{Constant, FieldView, Measure, Operand};
use super::{ConditionContext, OttlError};

/// The names of all functions that conditions can call.
pub(super) const NAMES: [&str; 50] = [
    "Bool",
    "Coalesce",
    "Concat",
    "Contains",
    "ContainsValue",
    "ConvertCase",
    "Day",
    "Double",
    "Duration",
    "HasPrefix",
    "HasSuffix",
    "Hour",
    "Hours",
    "Index",
    "Int",
    "IsBool",
    "IsDouble",
    "IsEmpty",
    "IsInt",
    "IsList",
    "IsMap",
    "IsMatch",
    "IsRootSpan",
    "IsString",
    "Len",
    "Microseconds",
    "Milliseconds",
    "Minute",
    "Minutes",
    "Month",
    "Nanosecond",
    "Nanoseconds",
    "Second",
    "Seconds",
    "SpanID",
    "Split",
    "String",
    "Substring",
    "ToLowerCase",
    "ToUpperCase",
    "TraceID",
    "Trim",
    "TrimPrefix",
    "TrimSuffix",
    "UnixMicro",
    "UnixMilli",
    "UnixNano",
    "UnixSeconds",
    "Weekday",
    "Year",
];

/// A call of a function.
pub(super) struct FunctionCall<'a> {
    pub(super) name: &'a str,
    pub(super) arguments: &'a [Expr],
    pub(super) offset: usize,
    pub(super) context: ConditionContext,
}

impl<'a> FunctionCall<'a> {
    pub(super) fn operand(&self) -> Result<Operand, OttlError> {
        match self.name {
            "IsMatch" => self.is_match(),
            "HasPrefix" => self.part(Check::HasPrefix),
            "HasSuffix" => self.part(Check::HasSuffix),
            "Contains" => self.part(Check::Contains),
            "ContainsValue" => self.contains_value(),
            "IsString" => self.is_type(ValueType::String),
            "IsBool" => self.is_type(ValueType::Bool),
            "IsInt" => self.is_type(ValueType::Int),
            "IsDouble" => self.is_type(ValueType::Double),
            "IsMap" => self.is_type(ValueType::Map),
            "IsList" => self.is_type(ValueType::List),
            "IsRootSpan" => self.is_root_span(),
            "Len" => self.length(),
            "String" => self.string(),
            "Duration" => self.duration(),
            "Nanoseconds" => self.of_duration(FieldView::Integer),
            "Microseconds" => self.of_duration(FieldView::Quotient(1_000)),
            "Milliseconds" => self.of_duration(FieldView::Quotient(1_000_000)),
            "Seconds" => self.of_duration(FieldView::Ratio(1e9)),
            "Minutes" => self.of_duration(FieldView::Ratio(60e9)),
            "Hours" => self.of_duration(FieldView::Ratio(3600e9)),
            "TraceID" => self.id(16),
            "SpanID" => self.id(8),
            name if NAMES.contains(&name) => {
                Err(OttlError::new(self.offset, format!("the function {name}")).beyond_tests())
            }
            name => Err(unknown(name, self.offset)),
        }
    }

    /// Compiles `IsMatch`. The pattern is matched against the text of a string, boolean, integer or double. Lists,
    /// maps, bytes and nil do not match.
    fn is_match(&self) -> Result<Operand, OttlError> {
        let [target, pattern] = self.exactly()?;
        let pattern = self::pattern(pattern)?;
        let Measure { field, view } = self.measure(target)?;
        let condition = match view {
            FieldView::Attribute | FieldView::ToText => test(&field, Check::MatchesText(pattern), false),
            FieldView::Text => {
                let is_match = pattern.is_match(b"");
                test(&field, Check::Matches(pattern), is_match)
            }
            _ => return Err(self.no_string(target, view)),
        };
        Ok(Operand::Answer(TruthConditions::of(condition)))
    }

    /// Compiles `HasPrefix`, `HasSuffix` or `Contains`. The function is an error for a value that is not a string.
    fn part(&self, check: fn(String) -> Check) -> Result<Operand, OttlError> {
        let [target, part] = self.exactly()?;
        let ExprNode::Text(part) = &part.node else {
            return Err(OttlError::new(part.offset, "not a string").beyond_tests());
        };
        let Measure { field, view } = self.measure(target)?;
        let condition = test(&field, check(part.clone()), part.is_empty());
        match view {
            FieldView::Attribute => {
                Ok(Operand::Answer(TruthConditions::among(is_of_type(&field, ValueType::String), condition)))
            }
            FieldView::Text => Ok(Operand::Answer(TruthConditions::of(condition))),
            _ => Err(self.no_string(target, view)),
        }
    }

    /// Compiles `ContainsValue` for a list of constants and a field, or for an attribute and a constant.
    fn contains_value(&self) -> Result<Operand, OttlError> {
        let [list, item] = self.exactly()?;
        let answer = match (operand(list, self.context)?, operand(item, self.context)?) {
            (Operand::List(values), Operand::Field(measure)) => one_of(&measure, &values, list.offset)?,
            (Operand::Field(Measure { field, view: FieldView::Attribute }), Operand::Constant(constant)) => {
                let check = equality_check(&constant).ok_or_else(|| {
                    OttlError::new(item.offset, format!("{} as the item of a list", constant.shown()))
                        .help("look for a string, a number, a boolean or bytes")
                })?;
                TruthConditions::among(
                    is_of_type(&field, ValueType::List),
                    test(&field, Check::Element(Box::new(check)), false),
                )
            }
            (list_operand, item_operand) => {
                let (list_shown, item_shown) = (list_operand.shown(), item_operand.shown());
                let message = format!("ContainsValue of {list_shown} and {item_shown}");
                return Err(OttlError::new(list.offset, message).beyond_tests());
            }
        };
        Ok(Operand::Answer(answer))
    }

    fn is_type(&self, value_type: ValueType) -> Result<Operand, OttlError> {
        let [target] = self.exactly()?;
        let Measure { field, view } = self.measure(target)?;
        if view != FieldView::Attribute {
            return Err(OttlError::new(target.offset, format!("this is always {}", view.shown()))
                .help("only attributes can have different types"));
        }
        Ok(Operand::Answer(TruthConditions::of(is_of_type(&field, value_type))))
    }

    fn is_root_span(&self) -> Result<Operand, OttlError> {
        let [] = self.exactly()?;
        if self.context == ConditionContext::Resource {
            return Err(OttlError::new(self.offset, "IsRootSpan cannot be used in a resource condition"));
        }
        Ok(Operand::Answer(TruthConditions::of(absent(&Field::ParentSpanId))))
    }

    fn length(&self) -> Result<Operand, OttlError> {
        let [target] = self.exactly()?;
        let Measure { field, view } = self.measure(target)?;
        match view {
            FieldView::Attribute | FieldView::Text => Ok(Operand::Field(Measure::new(field, FieldView::Length))),
            _ => Err(self.no_string(target, view)),
        }
    }

    fn string(&self) -> Result<Operand, OttlError> {
        let [target] = self.exactly()?;
        let Measure { field, view } = self.measure(target)?;
        if view != FieldView::Attribute {
            return Err(OttlError::new(target.offset, format!("{} of {}", self.name, view.shown())).beyond_tests());
        }
        Ok(Operand::Field(Measure::new(field, FieldView::ToText)))
    }

    fn duration(&self) -> Result<Operand, OttlError> {
        let [written] = self.exactly()?;
        let nanoseconds = nanoseconds(text(written)?).ok_or_else(|| {
            OttlError::new(written.offset, "not a duration").help("write \"500ms\", \"1.5s\" or \"1m30s\"")
        })?;
        Ok(Operand::Constant(Constant::Duration(nanoseconds)))
    }

    fn of_duration(&self, view: FieldView) -> Result<Operand, OttlError> {
        let [target] = self.exactly()?;
        let measure = self.measure(target)?;
        if measure.view != FieldView::Duration {
            return Err(
                OttlError::new(target.offset, format!("{} of {}", self.name, measure.view.shown())).beyond_tests()
            );
        }
        Ok(Operand::Field(Measure::new(measure.field, view)))
    }

    /// Compiles `TraceID` or `SpanID`. The argument is bytes or a string of hexadecimal digits.
    fn id(&self, length: usize) -> Result<Operand, OttlError> {
        let [written] = self.exactly()?;
        let bytes = match &written.node {
            ExprNode::Bytes(bytes) => Some(bytes.clone()),
            ExprNode::Text(text) => bytes_of_hex(text),
            _ => None,
        };
        let bytes = bytes.filter(|bytes| bytes.len() == length).ok_or_else(|| {
            let digits = "0".repeat(2 * length);
            OttlError::new(written.offset, format!("{} takes {length} bytes", self.name))
                .help(format!("write `{}(0x{digits})` with your own digits", self.name))
        })?;
        Ok(Operand::Constant(Constant::Id(bytes)))
    }

    /// Returns the arguments if there are exactly `N`.
    fn exactly<const N: usize>(&self) -> Result<&'a [Expr; N], OttlError> {
        self.arguments.try_into().map_err(|_| {
            let message = format!("{} takes {N} arguments, not {}", self.name, self.arguments.len());
            OttlError::new(self.offset, message)
        })
    }

    /// Compiles an argument that must be a field.
    fn measure(&self, argument: &Expr) -> Result<Measure, OttlError> {
        match operand(argument, self.context)? {
            Operand::Field(measure) => Ok(measure),
            Operand::Constant(constant) => {
                let message = format!("{} of {}", self.name, constant.shown());
                Err(OttlError::new(argument.offset, message).help("the argument must be a path"))
            }
            other => {
                let message = format!("{} of {}", self.name, other.shown());
                Err(OttlError::new(argument.offset, message).beyond_tests())
            }
        }
    }

    fn no_string(&self, target: &Expr, view: FieldView) -> OttlError {
        OttlError::new(target.offset, format!("{} of {}", self.name, view.shown())).beyond_tests()
    }
}

/// Makes the error for a name that is not a function of conditions.
pub(super) fn unknown(name: &str, offset: usize) -> OttlError {
    let error = OttlError::new(offset, format!("{} is not a supported function", quote(name)));
    match did_you_mean(name, NAMES.into_iter()) {
        Some(help) => error.help(help),
        None => error.help(format!("known functions are {}", NAMES.join(", "))),
    }
}

fn is_of_type(field: &Field, value_type: ValueType) -> Condition {
    test(field, Check::Type(value_type), false)
}

/// Compiles the condition that a field equals one of the values. If all values are strings, they make a single test.
fn one_of(measure: &Measure, values: &[Constant], offset: usize) -> Result<TruthConditions, OttlError> {
    let texts = values.iter().map(|value| match value {
        Constant::Text(text) => Some(text.clone()),
        _ => None,
    });
    let texts: Option<Vec<String>> = texts.collect();
    if let (FieldView::Attribute | FieldView::Text, Some(mut texts)) = (measure.view, texts) {
        texts.sort();
        texts.dedup();
        let has_empty = texts.first().is_some_and(String::is_empty);
        return Ok(TruthConditions::of(test(&measure.field, Check::OneOf(texts), has_empty)));
    }
    let parts = values.iter().map(|value| compare(CompareOp::Eq, measure, value, offset));
    Ok(TruthConditions::any(parts.collect::<Result<_, _>>()?))
}

/// Compiles an argument that must be a regular expression.
pub(super) fn pattern(argument: &Expr) -> Result<Pattern, OttlError> {
    Pattern::new(text(argument)?).map_err(|error| {
        let message = format!("not a regular expression: {error}");
        OttlError::new(argument.offset, message).help(error.help)
    })
}

/// Returns the text of an argument that must be a string constant.
pub(super) fn text(argument: &Expr) -> Result<&str, OttlError> {
    match &argument.node {
        ExprNode::Text(text) => Ok(text),
        _ => Err(OttlError::new(argument.offset, "not a string").help("write it in double quotes")),
    }
}

/// Parses a duration like Go's `time.ParseDuration`: an optional sign, then decimal numbers, each with a unit. A single
/// `0` needs no unit.
fn nanoseconds(text: &str) -> Option<i64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut rest = unsigned;
    let mut sum: i128 = 0;
    if unsigned == "0" {
        return Some(0);
    }
    if unsigned.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        let unit = rest[number..].find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len() - number);
        let unit_nanoseconds = match &rest[number..number + unit] {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        sum = sum.checked_add(scaled(&rest[..number], unit_nanoseconds)?)?;
        rest = &rest[number + unit..];
    }
    i64::try_from(if text.starts_with('-') { -sum } else { sum }).ok()
}

/// Multiplies a decimal number by a unit, rounded down.
fn scaled(decimal: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    // An hour in nanoseconds has 13 digits. Digits after the 14th of the fraction are less than a nanosecond.
    let fraction = &fraction[..fraction.len().min(14)];
    let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<i128>().ok() };
    let part = digits(fraction)?.checked_mul(unit)? / 10_i128.pow(fraction.len() as u32);
    digits(whole)?.checked_mul(unit)?.checked_add(part)
}
