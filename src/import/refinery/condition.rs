//! Conditions of rules as OTTL (refinery `config/sampler_config.go`, `sample/rules.go`). Refinery's fields are the
//! attributes of a span, its resource and its scope, and fields that it makes itself.

use super::policy;
use crate::import::draft::Item;
use crate::import::foreign::Foreign;
use crate::import::scalar;
use crate::settings::node::ScalarType;

/// Bytes of an OTTL condition.
const OTTL_BYTES_MAX: usize = 4_096;
const NANOSECONDS_PER_MS: f64 = 1e6;
/// Codes of a span's own status; a larger number is one of HTTP.
const STATUS_CODE_MAX: f64 = 2.0;
const KINDS: [(&str, &str); 6] = [
    ("unspecified", "SPAN_KIND_UNSPECIFIED"),
    ("internal", "SPAN_KIND_INTERNAL"),
    ("server", "SPAN_KIND_SERVER"),
    ("client", "SPAN_KIND_CLIENT"),
    ("producer", "SPAN_KIND_PRODUCER"),
    ("consumer", "SPAN_KIND_CONSUMER"),
];
const ROOT: &str = "IsRootSpan()";
/// Values of `trace.parent_id` for a span without a parent, as rules are written. The field is absent then.
const NO_PARENT: [&str; 2] = ["root", ""];

/// A test of a trace.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    /// A condition holds for one of the spans, or for none.
    Span { condition: String, is_negated: bool },
    /// The number of spans is in this range, or is not. A maximum of 0 means that there is no upper bound.
    Count { min: u64, max: u64, is_negated: bool },
}

impl Test {
    fn span(condition: String) -> Result<Self, String> {
        if condition.len() > OTTL_BYTES_MAX {
            return Err(format!("its condition would be longer than {OTTL_BYTES_MAX} bytes"));
        }
        Ok(Test::Span { condition, is_negated: false })
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Test::Span { condition, .. } => condition.len() + 100,
            Test::Count { .. } => 100,
        }
    }

    pub(super) fn negated(&self) -> Self {
        match self.clone() {
            Test::Span { condition, is_negated } => Test::Span { condition, is_negated: !is_negated },
            Test::Count { min, max, is_negated } => Test::Count { min, max, is_negated: !is_negated },
        }
    }

    /// Returns the test as a policy.
    pub(super) fn policy(&self, name: &str) -> Item {
        let (kind, section, is_negated) = match self {
            Test::Span { condition, is_negated } => {
                let conditions = Item::list(vec![Item::text(&scalar::escaped(condition))]);
                ("ottl_condition", Item::map(vec![("span", conditions)]), is_negated)
            }
            Test::Count { min, max, is_negated } => {
                let bounds = [("min_spans", min), ("max_spans", max)].into_iter().filter(|(_, bound)| **bound > 0);
                let entries = bounds.map(|(key, bound)| (key, Item::yaml(bound.to_string()))).collect();
                ("span_count", Item::map(entries), is_negated)
            }
        };
        if !is_negated {
            return policy(name, kind, Some(section));
        }
        let inner = policy("", kind, Some(section));
        policy(name, "not", Some(Item::map(vec![("not_sub_policy", inner)])))
    }
}

