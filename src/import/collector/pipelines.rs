//! The pipeline of traces that is imported: the one with the sampler, with the pipelines that connectors join to it.

use std::collections::{BTreeMap, HashSet};

use super::connectors::{SERVICE_GRAPH, SPAN_METRICS};
use crate::import::foreign::{Foreign, shown};
use crate::import::report::Report;
use crate::settings::diagnostic::Diagnostic;
use crate::settings::values::not_a_section;

const SECTIONS: [&str; 5] = ["receivers", "processors", "exporters", "connectors", "extensions"];
pub(super) const SAMPLER: &str = "tail_sampling";
/// The most components of the pipeline. No file that a person wrote has more.
const COMPONENT_COUNT_MAX: usize = 1_000;
/// The most pipelines that are joined to one. No file that a person wrote has more.
const JOINED_MAX: usize = 64;

/// A component of a pipeline and its definition.
#[derive(Clone)]
pub(super) struct Component<'a> {
    /// The part of its name before the slash.
    pub(super) kind: &'a str,
    pub(super) definition: Foreign<'a>,
}

/// The components that spans pass, in order.
#[derive(Default)]
pub(super) struct Pipeline<'a> {
    pub(super) receivers: Vec<Component<'a>>,
    /// The processors before the sampler; none if there is no sampler.
    pub(super) before: Vec<Component<'a>>,
    pub(super) sampler: Option<Component<'a>>,
    pub(super) after: Vec<Component<'a>>,
    pub(super) exporters: Vec<Component<'a>>,
    /// The connectors that make metrics of the spans.
    pub(super) connectors: Vec<Component<'a>>,
    pub(super) extensions: Vec<Component<'a>>,
}

impl<'a> Pipeline<'a> {
    /// Returns the pipeline of traces in `root`.
    ///
    /// # Errors
    /// A section of the file is not a section.
    pub(super) fn of(root: &Foreign<'a>, report: &mut Report) -> Result<Self, Diagnostic> {
        for section in SECTIONS.iter().chain(&["service"]).filter_map(|name| root.filled(name)) {
            require_section(&section)?;
        }
        if SECTIONS.iter().chain(&["service"]).all(|name| root.get(name).is_none()) {
            return Ok(Pipeline::processors(root, report));
        }
        let pipelines = root.find(&["service", "pipelines"]).filter(|pipelines| !pipelines.is_null());
        let pipeline = match pipelines {
            Some(pipelines) => {
                require_section(&pipelines)?;
                Joined::of(root, &pipelines, report)
            }
            None => Pipeline::everything(root, report),
        };
        let extensions = bounded(all(root, "extensions"), report);
        Ok(Pipeline { extensions, ..pipeline })
    }

    /// Returns the extension with this name.
    pub(super) fn extension(&self, name: &str) -> Option<&Component<'a>> {
        let path = format!("extensions.{}", shown(name));
        self.extensions.iter().find(|extension| extension.definition.path == path)
    }

    /// Returns the sampler that becomes a policy if there is no `tail_sampling`.
    pub(super) fn ratio(&self) -> Option<&Component<'a>> {
        let ratio = self.after.iter().find(|processor| processor.kind == "probabilistic_sampler");
        ratio.filter(|_| self.sampler.is_none())
    }

    /// Returns the pipeline of a file without `service.pipelines`: all that it defines.
    fn everything(root: &Foreign<'a>, report: &mut Report) -> Self {
        report.different(
            root,
            "there is no `service.pipelines`: everything that is defined is taken as used, in that order",
        );
        let [receivers, exporters, processors] =
            ["receivers", "exporters", "processors"].map(|section| bounded(all(root, section), report));
        let mut pipeline = Pipeline { receivers, exporters, ..Pipeline::default() };
        pipeline.split(processors, report);
        let (connectors, others) = bounded(all(root, "connectors"), report).into_iter().partition(makes_metrics);
        pipeline.connectors = connectors;
        for connector in Vec::from_iter::<Vec<Component<'_>>>(others) {
            report_connector(&connector, report);
        }
        pipeline
    }

    /// Returns the pipeline of a file that has nothing but processors, without a section around them.
    fn processors(root: &Foreign<'a>, report: &mut Report) -> Self {
        report.different(root, "it has processors only: the rest of the result is Spansieve's own");
        let mut pipeline = Pipeline::default();
        pipeline.split(bounded(components(root), report), report);
        pipeline
    }

    /// Takes the processors apart at the first sampler.
    fn split(&mut self, mut processors: Vec<Component<'a>>, report: &mut Report) {
        let Some(at) = processors.iter().position(|processor| processor.kind == SAMPLER) else {
            self.after = processors;
            return;
        };
        self.after = processors.split_off(at);
        self.before = processors;
        self.sampler = Some(self.after.remove(0));
        let is_second = |processor: &Component<'_>| processor.kind == SAMPLER;
        for second in self.after.iter().filter(|processor| is_second(processor)) {
            let reason = "it samples again what another sampler has kept, and Spansieve samples once";
            report.not_carried(&second.definition, reason, "combine the policies with `and`");
        }
        self.after.retain(|processor| !is_second(processor));
    }
}

