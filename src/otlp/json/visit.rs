//! serde visitors that write what they are shown. Each walks one JSON value and leaves nothing behind but bytes.

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::output::Output;
use super::scalar::Scalar;
use super::schema::{Field, Kind, Message};

/// An unknown key is shown up to this many bytes in an error.
const SHOWN_KEY_LEN_MAX: usize = 64;

/// A JSON object: the fields of `message`.
pub(super) struct Object<'o> {
    pub(super) message: &'static Message,
    pub(super) out: &'o mut Output,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object ({})", self.message.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Object { message, out } = self;
        let mut hint = 0;
        let mut single = None;
        let mut strays = Strays::default();
        while let Some(key) = map.next_key_seed(Key { message, hint, strays: &mut strays })? {
            let Some(index) = key else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            hint = index + 1;
            let field = &message.fields[index];
            let start = out.len();
            map.next_value_seed(Value { field, kind: field.kind, out: &mut *out })?;
            if message.oneof || matches!(field.kind, Kind::Message(_)) {
                replace(out, &mut single, start);
            }
        }
        strays.check(message)
    }
}

/// The field written from `start` on takes the place of an earlier one, so that a submessage occurs once however often
/// its key does. A message of the schema has at most one singular submessage or one `oneof`: one `previous` serves.
fn replace(out: &mut Output, previous: &mut Option<Range<usize>>, start: usize) {
    // `null` writes nothing and replaces nothing.
    if out.len() > start {
        let len = out.len() - start;
        if let Some(range) = previous.take() {
            out.remove(range);
        }
        *previous = Some(out.len() - len..out.len());
    }
}

/// What an object on the way to the spans says about whether spans would be lost unseen.
#[derive(Default)]
struct Strays {
    /// The first key that is not known.
    unknown: Option<String>,
    /// The key that leads to the spans is there.
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

    /// An object with something in it, but nothing where its spans should be, was not understood.
    fn check<E: Error>(&self, message: &Message) -> Result<(), E> {
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

/// What a sender probably meant by a key that stands in the place of the spans.
fn advice(key: &str) -> &'static str {
    match key {
        "resourceLogs" | "resource_logs" | "resourceMetrics" | "resource_metrics" | "resourceProfiles"
        | "resource_profiles" => ": only traces are taken here",
        "instrumentationLibrarySpans" | "instrumentation_library_spans" => ": OTLP has renamed it to `scopeSpans`",
        _ => "",
    }
}

/// An object's key: the index of its field, if it is known.
struct Key<'s> {
    message: &'static Message,
    hint: usize,
    strays: &'s mut Strays,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    /// As bytes: a key that is not well-formed text is an unknown one.
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for Key<'_> {
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

/// A value of the type `kind` for `field`; `null` writes nothing.
struct Value<'o> {
    field: &'static Field,
    kind: Kind,
    out: &'o mut Output,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.field.name)
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Value { field, kind, out } = self;
        match kind {
            Kind::Message(message) => {
                let open = out.open(field.number);
                Object { message, out: &mut *out }.deserialize(deserializer)?;
                out.close(open);
                Ok(())
            }
            Kind::Messages(message) => deserializer.deserialize_seq(List { field, kind: Kind::Message(message), out }),
            Kind::Strings => deserializer.deserialize_seq(List { field, kind: Kind::String, out }),
            _ => Scalar { field, kind, out }.deserialize(deserializer),
        }
    }
}

/// A JSON array: the elements, of the type `kind`, of the repeated `field`.
struct List<'o> {
    field: &'static Field,
    kind: Kind,
    out: &'o mut Output,
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list as `{}`", self.field.name)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let List { field, kind, out } = self;
        loop {
            let start = out.len();
            if seq.next_element_seed(Value { field, kind, out: &mut *out })?.is_none() {
                return Ok(());
            }
            if out.len() == start {
                // `null`: an empty element, so that the others keep their places and a span is not lost uncounted.
                out.bytes(field.number, &[]);
            }
        }
    }
}