/// Returns the tests for conditions that must all hold: each for any span, or with `is_span` all for one and the same.
///
/// # Errors
/// One of the conditions cannot be carried; the error says why.
pub(super) fn tests(conditions: &[Foreign<'_>], is_span: bool) -> Result<Vec<Test>, String> {
    let mut tests = Vec::new();
    let mut together = Vec::new();
    for condition in conditions {
        match read(condition).map_err(|reason| format!("`{}`: {reason}", condition.path))? {
            Part::Trace(_) if is_span && is_about_root(condition) => {
                return Err("`has-root-span` never matches with `Scope: span`".to_owned());
            }
            Part::Trace(test) => tests.push(test),
            Part::Span(text) if is_span => together.push(text),
            Part::Span(text) => tests.push(Test::span(text)?),
        }
    }
    match together.as_slice() {
        [] => {}
        [only] => tests.push(Test::span(only.clone())?),
        all => tests.push(Test::span(all.iter().map(|text| format!("({text})")).collect::<Vec<_>>().join(" and "))?),
    }
    Ok(tests)
}

fn is_about_root(condition: &Foreign<'_>) -> bool {
    condition.get("Operator").is_some_and(|operator| operator.is_text("has-root-span"))
}

/// Returns what the result makes of a condition that Refinery reads in another way.
pub(super) fn difference(condition: &Foreign<'_>) -> Option<&'static str> {
    let fields: Vec<_> = ["Field", "Fields"]
        .iter()
        .filter_map(|key| condition.filled(key))
        .flat_map(|list| list.one_or_more())
        .collect();
    let is_parent = |field: &Foreign<'_>| field.is_text("trace.parent_id") || field.is_text("root.trace.parent_id");
    let is_equal = condition.get("Operator").is_some_and(|operator| operator.is_text("="));
    let names_none = condition.get("Value").is_some_and(|value| NO_PARENT.iter().any(|text| value.is_text(text)));
    (is_equal && names_none && fields.iter().any(is_parent)).then_some(
        "taken as a span without a parent, as Refinery's documents mean it; in Refinery, such a span of OTLP has no \
         `trace.parent_id`, so the condition never holds (`Operator: not-exists` does)",
    )
}

/// A condition: of one span, or of the trace whatever the scope is.
enum Part {
    Span(String),
    Trace(Test),
}

fn read(condition: &Foreign<'_>) -> Result<Part, String> {
    let operator = condition.get("Operator").and_then(|operator| operator.text()).ok_or("it has no `Operator`")?;
    let operator = operator.to_lowercase();
    let value = condition.filled("Value");
    if operator == "has-root-span" {
        let is_wanted =
            value.is_some_and(|value| value.text().is_some_and(|text| ["true", "True", "1"].contains(&text)));
        return Ok(Part::Trace(Test::Span { condition: ROOT.to_owned(), is_negated: !is_wanted }));
    }
    let fields = ["Field", "Fields"].iter().filter_map(|key| condition.filled(key));
    let fields: Vec<&str> = fields.flat_map(|list| list.one_or_more()).filter_map(|field| field.text()).collect();
    let comparison = Comparison { operator, value, datatype: condition.get("Datatype").and_then(|kind| kind.text()) };
    match fields.as_slice() {
        [] => Err("it has no `Field`".to_owned()),
        ["?.NUM_DESCENDANTS"] => comparison.count().map(Part::Trace),
        _ if fields.iter().all(|field| field.starts_with("root.")) => {
            let fields: Vec<&str> = fields.iter().map(|field| &field["root.".len()..]).collect();
            let text = comparison.of_fields(&fields)?;
            Test::span(format!("{ROOT} and ({text})")).map(Part::Trace)
        }
        _ if fields.iter().any(|field| field.starts_with("root.")) => {
            Err("it mixes fields of the root with others".to_owned())
        }
        _ => comparison.of_fields(&fields).map(Part::Span),
    }
}

/// The operator of a condition, with its value.
struct Comparison<'a> {
    operator: String,
    value: Option<Foreign<'a>>,
    datatype: Option<&'a str>,
}

impl Comparison<'_> {
    /// Returns the condition for the first of several fields that a span has.
    fn of_fields(&self, fields: &[&str]) -> Result<String, String> {
        let each: Vec<String> = fields.iter().map(|field| self.of_field(field)).collect::<Result<_, _>>()?;
        Ok(self.joined(&each))
    }

    /// Joins the conditions on several places: a negative one must hold at all of them, because it holds where nothing is.
    fn joined(&self, each: &[String]) -> String {
        let is_negative = matches!(self.operator.as_str(), "not-exists" | "does-not-contain" | "not-in");
        if each.len() == 1 {
            return each.concat();
        }
        each.iter().map(|one| format!("({one})")).collect::<Vec<_>>().join(if is_negative { " and " } else { " or " })
    }

    fn of_field(&self, field: &str) -> Result<String, String> {
        let own = |reason: &str| {
            Err(format!("`{}` is a field of Refinery itself{reason}", crate::import::foreign::shown(field)))
        };
        match field {
            "duration_ms" => self.duration(),
            "error" => self.error(),
            "trace.parent_id" if self.operator == "exists" => Ok(format!("not {ROOT}")),
            "trace.parent_id" if self.operator == "not-exists" => Ok(ROOT.to_owned()),
            "trace.parent_id" if self.is_about_no_parent() => {
                Ok(if self.operator == "=" { ROOT.to_owned() } else { format!("not {ROOT}") })
            }
            "trace.parent_id" => self.parent(),
            "trace.trace_id" => self.of_path("trace_id.string", false),
            "trace.span_id" => self.of_path("span_id.string", false),
            "name" => self.of_path("name", false),
            "status_message" => self.of_path("status.message", false),
            "library.name" => self.of_path("scope.name", false),
            "library.version" => self.of_path("scope.version", false),
            "span.kind" => self.kind(),
            "status_code" if self.number().is_some_and(|code| (0.0..=STATUS_CODE_MAX).contains(&code)) => {
                self.of_path("status.code", false)
            }
            _ if field.starts_with("meta.") || field.starts_with("?.") || field.starts_with("span.num_") => own(""),
            _ => {
                let key = ottl_text(field);
                let places = [format!("attributes[{key}]"), format!("resource.attributes[{key}]")];
                let range = places_of(field);
                let each: Vec<String> =
                    places[range].iter().map(|path| self.of_path(path, true)).collect::<Result<_, _>>()?;
                Ok(self.joined(&each))
            }
        }
    }

    /// Returns the condition on the id of the parent. A span without a parent does not have the field in Refinery, and the
    /// text of its id is made of zeros here.
    fn parent(&self) -> Result<String, String> {
        let condition = self.of_path("parent_span_id.string", false)?;
        Ok(match self.operator.as_str() {
            // A rule names the id of a span, which is never that of zeros.
            "=" => condition,
            // These hold where the field is absent.
            "not-in" | "does-not-contain" => format!("{ROOT} or {condition}"),
            _ => format!("not {ROOT} and ({condition})"),
        })
    }

    fn number(&self) -> Option<f64> {
        self.value.as_ref()?.number()
    }

    /// Returns true if the parent's id is compared with a text that no id is, which Refinery's documents write for spans
    /// without a parent.
    fn is_about_no_parent(&self) -> bool {
        let is_text = matches!(self.datatype, None | Some("string"));
        let value = self.value.as_ref().and_then(Foreign::text);
        let names_none = value.is_some_and(|text| NO_PARENT.contains(&text));
        is_text && names_none && ["=", "!="].contains(&self.operator.as_str())
    }

    /// Returns the operator of OTTL for one that compares.
    fn sign(&self) -> Option<&'static str> {
        let signs = [("=", "=="), ("!=", "!="), (">", ">"), ("<", "<"), (">=", ">="), ("<=", "<=")];
        signs.iter().find(|(own, _)| *own == self.operator).map(|(_, sign)| *sign)
    }

    fn unfit(&self, what: &str) -> String {
        format!("the operator `{}` does not fit {what}", crate::import::foreign::shown(&self.operator))
    }

    fn duration(&self) -> Result<String, String> {
        let (sign, ms) = self.sign().zip(self.number()).ok_or_else(|| self.unfit("a duration in milliseconds"))?;
        let nanoseconds = (ms * NANOSECONDS_PER_MS).round();
        if !(0.0..9e18).contains(&nanoseconds) {
            return Err("its duration is out of range".to_owned());
        }
        Ok(format!("end_time_unix_nano - start_time_unix_nano {sign} {nanoseconds}"))
    }

    /// Refinery sets the field `error` on spans whose status is an error, and on no others.
    fn error(&self) -> Result<String, String> {
        let value = self.value.as_ref().and_then(Foreign::text).unwrap_or_default().to_lowercase();
        match (self.operator.as_str(), value.as_str()) {
            ("exists", _) => Ok("status.code == STATUS_CODE_ERROR or attributes[\"error\"] != nil".to_owned()),
            ("not-exists", _) => Ok("status.code != STATUS_CODE_ERROR and attributes[\"error\"] == nil".to_owned()),
            ("=", "true") | ("!=", "false") => {
                Ok("status.code == STATUS_CODE_ERROR or attributes[\"error\"] == true".to_owned())
            }
            ("=", "false") | ("!=", "true") => Ok("attributes[\"error\"] == false".to_owned()),
            _ => self.of_path("attributes[\"error\"]", true),
        }
    }

    fn kind(&self) -> Result<String, String> {
        let values = self.value.as_ref().map(Foreign::one_or_more).unwrap_or_default();
        let name = |value: &Foreign<'_>| KINDS.iter().find(|(name, _)| value.is_text(name)).map(|(_, kind)| *kind);
        let kinds: Option<Vec<&str>> = values.iter().map(name).collect();
        let kinds = kinds.filter(|kinds| !kinds.is_empty()).ok_or("it is not a kind of span")?;
        let any = kinds.iter().map(|kind| format!("kind == {kind}")).collect::<Vec<_>>().join(" or ");
        match self.operator.as_str() {
            "=" | "in" => Ok(any),
            "!=" | "not-in" => Ok(format!("not ({any})")),
            _ => Err(self.unfit("a kind of span")),
        }
    }

    fn count(&self) -> Result<Test, String> {
        let count = self.value.as_ref().and_then(Foreign::count).filter(|count| *count < 1 << 30);
        let count = count.ok_or_else(|| self.unfit("a number of spans"))?;
        let range = |min, max| Ok(Test::Count { min, max, is_negated: false });
        match self.operator.as_str() {
            ">" => range(count + 1, 0),
            ">=" => range(count, 0),
            "<" if count > 1 => range(0, count - 1),
            "<=" | "=" | "!=" if count == 0 => Err("every trace has a span".to_owned()),
            "<=" => range(0, count),
            "=" => range(count, count),
            "!=" => Ok(Test::Count { min: count, max: count, is_negated: true }),
            _ => Err(self.unfit("a number of spans")),
        }
    }

    /// Returns the condition on the value at `path`, which may be absent.
    fn of_path(&self, path: &str, is_optional: bool) -> Result<String, String> {
        match self.operator.as_str() {
            "exists" | "not-exists" if !is_optional => Err("every span has this field".to_owned()),
            "exists" => Ok(format!("{path} != nil")),
            "not-exists" => Ok(format!("{path} == nil")),
            "starts-with" => self.pattern(path, |text| format!("^{}", quoted_pattern(text))),
            "contains" => self.pattern(path, quoted_pattern),
            "does-not-contain" => self.pattern(path, quoted_pattern).map(|found| format!("not {found}")),
            "matches" => self.pattern(path, str::to_owned),
            "in" => self.one_of(path),
            "not-in" => self.one_of(path).map(|found| format!("not ({found})")),
            _ => self.compared(path, is_optional),
        }
    }

    /// Returns the condition that a pattern is found in the text of the value, whatever its type is.
    fn pattern(&self, path: &str, pattern: impl Fn(&str) -> String) -> Result<String, String> {
        let text = self.value.as_ref().and_then(Foreign::text).ok_or("it has no `Value`")?;
        Ok(format!("IsMatch({path}, {})", ottl_text(&pattern(text))))
    }

    fn one_of(&self, path: &str) -> Result<String, String> {
        let values = self.value.as_ref().map(Foreign::one_or_more).unwrap_or_default();
        let texts: Vec<&str> = values.iter().filter_map(Foreign::text).collect();
        if texts.is_empty() || texts.len() < values.len() {
            return Err("its `Value` is not a list of single values".to_owned());
        }
        let function = match self.datatype {
            Some("int") => "Int",
            Some("float") => "Double",
            _ => {
                let texts = texts.into_iter().map(quoted_pattern).collect::<Vec<_>>().join("|");
                return Ok(format!("IsMatch({path}, {})", ottl_text(&format!("^(?:{texts})$"))));
            }
        };
        let numbers: Option<Vec<f64>> = values.iter().map(Foreign::number).collect();
        let numbers = numbers.ok_or("its `Value` is not a list of numbers")?;
        Ok(numbers.iter().map(|number| format!("{function}({path}) == {number}")).collect::<Vec<_>>().join(" or "))
    }

    fn compared(&self, path: &str, is_optional: bool) -> Result<String, String> {
        let sign = self
            .sign()
            .ok_or_else(|| format!("unknown operator `{}`", crate::import::foreign::shown(&self.operator)))?;
        let scalar = self.value.as_ref().and_then(Foreign::scalar).ok_or("it has no `Value`")?;
        let text = scalar.text.as_str();
        let number = || text.parse::<f64>().ok().filter(|number| number.is_finite());
        match (self.datatype, scalar.kind) {
            (Some("int"), _) => numeric(&format!("Int({path})"), sign, number().map(f64::trunc)),
            (Some("float"), _) => numeric(&format!("Double({path})"), sign, number()),
            (Some("bool"), _) => {
                boolean(&format!("Bool({path})"), sign, text.eq_ignore_ascii_case("true") || text == "1")
            }
            (Some("string"), _) => Ok(format!("String({path}) {sign} {}", ottl_text(text))),
            (None, ScalarType::Bool(value)) => boolean(path, sign, value),
            (None, ScalarType::Int(value)) => numeric(path, sign, Some(value as f64)),
            (None, ScalarType::Float(value)) => numeric(path, sign, Some(value).filter(|value| value.is_finite())),
            // An absent value, or one of another type, is not unequal to a text in Refinery.
            (None, _) if sign == "!=" && is_optional => {
                Ok(format!("IsString({path}) and {path} != {}", ottl_text(text)))
            }
            (None, _) => Ok(format!("{path} {sign} {}", ottl_text(text))),
            (Some(_), _) => Err("its `Datatype` is not known".to_owned()),
        }
    }
}

