//! The path to the configured sink: the encoder and the client.

use std::sync::Arc;

use super::StartError;
use crate::budget::Budget;
use crate::cloud_trace::client::{self as cloud_trace, CloudTrace};
use crate::cloud_trace::encode::{Encoder, EncoderSettings, KeyNames};
use crate::config::Settings;
use crate::emulator::Emulator;
use crate::export::batch::Form;
use crate::export::channel::ChannelSettings;
use crate::export::exporter::Exporter;
use crate::export::settings::{self, Endpoint, ExportApi};
use crate::export::spool::Spool;
use crate::forward::client::{self as forward, OtlpSink, Server};
use crate::forward::encode as otlp;
use crate::google::credentials::Credentials;
use crate::google::place::place;
use crate::google::project::{AmbientProjectError, ambient_project};
use crate::google::{TRACE_CONSOLE, environment};
use crate::resource::settings::Detector;
use crate::resource::{Rewriter, SharedRewriter};
use crate::sampling::PolicyNames;
use crate::segment::directory::OpenError;
use crate::span_metrics::SpanMetrics;
use crate::tail::kept::KeptQueue;
use crate::telemetry::Metrics;

const SEEN: &str = "see what was kept:";

/// The parts of the rest of the daemon that the path to the sink needs.
pub(super) struct Wiring<'a> {
    pub(super) settings: &'a Settings,
    pub(super) policy_names: PolicyNames,
    pub(super) emulator: Option<&'a Emulator>,
    pub(super) credentials: Option<Credentials>,
    pub(super) kept: Arc<KeptQueue>,
    pub(super) budget: &'a Budget,
    pub(super) metrics: Arc<Metrics>,
    pub(super) spool: Option<Spool>,
    pub(super) span_metrics: Option<&'a SpanMetrics>,
}

impl Wiring<'_> {
    /// Starts to export kept spans. Also returns the rewriter of their resources.
    pub(super) async fn start(mut self) -> Result<(Exporter, SharedRewriter), StartError> {
        let shared = SharedRewriter::from(self.rewriter().await?);
        let rewriter = shared.clone();
        let (kept, metrics, spool) = (Arc::clone(&self.kept), Arc::clone(&self.metrics), self.spool.take());
        let mut settings = self.settings.export.clone();
        let quota = settings.destination_project_quota;
        let exporter = match settings.api {
            ExportApi::CloudTrace => {
                let encoder = self.encoder_settings().await?;
                settings.project = Some(encoder.default_project.to_string());
                self.name_project(Some(&encoder.default_project));
                let encoder = Encoder::new(encoder, rewriter);
                let sink = CloudTrace::open(self.channel(cloud_trace::CALL_DEADLINE), quota)?;
                Exporter::start(kept, encoder, sink, &settings, self.budget, metrics, spool)
            }
            ExportApi::Telemetry | ExportApi::Otlp => {
                let encoder = self.otlp_settings().await?;
                self.name_project(encoder.default_project.as_deref());
                settings.project = Some(encoder.default_project.as_deref().unwrap_or(otlp::NO_PROJECT).to_owned());
                let encoder = otlp::OtlpEncoder::new(encoder, rewriter);
                let sink = OtlpSink::open(
                    self.channel(forward::CALL_DEADLINE),
                    server(&settings),
                    quota && settings.api == ExportApi::Telemetry,
                )?;
                Exporter::start(kept, encoder, sink, &settings, self.budget, metrics, spool)
            }
        };
        Ok((exporter, shared))
    }

    /// Lets exemplars name the project in which their traces are found.
    fn name_project(&self, project: Option<&str>) {
        if let (Some(span_metrics), Some(project)) = (self.span_metrics, project) {
            span_metrics.set_project(project);
        }
    }

    async fn rewriter(&self) -> Result<Rewriter, AmbientProjectError> {
        let settings = &self.settings.resource;
        let detected = match settings.detect {
            Some(Detector::Gcp) => place(&environment, &project(&self.settings.export).await?).await,
            None => Vec::new(),
        };
        Ok(Rewriter::new(settings, &detected))
    }

    async fn encoder_settings(&self) -> Result<EncoderSettings, AmbientProjectError> {
        let settings = &self.settings.export;
        Ok(EncoderSettings {
            default_project: project(settings).await?,
            allowed_projects: settings.allowed_projects.clone(),
            annotate: self.settings.tail_sampling.annotate,
            names: KeyNames::new(&settings.attribute_mapping, self.settings.resource.normalize),
            cloud_run_revision: settings.cloud_run_revision,
            policy_names: self.policy_names.clone(),
        })
    }

    /// Returns the settings of the OTLP encoder. Only Google requires a project: other sinks get one only if the
    /// configuration names it.
    async fn otlp_settings(&self) -> Result<otlp::OtlpEncoderSettings, AmbientProjectError> {
        let settings = &self.settings.export;
        let is_google = settings.api == ExportApi::Telemetry;
        let default_project =
            if is_google || settings.project.is_some() { Some(project(settings).await?) } else { None };
        Ok(otlp::OtlpEncoderSettings {
            default_project,
            allowed_projects: settings.allowed_projects.clone(),
            annotate: self.settings.tail_sampling.annotate,
            policy_names: self.policy_names.clone(),
        })
    }

    /// Returns the settings of the channel. Spans reach the embedded Cloud Trace over the network, like any other sink,
    /// so that a setup that works with it works with Google's.
    fn channel(&self, call_deadline: std::time::Duration) -> ChannelSettings {
        let settings = &self.settings.export;
        let uri = match &settings.endpoint {
            Endpoint::Tls(uri) | Endpoint::Plaintext(uri) => uri.clone(),
            // The emulator is running in this case.
            Endpoint::Embedded => self.emulator.map(Emulator::url).unwrap_or_default(),
        };
        ChannelSettings {
            ca_pem: settings.tls.ca_pem.clone(),
            credentials: self.credentials.clone(),
            headers: settings.headers.clone(),
            ..ChannelSettings::plain(&uri, call_deadline)
        }
    }
}