/// Returns the first components of the file, and reports the others.
fn bounded<'a>(mut components: Vec<Component<'a>>, report: &mut Report) -> Vec<Component<'a>> {
    for over in components.drain(components.len().min(COMPONENT_COUNT_MAX)..) {
        report.not_carried(&over.definition, TOO_MANY, TOO_MANY_HELP);
    }
    components
}

const TOO_MANY: &str = "at most 1,000 components are imported";
const TOO_MANY_HELP: &str = "import the part that is about traces";

fn require_section(value: &Foreign<'_>) -> Result<(), Diagnostic> {
    if value.is_section() {
        return Ok(());
    }
    let fault = not_a_section(value.node());
    Err(fault.help("the Collector does not start with this file either").error(value.node().at))
}

/// Returns all components that a section of the file defines.
fn all<'a>(root: &Foreign<'a>, section: &str) -> Vec<Component<'a>> {
    root.get(section).map(|section| components(&section)).unwrap_or_default()
}

/// Returns the components that stand in `section`.
fn components<'a>(section: &Foreign<'a>) -> Vec<Component<'a>> {
    let entries = section.entries();
    entries.into_iter().map(|(name, definition)| Component { kind: kind(name), definition }).collect()
}

fn kind(name: &str) -> &str {
    name.split('/').next().unwrap_or(name).trim()
}

/// The pipelines of the file, and those that are joined.
struct Joined<'a, 'b> {
    root: &'b Foreign<'a>,
    pipelines: Vec<(&'a str, Foreign<'a>)>,
    /// The names in the lists of each pipeline.
    uses: Vec<Uses<'a>>,
    taken: Vec<usize>,
    connectors: HashSet<&'a str>,
    /// The components that are defined, by section and name.
    defined: BTreeMap<(&'static str, &'a str), Foreign<'a>>,
    /// The components that are in the joined pipeline.
    used: HashSet<u64>,
}

struct Uses<'a> {
    receivers: HashSet<&'a str>,
    exporters: HashSet<&'a str>,
}

impl<'a> Uses<'a> {
    fn of(pipeline: &Foreign<'a>) -> Self {
        let names = |list| pipeline.get(list).map(|list| list.items()).unwrap_or_default();
        let set = |list| names(list).into_iter().filter_map(|item| item.text()).collect();
        Uses { receivers: set("receivers"), exporters: set("exporters") }
    }
}

/// The direction in which connectors are followed.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// From receivers to the pipelines that export to them.
    Up,
    /// From exporters to the pipelines that receive from them.
    Down,
}

impl Way {
    /// Returns the key of a pipeline whose list has the next connectors in this direction.
    fn list(self) -> &'static str {
        if self == Way::Up { "receivers" } else { "exporters" }
    }
}

