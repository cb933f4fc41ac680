//! The section `fleet` of the configuration.

use http::HeaderMap;

use crate::export::settings::{Endpoint, ExportTls, read_endpoint, read_headers};
use crate::settings::diagnostic::SettingError;
use crate::settings::kinds::{Bool, ByHand, Sub, SubIf};
use crate::settings::reader::Section;
use crate::settings::section;
use crate::settings::setting::Shape;
use crate::settings::values;

section! {
    /// Other instances of the same service.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Fleet {
        /// The instance that takes undecided traces when this process stops. Off without this section, or with an empty
        /// `endpoint`.
        pub handoff: Option<Handoff> = None, SubIf(Handoff::has_endpoint);
    }
}

section! {
    /// The instance that takes undecided traces ([handoff.md](handoff.md)).
    #[derive(Clone, Debug, PartialEq)]
    pub struct Handoff {
        /// The address that takes OTLP over gRPC: `https://host[:port]`, or `http://host:port` for plaintext. On Cloud Run,
        /// write the URL of this service itself: it leads to the new revision. Empty: undecided traces are decided on the
        /// spans that have come.
        pub endpoint: String = String::new(), ByHand::of(Shape::Text("string")).default("");
        /// Headers of each call, such as `authorization: "Bearer ${env:TOKEN}"`, as in `export.headers`.
        pub headers: HeaderMap = HeaderMap::new(), ByHand::of(Shape::Secret(Box::new(Shape::OwnKeys)));
        /// True if calls carry an ID token of this machine's service account for the endpoint, from the metadata server.
        /// Cloud Run asks for one unless unauthenticated calls are allowed, and so does a receiver with `otlp.auth.google`.
        pub id_token: bool = false, Bool;
        /// TLS to an endpoint with `https://`.
        pub tls: ExportTls = ExportTls::default(), Sub;
    }
    check: Handoff::check;
}

impl Handoff {
    fn has_endpoint(&self) -> bool {
        !self.endpoint.is_empty()
    }

    fn check(&mut self, section: &mut Section<'_>) {
        read_headers(section, &mut self.headers);
        section.set("endpoint", &mut self.endpoint, |node| {
            if node.is_null() || node.is_text("") {
                return Ok(String::new());
            }
            let url = values::text("an endpoint", node)?;
            match read_endpoint(node) {
                Ok(Endpoint::Tls(url) | Endpoint::Plaintext(url)) => Ok(url),
                Err(fault) if url.starts_with("https://") || url.starts_with("http://") => Err(fault),
                _ => {
                    let fault = SettingError::new(format!(
                        "{} is not the address of another Spansieve",
                        values::quote_url(url)
                    ));
                    Err(fault.help("write `https://host[:port]` or `http://host:port`"))
                }
            }
        });
        let at = section.entry("id_token").map(|(at, _)| at);
        if let Some(at) = at.filter(|_| self.id_token && self.endpoint.starts_with("http://")) {
            let fault = SettingError::new("an ID token would be sent in plaintext");
            section.error(at, fault.help("write an endpoint that begins with `https://`, or leave `id_token` out"));
        }
    }
}
