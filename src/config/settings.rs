//! The settings of all modules together.

use crate::api::settings::ApiSettings;
use crate::condition::Condition;
use crate::export::settings::Export;
use crate::fleet::settings::Fleet;
use crate::journal::settings::JournalSettings;
use crate::policy_tests::PolicyTest;
use crate::policy_tests::settings::test_list;
use crate::receiver::settings::Otlp;
use crate::resource::settings::ResourceSettings;
use crate::settings::kinds::{Filled, Sub, SubIf};
use crate::settings::section;
use crate::span_metrics::settings::SpanMetricsSettings;
use crate::tail::settings::{Memory, TailSampling};
use crate::telemetry::settings::Telemetry;

section! {
    /// All settings, in the order in which spans pass the modules.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Settings {
        /// The addresses that take spans, and the senders that are allowed.
        pub otlp: Otlp = Otlp::default(), Sub;
        /// Requests on disk until their spans are settled. Off without this section.
        pub journal: Option<JournalSettings> = None, SubIf(JournalSettings::has_directory);
        /// The decision which traces are kept.
        pub tail_sampling: TailSampling = TailSampling::default(), Sub;
        /// Metrics of all spans, kept or not, on `/metrics` ([span-metrics.md](span-metrics.md)). Off without this section;
        /// `span_metrics: {}` is enough.
        pub span_metrics: Option<SpanMetricsSettings> = None, Filled;
        /// The rewriting of the resources of kept spans.
        pub resource: ResourceSettings = ResourceSettings::default(), Sub;
        /// The sink that kept spans are written to. The first name of this section, `cloud_trace`, is accepted with a
        /// warning; both names at once are an error.
        pub export: Export = Export::default(), Sub;
        /// Other instances of the same service.
        pub fleet: Fleet = Fleet::default(), Sub;
        /// The memory budget.
        pub memory: Memory = Memory::default(), Sub;
        /// Spansieve's own metrics and logs.
        pub telemetry: Telemetry = Telemetry::default(), Sub;
        /// Answers to questions about a running daemon, for `spansieve fate` and other commands. Off without `listen`.
        pub api: ApiSettings = ApiSettings::default(), Sub;
        /// Tests of the policies, for `spansieve test` ([policy-tests.md](policy-tests.md)). The daemon ignores them.
        pub tests: Vec<PolicyTest> = Vec::new(), test_list();
    }
}

impl Settings {
    /// Returns the condition on the spans that the metrics of spans count, for
    /// [`PolicySet::counted`](crate::sampling::PolicySet::counted).
    #[must_use]
    pub fn counted(&self) -> Option<Condition> {
        self.span_metrics.as_ref().map(SpanMetricsSettings::condition)
    }
}
