//! Enums whose values are labels of metrics. Each label stands once, beside its meaning.

/// Declares an enum. Each variant is followed by its label. Without a path, so that the pure modules can use it.
#[macro_export]
macro_rules! labels {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$doc:meta])* $variant:ident = $label:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $vis enum $name { $($(#[$doc])* $variant),+ }

        impl $name {
            /// All values, in the order of their numbers.
            pub const ALL: [$name; [$($label),+].len()] = [$($name::$variant),+];
            /// The labels of all values, in the same order.
            pub const LABELS: [&'static str; $name::ALL.len()] = [$($label),+];

            /// Returns the label.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                Self::LABELS[self as usize]
            }
        }
    };
}