impl<'a, 'b> Joined<'a, 'b> {
    fn of(root: &'b Foreign<'a>, pipelines: &Foreign<'a>, report: &mut Report) -> Pipeline<'a> {
        let pipelines = pipelines.entries();
        report_unused(root, &pipelines, report);
        let connectors = root.get("connectors").map(|section| section.entries()).unwrap_or_default();
        let connectors = connectors.into_iter().map(|(name, _)| name).collect();
        let uses = pipelines.iter().map(|(_, pipeline)| Uses::of(pipeline)).collect();
        let (taken, used) = (Vec::new(), HashSet::new());
        let mut joined = Joined { root, pipelines, uses, taken, connectors, defined: defined(root), used };
        let mut result = Pipeline::default();
        match joined.main() {
            Some(main) => joined.join(main, &mut result, report),
            None => {
                let reason = "no pipeline is of traces, and Spansieve takes nothing else";
                report.not_carried(root, reason, "leave the Collector in its place");
            }
        }
        result.connectors = joined.metrics_of_spans();
        joined.report_others(&result.connectors, report);
        result
    }

    fn is_traces(&self, index: usize) -> bool {
        kind(self.pipelines[index].0) == "traces"
    }

    fn names(&self, index: usize, list: &str) -> Vec<(&'a str, Foreign<'a>)> {
        let items = self.pipelines[index].1.get(list).map(|list| list.items()).unwrap_or_default();
        items.into_iter().filter_map(|item| Some((item.text()?, item))).collect()
    }

    fn traces(&self) -> impl Iterator<Item = usize> {
        (0..self.pipelines.len()).filter(|index| self.is_traces(*index))
    }

    /// Returns the first pipeline of traces with a sampler, or else the first one of traces.
    fn main(&self) -> Option<usize> {
        let samples = |index: &usize| self.names(*index, "processors").iter().any(|(name, _)| kind(name) == SAMPLER);
        self.traces().find(samples).or_else(|| self.traces().next())
    }

    fn join(&mut self, main: usize, result: &mut Pipeline<'a>, report: &mut Report) {
        self.taken.push(main);
        let mut processors = self.components(main, "processors", report);
        let before = self.follow(main, Way::Up, report);
        result.receivers = before.ends;
        processors.splice(0..0, before.processors);
        let after = self.follow(main, Way::Down, report);
        result.exporters = after.ends;
        processors.extend(after.processors);
        result.split(processors, report);
    }

    /// Follows connectors from the pipeline `from` to other pipelines, and returns the components at their ends.
    fn follow(&mut self, from: usize, way: Way, report: &mut Report) -> Followed<'a> {
        let mut followed = Followed { ends: Vec::new(), processors: Vec::new() };
        let mut open = vec![from];
        while let Some(index) = open.pop() {
            for (name, place) in self.names(index, way.list()) {
                if self.connectors.contains(name) {
                    let next = self.joined_by(name, way);
                    for next in &next {
                        followed.processors.extend(self.components(*next, "processors", report));
                    }
                    open.extend(next);
                } else {
                    followed.ends.extend(self.component(way.list(), name, &place, report));
                }
            }
        }
        followed
    }

    /// Takes the pipelines of traces that the connector `name` joins.
    fn joined_by(&mut self, name: &str, way: Way) -> Vec<usize> {
        let has = |uses: &Uses<'_>| if way == Way::Up { &uses.exporters } else { &uses.receivers }.contains(name);
        let next = self.traces().filter(|index| has(&self.uses[*index]) && !self.taken.contains(index));
        let next: Vec<usize> = next.take(JOINED_MAX.saturating_sub(self.taken.len())).collect();
        self.taken.extend(&next);
        next
    }

    fn components(&mut self, index: usize, list: &'static str, report: &mut Report) -> Vec<Component<'a>> {
        let names = self.names(index, list);
        names.into_iter().filter_map(|(name, place)| self.component(list, name, &place, report)).collect()
    }

    /// Returns the component that `place` names; `None`, and a report, if it is not defined, or is in the pipeline already.
    fn component(
        &mut self,
        section: &'static str,
        name: &'a str,
        place: &Foreign<'a>,
        report: &mut Report,
    ) -> Option<Component<'a>> {
        let Some(definition) = self.defined.get(&(section, name)).cloned() else {
            report_undefined(section, name, place, report);
            return None;
        };
        if self.used.contains(&definition.id) {
            report.not_needed(place, "spans pass it once: the pipelines are one here");
            return None;
        }
        if self.used.len() == COMPONENT_COUNT_MAX {
            report.not_carried(place, TOO_MANY, TOO_MANY_HELP);
            report.not_carried(&definition, TOO_MANY, TOO_MANY_HELP);
            return None;
        }
        report.read(place);
        self.used.insert(definition.id);
        Some(Component { kind: kind(name), definition })
    }

