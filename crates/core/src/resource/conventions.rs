//! Keys of older semantic conventions, and their present names.
//!
//! The tables have the renames of the OpenTelemetry schema files up to 1.37 (<https://opentelemetry.io/schemas/1.37.0>)
//! and of the HTTP migration (<https://opentelemetry.io/docs/specs/semconv/non-normative/http-migration/>), if the
//! value means the same before and after. They do not have keys whose successor depends on the span's kind
//! (`net.peer.name`), nor keys that became two (`http.target`, `code.namespace`).

use super::ResourceAttributes;

/// Renames of resource attributes, as `(old key, present key)`.
const RESOURCE: &[(&str, &str)] = &[
    ("container.runtime", "container.runtime.name"),
    ("deployment.environment", "deployment.environment.name"),
    ("faas.id", "cloud.resource_id"),
    ("telemetry.auto.version", "telemetry.distro.version"),
];

/// Renames of span attributes, as `(old key, present key)`.
const SPAN: &[(&str, &str)] = &[
    ("code.column", "code.column.number"),
    ("code.filepath", "code.file.path"),
    ("code.function", "code.function.name"),
    ("code.lineno", "code.line.number"),
    ("db.cassandra.table", "db.collection.name"),
    ("db.cosmosdb.container", "db.collection.name"),
    ("db.mongodb.collection", "db.collection.name"),
    ("db.name", "db.namespace"),
    ("db.operation", "db.operation.name"),
    ("db.sql.table", "db.collection.name"),
    ("db.statement", "db.query.text"),
    ("db.system", "db.system.name"),
    ("enduser.id", "user.id"),
    ("http.client_ip", "client.address"),
    ("http.method", "http.request.method"),
    ("http.request_content_length", "http.request.body.size"),
    ("http.response_content_length", "http.response.body.size"),
    ("http.scheme", "url.scheme"),
    ("http.status_code", "http.response.status_code"),
    ("http.url", "url.full"),
    ("http.user_agent", "user_agent.original"),
    ("messaging.client_id", "messaging.client.id"),
    ("messaging.destination", "messaging.destination.name"),
    ("messaging.kafka.consumer.group", "messaging.consumer.group.name"),
    ("messaging.kafka.destination.partition", "messaging.destination.partition.id"),
    ("messaging.kafka.message.offset", "messaging.kafka.offset"),
    ("messaging.message_id", "messaging.message.id"),
    ("messaging.operation", "messaging.operation.type"),
    ("net.host.name", "server.address"),
    ("net.host.port", "server.port"),
    ("net.protocol.name", "network.protocol.name"),
    ("net.protocol.version", "network.protocol.version"),
    ("net.sock.host.addr", "network.local.address"),
    ("net.sock.host.port", "network.local.port"),
    ("net.sock.peer.addr", "network.peer.address"),
    ("net.sock.peer.port", "network.peer.port"),
];

/// Iterates over the renamed keys of span attributes, as `(old key, present key)`.
pub fn span_keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    SPAN.iter().copied()
}

/// Renames the attributes of a resource to their present keys. If a resource has both keys, as during a migration, the
/// present one stays and the old one is removed.
pub(super) fn normalize(attributes: &mut ResourceAttributes) {
    for (key, name) in RESOURCE {
        if attributes.get(name).is_some() {
            attributes.remove(key.as_bytes());
        } else {
            attributes.rename(key.as_bytes(), name.as_bytes());
        }
    }
}
