//! Advice for the operator on failed calls to the Google APIs that accept spans.

use tonic::Code;

/// A Google API that accepts spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoogleApi {
    /// Cloud Trace v2.
    CloudTrace,
    /// The Telemetry API.
    Telemetry,
}

/// The identity with which a call is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// None: the endpoint gets no Google credentials.
    Unsigned,
    /// The application default credentials, of this account if it is known.
    Signed(Option<String>),
}

impl Caller {
    fn account(&self) -> &str {
        match self {
            Caller::Signed(Some(account)) => account,
            Caller::Signed(None) | Caller::Unsigned => "the service account that the daemon runs as",
        }
    }

    /// Returns advice if no access token can be obtained; `None` if the token server may have one later.
    #[must_use]
    pub fn no_token(&self, code: Code) -> Option<String> {
        (code == Code::Unauthenticated).then(|| self.check_credentials())
    }

    fn check_credentials(&self) -> String {
        format!("check the application default credentials of {}", self.account())
    }
}

impl GoogleApi {
    fn service(self) -> &'static str {
        match self {
            GoogleApi::CloudTrace => "cloudtrace.googleapis.com",
            GoogleApi::Telemetry => "telemetry.googleapis.com",
        }
    }

    fn quota(self) -> &'static str {
        match self {
            GoogleApi::CloudTrace => "Cloud Trace quota",
            GoogleApi::Telemetry => "Telemetry API quota (bytes of spans a minute)",
        }
    }

    /// Returns advice on the answer `code` to a call of `caller` with spans of `project`. The project is `None` if the
    /// resources of the spans name it.
    #[must_use]
    pub fn answer(self, code: Code, project: Option<&str>, caller: &Caller) -> Option<String> {
        let account = caller.account();
        let on_project = project.map_or_else(|| "the project of the spans".to_owned(), |id| format!("project {id}"));
        Some(match code {
            Code::PermissionDenied | Code::Unauthenticated if *caller == Caller::Unsigned => {
                "calls to an http:// endpoint carry no Google credentials: write https:// in export.endpoint, or set what \
                 the server asks for in export.headers"
                    .to_owned()
            }
            Code::PermissionDenied => format!("grant roles/cloudtrace.agent on {on_project} to {account}"),
            Code::NotFound => format!(
                "check the id of {on_project}: it comes from export.project or the spans' resource; if it is right, grant \
                 roles/cloudtrace.agent on it to {account}"
            ),
            Code::FailedPrecondition => {
                let project = project.unwrap_or("PROJECT");
                format!("enable the API: gcloud services enable {} --project {project}", self.service())
            }
            Code::Unimplemented => {
                format!("check export.endpoint: the server there does not know the calls of {}", self.service())
            }
            Code::Unauthenticated => caller.check_credentials(),
            Code::ResourceExhausted => format!("ask for more {} on {on_project}, or keep fewer traces", self.quota()),
            Code::Unavailable => {
                "the spans are sent again by themselves; if it lasts, see https://status.cloud.google.com".to_owned()
            }
            Code::DeadlineExceeded => self.late(),
            _ => return None,
        })
    }

    /// Returns advice on a message over the size limit.
    #[must_use]
    pub fn too_large(self) -> String {
        format!("set export.batch.max_bytes below the size limit of {}", self.service())
    }

    /// Returns advice on a call without an answer in time.
    #[must_use]
    pub fn late(self) -> String {
        "the spans are sent again by themselves; if it lasts, lower export.batch.max_spans".to_owned()
    }

    /// Returns advice on a connection that cannot be made.
    #[must_use]
    pub fn unreachable(self) -> String {
        "check that this machine reaches export.endpoint (name, firewall, proxy); the spans are sent again by themselves"
            .to_owned()
    }
}
