//! The section `resource` of the configuration: how the resources of kept spans are rewritten.

mod actions;

use crate::condition::{Condition, Pattern};
use crate::settings::kinds::{Choice, Items, Maybe};
use crate::settings::{Limit, section};

section! {
    /// The changes to the resources of kept spans.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ResourceSettings {
        /// `gcp`: resources get `cloud.provider`, `cloud.account.id` (the daemon's own project) and `cloud.region`, unless
        /// they have them.
        pub detect: Option<Detector> = None, Maybe(Choice::of("detector", &DETECTORS));
        /// `resource`: attributes of resources with names of older semantic conventions get their present names
        /// (`deployment.environment` becomes `deployment.environment.name`). `span`: with `export.api: cloud_trace`,
        /// attributes of spans, events and links do as well (`http.status_code` becomes `http.response.status_code`). The
        /// list is in `crates/core/src/resource/conventions.rs`. With `export.attribute_mapping: console`, attributes of old and
        /// new conventions get the console's labels.
        pub normalize: Normalize = Normalize::Off, Choice::of("choice", &NORMALIZATIONS);
        /// Actions, which are applied in order.
        pub attributes: Vec<AttributeAction> = Vec::new(),
            Items { count: ACTIONS, read: actions::action, keys: actions::describe };
    }
}

const DETECTORS: [(&str, Detector); 1] = [("gcp", Detector::Gcp)];

const NORMALIZATIONS: [(&str, Normalize); 3] =
    [("off", Normalize::Off), ("resource", Normalize::Resource), ("span", Normalize::Span)];

const ACTIONS: Limit<usize> = Limit { min: 0, max: 1024, why: "Cloud Trace keeps 1024 attributes of a span" };

/// A place that can be detected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detector {
    /// Google Cloud: the daemon's own project and region.
    Gcp,
}

/// The attributes that get the names of the present semantic conventions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Normalize {
    /// None.
    #[default]
    Off,
    /// Attributes of resources.
    Resource,
    /// Attributes of resources and of spans.
    Span,
}

/// One action on a resource.
#[derive(Clone, Debug, PartialEq)]
pub struct AttributeAction {
    /// The condition for the resources that it applies to; `None`: all. It tests only attributes of the resource.
    pub condition: Option<Condition>,
    /// The action itself.
    pub action: ActionType,
}

/// An action as the Collector's resource processor has it.
#[derive(Clone, Debug, PartialEq)]
pub enum ActionType {
    /// Sets the attribute if it is absent.
    Insert {
        /// The attribute.
        key: String,
        /// Its value.
        source: ValueSource,
    },
    /// Sets the attribute if it is present.
    Update {
        /// The attribute.
        key: String,
        /// Its value.
        source: ValueSource,
    },
    /// Sets the attribute.
    Upsert {
        /// The attribute.
        key: String,
        /// Its value.
        source: ValueSource,
    },
    /// Removes attributes.
    Delete(Keys),
    /// Replaces values by their SHA-256.
    Hash(Keys),
    /// Sets an attribute for each named group that the pattern finds in a string.
    Extract {
        /// The attribute with the string.
        key: String,
        /// At least one group; all of them have names.
        pattern: Pattern,
    },
    /// Converts a value to another type, if possible.
    Convert {
        /// The attribute.
        key: String,
        /// The type.
        to: ConvertedType,
    },
}

/// The attributes that an action applies to: the one with the key, and those whose keys the pattern matches. At least one of
/// the two is present.
#[derive(Clone, Debug, PartialEq)]
pub struct Keys {
    /// The key of one attribute.
    pub key: Option<String>,
    /// A pattern for the keys of any number of attributes.
    pub pattern: Option<Pattern>,
}

/// The type that a value is converted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConvertedType {
    /// Text.
    String,
    /// A whole number.
    Int,
    /// A number with a fraction.
    Double,
}

/// The source of an attribute's value.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueSource {
    /// A value in the configuration.
    Value(LiteralValue),
    /// Another attribute.
    FromAttribute {
        /// The key of the attribute.
        key: String,
        /// The value if that attribute is absent; `None`: the action does nothing then.
        default: Option<LiteralValue>,
    },
}

/// A literal attribute value.
#[derive(Clone, Debug, PartialEq)]
pub enum LiteralValue {
    /// A string.
    String(String),
    /// A whole number.
    Int(i64),
    /// A number with a fraction or exponent.
    Double(f64),
    /// true or false.
    Bool(bool),
    /// A list.
    List(Vec<LiteralValue>),
    /// A map, in the order in which it is written.
    Map(Vec<(String, LiteralValue)>),
    /// No value. Lists and maps may hold it.
    Nothing,
}

/// The projects that spans may name in their resource. The own project is always allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedProjects {
    /// Only the projects with these ids.
    Listed(Vec<String>),
    /// All projects (`["*"]`).
    Any,
}

impl AllowedProjects {
    /// Returns true if `project` is one of them.
    #[must_use]
    pub fn allows(&self, project: &str) -> bool {
        match self {
            AllowedProjects::Listed(allowed) => allowed.iter().any(|allowed| allowed == project),
            AllowedProjects::Any => true,
        }
    }
}

impl Default for AllowedProjects {
    fn default() -> Self {
        AllowedProjects::Listed(Vec::new())
    }
}
