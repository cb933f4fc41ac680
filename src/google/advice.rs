//! Advice for the operator on error codes of the Google APIs that accept spans.

use tonic::Code;

/// A Google API that accepts spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// Cloud Trace v2.
    CloudTrace,
    /// The Telemetry API.
    Telemetry,
}

impl Api {
    fn service(self) -> &'static str {
        match self {
            Api::CloudTrace => "cloudtrace.googleapis.com",
            Api::Telemetry => "telemetry.googleapis.com",
        }
    }

    fn quota(self) -> &'static str {
        match self {
            Api::CloudTrace => "Cloud Trace quota",
            Api::Telemetry => "Telemetry API quota (bytes of spans a minute)",
        }
    }

    /// Returns advice on `code`, an answer about `project`. `identity` is the account that makes the calls, if it is
    /// known.
    #[must_use]
    pub fn advice(self, code: Code, project: &str, identity: Option<&str>) -> Option<String> {
        let account = identity.unwrap_or("the service account that the daemon runs as");
        Some(match code {
            Code::PermissionDenied => format!("grant roles/cloudtrace.agent on project {project} to {account}"),
            Code::NotFound => format!(
                "check the project id {project}: it comes from export.project or the spans' resource; if it is right, \
                 grant roles/cloudtrace.agent on it to {account}"
            ),
            Code::FailedPrecondition => {
                format!("enable the API: gcloud services enable {} --project {project}", self.service())
            }
            Code::Unimplemented => {
                format!("check export.endpoint: the server there does not know the calls of {}", self.service())
            }
            Code::Unauthenticated => format!("check the application default credentials of {account}"),
            Code::ResourceExhausted => {
                format!("ask for more {} on project {project}, or keep fewer traces", self.quota())
            }
            _ => return None,
        })
    }
}