/// Returns the place where kept spans can be seen, or to which they are sent: a label and an address, for the text at
/// the start.
pub(super) fn destination(settings: &settings::Export, emulator: Option<&Emulator>) -> (&'static str, String) {
    let protocol = match settings.api {
        ExportApi::CloudTrace => cloud_trace::NAME,
        ExportApi::Telemetry => Server::Telemetry.name(),
        ExportApi::Otlp => Server::Other.name(),
    };
    match (&settings.endpoint, emulator) {
        (_, Some(emulator)) => (SEEN, format!("{}/", emulator.url())),
        (Endpoint::Tls(_), None) if settings.is_google() => (SEEN, TRACE_CONSOLE.to_owned()),
        (Endpoint::Tls(uri) | Endpoint::Plaintext(uri), None) => ("kept spans go to:", format!("{uri} ({protocol})")),
        (Endpoint::Embedded, None) => (SEEN, String::new()),
    }
}

/// Returns the kind of the server that accepts OTLP. Google's endpoint is the Telemetry API, whatever `api` is.
fn server(settings: &settings::Export) -> Server {
    if settings.api == ExportApi::Telemetry || settings.is_google() { Server::Telemetry } else { Server::Other }
}

/// Opens the spool for batches of the sink's form, if one is configured.
pub(super) fn spool(
    settings: &settings::Export,
    budget: &Budget,
    metrics: &Arc<Metrics>,
) -> Result<Option<Spool>, OpenError> {
    let form = match settings.api {
        ExportApi::CloudTrace => Form::CloudTrace,
        ExportApi::Telemetry | ExportApi::Otlp => Form::Otlp,
    };
    settings.spool.as_ref().map(|spool| Spool::open(spool, form, budget, metrics)).transpose()
}

/// Returns the project for spans whose resource does not name one.
async fn project(settings: &settings::Export) -> Result<Arc<str>, AmbientProjectError> {
    Ok(match &settings.project {
        Some(project) => project.as_str().into(),
        None => ambient_project(&environment).await?.into(),
    })
}

#[cfg(test)]
mod tests;