/// Returns where an attribute can be: on the span (0), on its resource (1), or on both if the semantic conventions of
/// OpenTelemetry do not say.
fn places_of(field: &str) -> std::ops::Range<usize> {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| field.starts_with(prefix));
    if begins(&["service.", "k8s.", "cloud.", "host.", "deployment.", "telemetry.", "process."]) {
        1..2
    } else if begins(&["http.", "url.", "db.", "rpc.", "messaging.", "net.", "server.", "client.", "user_agent."]) {
        0..1
    } else {
        0..2
    }
}

/// Returns a comparison with a number. A value that is absent or not a number is not unequal to one in Refinery.
fn numeric(path: &str, sign: &str, number: Option<f64>) -> Result<String, String> {
    let number = number.ok_or("its `Value` is not a number")?;
    Ok(match sign {
        "!=" => format!("{path} < {number} or {path} > {number}"),
        _ => format!("{path} {sign} {number}"),
    })
}

fn boolean(path: &str, sign: &str, value: bool) -> Result<String, String> {
    match sign {
        "==" => Ok(format!("{path} == {value}")),
        "!=" => Ok(format!("{path} == {}", !value)),
        _ => Err("booleans have no order".to_owned()),
    }
}

/// Returns a text as OTTL writes it: in double quotes, with Go's escapes.
fn ottl_text(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Returns the regular expression that finds `text` itself.
fn quoted_pattern(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
