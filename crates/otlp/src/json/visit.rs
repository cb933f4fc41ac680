//! serde visitors that convert JSON to protobuf. Each walks one JSON value and only writes bytes.

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::output::MessageOutput;
use super::scalar::ScalarVisitor;
use super::schema::{JsonField, JsonMessage, JsonType};

/// The most bytes of an unknown key that an error quotes.
const SHOWN_KEY_LEN_MAX: usize = 64;

/// The visitor of a JSON object whose keys are the fields of `message`.
pub(super) struct ObjectVisitor<'o> {
    pub(super) message: &'static JsonMessage,
    pub(super) out: &'o mut MessageOutput,
}

impl<'de> DeserializeSeed<'de> for ObjectVisitor<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ObjectVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object ({})", self.message.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let ObjectVisitor { message, out } = self;
        let mut hint = 0;
        let mut single = None;
        let mut strays = Strays::default();
        while let Some(key) = map.next_key_seed(KeyVisitor { message, hint, strays: &mut strays })? {
            let Some(index) = key else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            hint = index + 1;
            let field = &message.fields[index];
            let start = out.len();
            map.next_value_seed(ValueVisitor { field, kind: field.kind, out: &mut *out })?;
            if message.oneof || matches!(field.kind, JsonType::Message(_)) {
                replace(out, &mut single, start);
            }
        }
        strays.check(message)
    }
}

/// Removes the earlier occurrence of the field that was written from `start` on. A submessage therefore occurs once,
/// even if its key occurs several times. A message of the schema has at most one singular submessage or one `oneof`, so
/// one `previous` is enough.
fn replace(out: &mut MessageOutput, previous: &mut Option<Range<usize>>, start: usize) {
    // A `null` writes nothing, so it replaces nothing.
    if out.len() > start {
        let len = out.len() - start;
        if let Some(range) = previous.take() {
            out.remove(range);
        }
        *previous = Some(out.len() - len..out.len());
    }
}

/// Facts about the keys of an object on the way to the spans. They show if its spans would be lost without an error.
#[derive(Default)]
struct Strays {
    /// The first unknown key.
    unknown: Option<String>,
    /// True if the object has the key that leads to the spans.
    spans: bool,
}

impl Strays {
    #[cold]
    fn note(&mut self, key: &[u8]) {
        if self.unknown.is_none() {
            let shown = &key[..key.len().min(SHOWN_KEY_LEN_MAX)];
            self.unknown = Some(String::from_utf8_lossy(shown).into_owned());
        }
    }

    /// Refuses an object that has an unknown key and lacks the key that leads to the spans.
    fn check<E: Error>(&self, message: &JsonMessage) -> Result<(), E> {
        match (message.spans_key, &self.unknown) {
            (Some(expected), Some(unknown)) if !self.spans => Err(E::custom(format_args!(
                "no `{expected}` in {}, but the unknown key {unknown:?}{}",
                message.name,
                advice(unknown)
            ))),
            _ => Ok(()),
        }
    }
}

/// Returns the advice for a sender that wrote `key` in place of the key that leads to the spans; empty if there is
/// none.
fn advice(key: &str) -> &'static str {
    match key {
        "resourceLogs" | "resource_logs" | "resourceMetrics" | "resource_metrics" | "resourceProfiles"
        | "resource_profiles" => ": only traces are accepted here",
        "instrumentationLibrarySpans" | "instrumentation_library_spans" => ": OTLP has renamed it to `scopeSpans`",
        _ => "",
    }
}

/// The visitor of an object's key. It returns the index of the field, if the key is known.
struct KeyVisitor<'s> {
    message: &'static JsonMessage,
    hint: usize,
    strays: &'s mut Strays,
}

impl<'de> DeserializeSeed<'de> for KeyVisitor<'_> {
    type Value = Option<usize>;

    /// Reads the key as bytes, so that a key that is not valid text counts as unknown.
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for KeyVisitor<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_bytes<E: Error>(self, key: &[u8]) -> Result<Option<usize>, E> {
        let index = self.message.find(key, self.hint);
        if let Some(expected) = self.message.spans_key {
            match index {
                Some(index) => self.strays.spans |= self.message.fields[index].name == expected,
                None => self.strays.note(key),
            }
        }
        Ok(index)
    }
}

/// The visitor of a value of the type `kind` for `field`. A `null` writes nothing.
struct ValueVisitor<'o> {
    field: &'static JsonField,
    kind: JsonType,
    out: &'o mut MessageOutput,
}

impl<'de> DeserializeSeed<'de> for ValueVisitor<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for ValueVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.field.name)
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let ValueVisitor { field, kind, out } = self;
        match kind {
            JsonType::Message(message) => {
                let open = out.open(field.number);
                ObjectVisitor { message, out: &mut *out }.deserialize(deserializer)?;
                out.close(open);
                Ok(())
            }
            JsonType::Messages(message) => {
                deserializer.deserialize_seq(ListVisitor { field, kind: JsonType::Message(message), out })
            }
            JsonType::Strings => deserializer.deserialize_seq(ListVisitor { field, kind: JsonType::String, out }),
            _ => ScalarVisitor { field, kind, out }.deserialize(deserializer),
        }
    }
}

/// The visitor of a JSON array: the elements of the repeated `field`, each of the type `kind`.
struct ListVisitor<'o> {
    field: &'static JsonField,
    kind: JsonType,
    out: &'o mut MessageOutput,
}

impl<'de> Visitor<'de> for ListVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list as `{}`", self.field.name)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let ListVisitor { field, kind, out } = self;
        loop {
            let start = out.len();
            if seq.next_element_seed(ValueVisitor { field, kind, out: &mut *out })?.is_none() {
                return Ok(());
            }
            if out.len() == start {
                // A `null` becomes an empty element. The others keep their places, and a lost span is counted.
                out.bytes(field.number, &[]);
            }
        }
    }
}
