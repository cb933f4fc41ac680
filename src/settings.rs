//! The means by which a module declares its settings, beside the code that obeys them.
//!
//! A module declares a section of the configuration with `section!`: one struct, and for each field its text, default
//! and kind of value, with the limits of the value and their reason. The reader of a file, `docs/configuration.md` and
//! `docs/config.schema.json` are all made from these declarations, so a new key is a new field and nothing else.
//! `config` composes the sections of all modules. Nothing here knows YAML.

use std::io;
use std::path::Path;

pub(crate) mod diagnostic;
pub(crate) mod kinds;
pub(crate) mod node;
pub(crate) mod reader;
pub(crate) mod setting;
pub(crate) mod suggest;
pub(crate) mod units;
pub(crate) mod values;

use reader::Section;
use setting::SectionKeys;

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
pub(crate) struct Limit<T> {
    pub(crate) min: T,
    pub(crate) max: T,
    pub(crate) why: &'static str,
}

pub(crate) const KIB: u64 = 1 << 10;
pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const GIB: u64 = 1 << 30;
pub(crate) const TIB: u64 = 1 << 40;

/// A section that [`section!`] declares.
pub(crate) trait Declared: Default {
    /// Adds the section's keys to `keys`, in the order of their declaration.
    fn describe(keys: &mut SectionKeys<'_>);

    /// Overwrites the settings that are written in `section`. A wrong value leaves its setting as it is: the problem
    /// that is reported keeps the whole configuration from being used.
    fn read(&mut self, section: &mut Section<'_>);
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

            fn read(&mut self, section: &mut $crate::settings::reader::Section<'_>) {
                $(
                    let key = $crate::settings::key!($field $($key)?);
                    $crate::settings::kinds::SettingKind::<$type>::set(&$kind, section, key, &mut self.$field);
                )*
                $($check(self, section);)?
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
macro_rules! key {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}

pub(crate) use {key, keys, section};