    /// Returns the connectors that make metrics of the spans of the joined pipelines.
    fn metrics_of_spans(&self) -> Vec<Component<'a>> {
        let is_used = |name: &str| self.taken.iter().any(|index| self.uses[*index].exporters.contains(name));
        let connectors = self.root.get("connectors").map(|section| section.entries()).unwrap_or_default();
        let used = connectors.into_iter().filter(|(name, _)| is_used(name)).take(COMPONENT_COUNT_MAX);
        let used = used.map(|(name, definition)| Component { kind: kind(name), definition });
        used.filter(makes_metrics).collect()
    }

    /// Reports the pipelines that are not imported, and the connectors that are not `carried`.
    fn report_others(&self, carried: &[Component<'_>], report: &mut Report) {
        for (index, (_, pipeline)) in self.pipelines.iter().enumerate().filter(|(index, _)| !self.taken.contains(index))
        {
            if self.is_traces(index) {
                let reason = "Spansieve has one pipeline, and another one is carried";
                report.not_carried(pipeline, reason, "run another Spansieve for it, or leave it in a Collector");
            } else {
                let reason = "Spansieve takes traces only";
                report.not_carried(pipeline, reason, "leave it in a Collector");
            }
        }
        let carried: HashSet<u64> = carried.iter().map(|connector| connector.definition.id).collect();
        for connector in all(self.root, "connectors") {
            if !carried.contains(&connector.definition.id) {
                report_connector(&connector, report);
            }
        }
        let lists = self.taken.iter().flat_map(|index| ["receivers", "exporters"].map(|list| self.names(*index, list)));
        for (_, place) in lists.flatten().filter(|(name, _)| self.connectors.contains(name)) {
            report.read(&place);
        }
        for definition in self.defined.values().filter(|definition| !self.used.contains(&definition.id)) {
            if !report.tells_all_of(definition) {
                let reason = "only pipelines that are not carried use it";
                report.not_carried(definition, reason, "leave it in a Collector");
            }
        }
    }
}

/// Returns the receivers, processors and exporters that the file defines.
fn defined<'a>(root: &Foreign<'a>) -> BTreeMap<(&'static str, &'a str), Foreign<'a>> {
    let mut defined = BTreeMap::new();
    for section in ["receivers", "processors", "exporters"] {
        let entries = root.get(section).map(|section| section.entries()).unwrap_or_default();
        defined.extend(entries.into_iter().map(|(name, definition)| ((section, name), definition)));
    }
    defined
}

fn report_undefined(section: &str, name: &str, place: &Foreign<'_>, report: &mut Report) {
    if name.contains("${") {
        return report.not_carried(place, "its name comes from a variable", "write the name itself");
    }
    let reason =
        format!("`{}` is not defined in `{section}`: the Collector does not start with this file", shown(name));
    report.not_carried(place, reason, format!("define it in `{section}`, or take it out of the pipeline"));
}

struct Followed<'a> {
    ends: Vec<Component<'a>>,
    processors: Vec<Component<'a>>,
}

fn makes_metrics(connector: &Component<'_>) -> bool {
    [SPAN_METRICS, SERVICE_GRAPH].contains(&connector.kind)
}

fn report_connector(connector: &Component<'_>, report: &mut Report) {
    let definition = &connector.definition;
    match connector.kind {
        "forward" => report.not_needed(definition, "the pipelines that it joins are one here"),
        SPAN_METRICS | SERVICE_GRAPH => {
            let reason = "no pipeline that is carried writes to it";
            report.not_carried(definition, reason, "set `span_metrics` by hand: docs/span-metrics.md");
        }
        "count" | "exceptions" => {
            let reason = "Spansieve counts spans only (`span_metrics`), and does not make logs of them";
            report.not_carried(definition, reason, "leave it in a Collector that the senders reach first");
        }
        _ => {
            let reason = "Spansieve has no connectors: all spans go through the one pipeline";
            report.not_carried(definition, reason, "leave it in a Collector before Spansieve, or behind it");
        }
    }
}

/// Reports the components that no pipeline uses.
fn report_unused(root: &Foreign<'_>, pipelines: &[(&str, Foreign<'_>)], report: &mut Report) {
    let lists = pipelines.iter().flat_map(|(_, pipeline)| pipeline.entries());
    let used: HashSet<&str> = lists.flat_map(|(_, list)| list.items()).filter_map(|item| item.text()).collect();
    for section in ["receivers", "processors", "exporters"] {
        let entries = root.get(section).map(|section| section.entries()).unwrap_or_default();
        for (_, unused) in entries.into_iter().filter(|(name, _)| !used.contains(name)) {
            report.not_needed(&unused, "no pipeline uses it");
        }
    }
}
