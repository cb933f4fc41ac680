//! The language of policy tests: what is written under `tests`, in the configuration or in a file of its own. The module
//! [`crate::offline::test_runs`] runs them. `docs/policy-tests.md` describes the language.

pub mod settings;
pub mod trace_text;
mod value;

pub use settings::{PolicyTest, TestFile};
pub use value::TextValue;
