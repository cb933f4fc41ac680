//! The means by which a module declares its settings, beside the code that obeys them.
//!
//! A module declares a section of the configuration with `section!`: one struct, and for each field its text, default
//! and kind of value, with the limits of the value and their reason. The reader of a file, `docs/configuration.md` and
//! `docs/config.schema.json` are all made from these declarations, so a new key is a new field and nothing else.
//! `config` composes the sections of all modules. Only [`document`] knows YAML.

use std::io;
use std::path::Path;

pub mod diagnostic;
#[cfg(any(test, feature = "yaml"))]
pub mod document;
pub mod environment;
#[cfg(any(test, feature = "yaml"))]
mod expand;
pub mod kinds;
pub mod node;
#[cfg(any(test, feature = "yaml"))]
mod quotes;
pub mod reader;
pub mod setting;
pub mod shown;
pub mod suggest;
pub mod units;
pub mod values;

use reader::Section;
use setting::SectionKeys;
use shown::ShownSection;

/// Largest size of a file with credentials that a setting names, in bytes: enough for hundreds of certificates.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// Reads a file that a setting names.
pub type Files<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// An amount of memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Size {
    /// Bytes.
    Bytes(u64),
    /// Percent (0 to 100) of an amount that the key names.
    Percent(f64),
}

/// An inclusive range and the reason for it.
#[derive(Clone, Copy, Debug)]
pub struct Limit<T> {
    /// The smallest value.
    pub min: T,
    /// The largest value.
    pub max: T,
    /// The reason for the range, for the reader of a message.
    pub why: &'static str,
}

/// A kibibyte, in bytes.
pub const KIB: u64 = 1 << 10;
/// A mebibyte, in bytes.
pub const MIB: u64 = 1 << 20;
/// A gibibyte, in bytes.
pub const GIB: u64 = 1 << 30;
/// A tebibyte, in bytes.
pub const TIB: u64 = 1 << 40;

/// A section that [`section!`] declares.
pub trait Declared: Default {
    /// Adds the section's keys to `keys`, in the order of their declaration.
    fn describe(keys: &mut SectionKeys<'_>);

    /// Returns the keys of the settings that differ from those in `other`.
    fn differences(&self, other: &Self) -> Vec<&'static str>;

    /// Overwrites the settings that are written in `section`. A wrong value leaves its setting as it is: the problem
    /// that is reported keeps the whole configuration from being used.
    fn read(&mut self, section: &mut Section<'_>);

    /// Adds the settings that are in force to `shown`, in the order of their declaration.
    fn show(&self, shown: &mut ShownSection<'_>);
}

/// Declares a section: a struct, its defaults, how it is read, and what the reference says of each key.
///
/// ```text
/// section! {
///     /// Own logs.
///     pub struct Log {
///         /// The least severe level that is logged.
///         pub level: LogLevel = LogLevel::Info, Choice::of("level", &LEVELS);
///     }
///     check: warn_of_traces;
/// }
/// ```
///
/// The comment of a field is its text in the reference; its kind adds type, range and reason. `as "name"` after a field
/// names a key that is not called like the field. `also` is a function of [`keys!`] with further keys. `check` is called with the settings and the section after all keys
/// are read.
#[doc(hidden)]
#[macro_export]
macro_rules! section {
    (
        $(#[$attribute:meta])*
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $text:literal])*
                $field_vis:vis $field:ident $(as $key:literal)?: $type:ty = $default:expr, $kind:expr;
            )*
        }
        $(also: $also:path;)?
        $(check: $check:expr;)?
    ) => {
        $(#[$attribute])*
        $vis struct $name {
            $($(#[doc = $text])* $field_vis $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $($field: $default,)* }
            }
        }

        impl $crate::settings::Declared for $name {
            fn describe(keys: &mut $crate::settings::setting::SectionKeys<'_>) {
                let defaults = $name::default();
                $(
                    let place = keys.at($crate::settings::key!($field $($key)?), concat!($($text),*));
                    $crate::settings::kinds::SettingKind::<$type>::describe(&$kind, place, &defaults.$field);
                )*
                $($also(keys);)?
            }

            fn differences(&self, other: &Self) -> Vec<&'static str> {
                let mut keys = Vec::new();
                $(
                    if self.$field != other.$field {
                        keys.push($crate::settings::key!($field $($key)?));
                    }
                )*
                keys
            }

            fn read(&mut self, section: &mut $crate::settings::reader::Section<'_>) {
                $(
                    let key = $crate::settings::key!($field $($key)?);
                    $crate::settings::kinds::SettingKind::<$type>::set(&$kind, section, key, &mut self.$field);
                )*
                $($check(self, section);)?
            }

            fn show(&self, shown: &mut $crate::settings::shown::ShownSection<'_>) {
                $(
                    let place = shown.at($crate::settings::key!($field $($key)?));
                    $crate::settings::kinds::SettingKind::<$type>::show_in(&$kind, place, &self.$field);
                )*
                shown.others(&[$($crate::settings::key!($field $($key)?)),*]);
            }
        }
    };
}

/// Declares the keys of a section that is read by hand: a function that adds them to the reference.
///
/// ```text
/// keys! {
///     fn status_code;
///     /// Codes that a span may have.
///     status_codes: ByHand::list(...).required();
/// }
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! keys {
    (
        $vis:vis fn $name:ident;
        $(
            $(#[doc = $text:literal])*
            $key:ident $(as $other:literal)?: $kind:expr;
        )*
    ) => {
        $vis fn $name(keys: &mut $crate::settings::setting::SectionKeys<'_>) {
            $(
                let place = keys.at($crate::settings::key!($key $($other)?), concat!($($text),*));
                $crate::settings::kinds::DescribedKey::add($kind, place);
            )*
        }
    };
}

/// The name of a key: that of its field, unless another is given.
#[doc(hidden)]
#[macro_export]
macro_rules! key {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}

pub use crate::{key, keys, section};
