//! Parts of the Collector's configuration, each with its result.

use super::{findings, has_finding, imported, load, loaded};
use crate::span_metrics::settings::{CountedSpans, SpanNames};

/// Checks that the import of a policy means the same as `expected`, and has a finding with these words.
fn check_policy(policy: &str, expected: &str, words: &[&str]) {
    let text = format!("processors: {{tail_sampling: {{policies: [{policy}]}}}}\n");
    let imported = imported(&text).unwrap();
    let found = loaded(&imported).settings.tail_sampling.policies;
    let expected = load(&format!("tail_sampling: {{policies: [{expected}]}}\n"), &|_| None).unwrap();
    assert_eq!(found, expected.settings.tail_sampling.policies, "{policy}:\n{}", imported.text);
    assert!(words.is_empty() || has_finding(&imported, words), "{words:?}: {:#?}", findings(&imported));
}

/// The policy that takes the place of a list in which no policy can be carried.
const NONE: &str = "{name: everything, type: always_sample}";

#[test]
fn policies() {
    for (policy, expected, words) in [
        ("{name: a, type: always_sample}", "{name: a, type: always_sample}", vec![]),
        ("{name: a, type: trace_flags}", "{name: a, type: trace_flags}", vec![]),
        (
            "{name: a, type: latency, latency: {threshold_ms: 5}}",
            "{name: a, type: latency, latency: {threshold_ms: 5}}",
            vec![],
        ),
        ("{name: a, type: latency}", "{name: a, type: latency, latency: {threshold_ms: 0}}", vec![]),
        (
            "{name: a, type: latency, latency: {threshold_ms: 5, upper_threshold_ms: 9}}",
            "{name: a, type: latency, latency: {threshold_ms: 5, upper_threshold_ms: 9}}",
            vec!["different", "policies[0].latency", "both bounds"],
        ),
        (
            "{name: a, type: numeric_attribute, numeric_attribute: {key: k, min_value: 0, max_value: 9}}",
            "{name: a, type: numeric_attribute, numeric_attribute: {key: k, max_value: 9}}",
            vec!["not needed", "min_value", "not set"],
        ),
        (
            "{name: a, type: numeric_attribute, numeric_attribute: {key: k, min_value: 0}}",
            NONE,
            vec!["not carried", "no bound"],
        ),
        (
            "{name: a, type: string_attribute, string_attribute: {key: k, values: [v, 404, 'a b'], cache_max_size: 5, invert_match: true}}",
            "{name: a, type: string_attribute, string_attribute: {key: k, values: [v, 404, \"a b\"], invert_match: true}}",
            vec!["not needed", "cache_max_size"],
        ),
        (
            "{name: a, type: string_attribute, string_attribute: {key: k, values: ['(?<x>a']  , enabled_regex_matching: true}}",
            NONE,
            vec!["not carried", "policies[0]", "regular expression"],
        ),
        (
            "{name: a, type: boolean_attribute, boolean_attribute: {key: k, value: true}}",
            "{name: a, type: boolean_attribute, boolean_attribute: {key: k, value: true}}",
            vec![],
        ),
        (
            "{name: a, type: probabilistic, probabilistic: {hash_salt: x, sampling_percentage: 0.1}}",
            "{name: a, type: probabilistic, probabilistic: {sampling_percentage: 0.1%}}",
            vec!["different", "as many traces"],
        ),
        (
            "{name: a, type: probabilistic, probabilistic: {sampling_percentage: 250}}",
            "{name: a, type: probabilistic, probabilistic: {sampling_percentage: 100%}}",
            vec![],
        ),
        (
            "{name: a, type: status_code, status_code: {status_codes: [ERROR, UNSET]}}",
            "{name: a, type: status_code, status_code: {status_codes: [ERROR, UNSET]}}",
            vec![],
        ),
        (
            "{name: a, type: status_code, status_code: {status_codes: [BAD]}}",
            NONE,
            vec!["not carried", "unknown status code"],
        ),
        (
            "{name: a, type: rate_limiting, rate_limiting: {spans_per_second: 35}}",
            "{name: a, type: rate_limiting, rate_limiting: {spans_per_second: 35}}",
            vec!["different", "burst"],
        ),
        (
            "{name: a, type: bytes_limiting, bytes_limiting: {bytes_per_second: 1_000, burst_capacity: 2000}}",
            "{name: a, type: bytes_limiting, bytes_limiting: {bytes_per_second: 1_000, burst_capacity: 2000}}",
            vec![],
        ),
        (
            "{name: a, type: span_count, span_count: {min_spans: 2, max_spans: 20}}",
            "{name: a, type: span_count, span_count: {min_spans: 2, max_spans: 20}}",
            vec![],
        ),
        (
            "{name: a, type: trace_state, trace_state: {key: k, values: [v]}}",
            "{name: a, type: trace_state, trace_state: {key: k, values: [v]}}",
            vec![],
        ),
        (
            "{name: a, type: ottl_condition, ottl_condition: {error_mode: ignore, span: ['name == \"x\"'], spanevent: ['name == \"y\"']}}",
            "{name: a, type: ottl_condition, ottl_condition: {span: ['name == \"x\"'], spanevent: ['name == \"y\"']}}",
            vec!["not needed", "error_mode"],
        ),
        ("{name: a, type: ottl_condition, ottl_condition: {span: ['Now() > 1']}}", NONE, vec!["not carried", "OTTL"]),
        (
            "{name: a, type: and, and: {and_sub_policy: [{name: b, type: always_sample}, {type: trace_flags}]}}",
            "{name: a, type: and, and: {and_sub_policy: [{name: b, type: always_sample}, {type: trace_flags}]}}",
            vec![],
        ),
        (
            "{name: a, type: and, and: {and_sub_policy: [{name: b, type: numeric_attribute, numeric_attribute: {key: k}}]}}",
            NONE,
            vec!["not carried", "policies[0]:", "no bound"],
        ),
        (
            "{name: a, type: not, not: {not_sub_policy: {name: b, type: trace_flags}}}",
            "{name: a, type: not, not: {not_sub_policy: {name: b, type: trace_flags}}}",
            vec![],
        ),
        (
            "{name: a, type: drop, drop: {drop_sub_policy: [{name: b, type: trace_flags}]}}",
            "{name: a, type: drop, drop: {drop_sub_policy: [{name: b, type: trace_flags}]}}",
            vec!["every policy is of type `drop`"],
        ),
        ("{name: a, type: acme, acme: {x: 1}}", NONE, vec!["not carried", "unknown policy type"]),
        ("{name: a}", NONE, vec!["not carried", "no `type`"]),
        ("{name: a, type: error}", "{name: a, type: error}", vec![]),
        (
            "{name: a, type: always_sample, latency: {threshold_ms: 1}}",
            "{name: a, type: always_sample}",
            vec!["not needed", "does not read it"],
        ),
    ] {
        check_policy(policy, expected, &words);
    }
}

/// Checks that the import of `text` has each of these lines, and a finding with each of these words.
fn check(text: &str, lines: &[&str], words: &[&[&str]]) {
    let imported = imported(text).unwrap();
    loaded(&imported);
    for line in lines {
        assert!(imported.text.lines().any(|found| found.trim() == *line), "{line} is missing:\n{}", imported.text);
    }
    for words in words {
        assert!(has_finding(&imported, words), "{words:?}: {:#?}", findings(&imported));
    }
}

#[test]
fn receivers() {
    check(
        "receivers: {otlp: {protocols: {grpc: , http: }}}\n",
        &[
            "- \"localhost:4317\" # receivers.otlp.protocols.grpc: the Collector's default",
            "max_request_bytes: 20MiB # the Collector's default over HTTP",
        ],
        &[],
    );
    check(
        "receivers: {otlp: {protocols: {grpc: {endpoint: ':4317', max_recv_msg_size_mib: 64}, http: {endpoint: '[::1]:4318'}}}}\n",
        &[
            "- \"0.0.0.0:4317\" # receivers.otlp.protocols.grpc.endpoint",
            "- \"[::1]:4318\" # receivers.otlp.protocols.http.endpoint",
            "max_request_bytes: 64MiB # receivers.otlp.protocols.grpc.max_recv_msg_size_mib",
        ],
        &[],
    );
    check(
        "receivers: {otlp: {protocols: {grpc: {transport: unix, endpoint: /run/x}, http: {endpoint: nonsense}}}, kafka: }\n",
        &["listen: [\"localhost:4317\", \"localhost:4318\"] # no address could be carried"],
        &[
            &["not carried", "transport"],
            &["not carried", "http.endpoint", "not a valid listen address"],
            &["receivers.kafka", "OTLP only"],
        ],
    );
    check(
        "receivers: {otlp: {protocols: {http: {tls: {cert_file: /x.crt, key_file: /x.key}, auth: {authenticator: oidc}, traces_url_path: /t}}}}\n\
         extensions: {oidc: }\n",
        &["# tls: {cert_file: /x.crt, key_file: /x.key}"],
        &[
            &["not carried", "http.tls", "cannot read"],
            &["not carried", "auth", "`oidc`"],
            &["not carried", "traces_url_path"],
        ],
    );
    check(
        "receivers: {otlp: {protocols: {http: {auth: {authenticator: bearertokenauth}}}}}\n\
         extensions: {bearertokenauth: {tokens: [aaaaaaaaaaaaaaaa, bbbbbbbbbbbbbbbb]}}\n",
        &["auth: {bearer: {tokens: [aaaaaaaaaaaaaaaa, bbbbbbbbbbbbbbbb]}} # extensions.bearertokenauth"],
        &[],
    );
}

/// Returns a file with `otlp` over both protocols.
fn both(grpc: &str, http: &str) -> String {
    format!("receivers: {{otlp: {{protocols: {{grpc: {{{grpc}}}, http: {{{http}}}}}}}}}\n")
}

#[test]
fn client_certificates_that_one_protocol_asks_for_are_asked_for_on_all_addresses() {
    let own = "cert_file: /x.crt, key_file: /x.key";
    let mutual = "# tls: {cert_file: /x.crt, key_file: /x.key, client_ca_file: /ca.crt}";
    check(
        &both(&format!("tls: {{{own}}}"), &format!("tls: {{{own}, client_ca_file: /ca.crt}}")),
        &[mutual],
        &[
            &["different", "http.tls.client_ca_file", "must show a certificate of this authority"],
            &["not needed", "http.tls.cert_file", "for all addresses"],
        ],
    );
    check(
        &both(&format!("tls: {{{own}, client_ca_file: /ca.crt}}"), "tls: {cert_file: /y.crt, key_file: /y.key}"),
        &[mutual],
        &[
            &["different", "http.tls:", "must show a certificate as well"],
            &[
                "not carried",
                "http.tls.cert_file",
                "all addresses show the certificate in `receivers.otlp.protocols.grpc.tls`",
            ],
            &["not carried", "http.tls.key_file"],
        ],
    );
    check(
        &both(
            &format!("tls: {{{own}, client_ca_file: /ca.crt}}"),
            &format!("tls: {{{own}, client_ca_file: /other.crt}}"),
        ),
        &[mutual],
        &[&["not carried", "http.tls.client_ca_file", "those of this one are refused"]],
    );
    check(
        &both(&format!("tls: {{{own}, client_ca_file: /ca.crt}}"), ""),
        &[mutual],
        &[&["not carried", "grpc.tls", "cannot read"]],
    );
}

#[test]
fn what_the_second_protocol_has_is_reported() {
    let tokens = "extensions: {bearertokenauth: {token: aaaaaaaaaaaaaaaa}, oidc: {issuer_url: 'https://i'}}\n";
    check(
        &(both("auth: {authenticator: oidc}", "auth: {authenticator: bearertokenauth}") + tokens),
        &["auth: {bearer: {tokens: [aaaaaaaaaaaaaaaa]}} # extensions.bearertokenauth"],
        &[&["not carried", "grpc.auth", "`oidc`"], &["not carried", "extensions.oidc"]],
    );
    check(
        &(both("", "auth: {authenticator: bearertokenauth}") + tokens),
        &[],
        &[&["different", "http.auth", "all addresses"]],
    );
    check(
        &both("max_recv_msg_size_mib: 64, cors: {max_age: 5}", "max_request_body_size: 1000, cors: {max_age: 6}"),
        &["max_request_bytes: 64MiB # receivers.otlp.protocols.grpc.max_recv_msg_size_mib"],
        &[
            &["different", "http.max_request_body_size", "the larger one"],
            &["not carried", "http.cors", "one `otlp.cors`"],
        ],
    );
    check(&both("endpoint: 'a:1'", "endpoint: 'a:1'"), &[], &[&["not needed", "http.endpoint", "listed already"]]);
}

#[test]
fn endpoints_that_are_variables() {
    check(
        "exporters: {otlphttp: {endpoint: '${env:SINK}'}}\n",
        &["endpoint: \"${env:SINK}\" # exporters.otlphttp.endpoint"],
        &[&["different", "exporters.otlphttp.endpoint", "must contain the sink's address for gRPC with its scheme"]],
    );
    check(
        "exporters: {otlphttp: {endpoint: '${SINK:-http://tempo:4317}/v1/traces'}}\n",
        &["endpoint: \"${env:SINK:-http://tempo:4317}\" # exporters.otlphttp.endpoint"],
        &[],
    );
    check(
        "exporters: {otlphttp: {endpoint: 'http://${HOST}:4318', traces_endpoint: 'http://${TRACES}:4318/v1/traces'}}\n",
        &["endpoint: \"http://${env:TRACES}:4317\" # exporters.otlphttp.traces_endpoint"],
        &[
            &["not needed", "exporters.otlphttp.endpoint"],
            &["different", "traces_endpoint", "with the value of the variable"],
        ],
    );
    check(
        "exporters: {otlp: {endpoint: '${env:SINK}', tls: {insecure: true}}}\n",
        &["endpoint: \"http://${env:SINK}\" # exporters.otlp.endpoint"],
        &[&["different", "exporters.otlp.endpoint", "must contain a host, without a scheme"]],
    );
}

#[test]
fn a_switch_that_is_a_variable_is_not_guessed() {
    check(
        "exporters: {otlp: {endpoint: 'tempo:4317', tls: {insecure: '${env:PLAIN}'}}}\n",
        &["endpoint: \"https://tempo:4317\" # exporters.otlp.endpoint"],
        &[&["not carried", "exporters.otlp.tls.insecure", "is not known here: the endpoint is written with TLS"]],
    );
    check(
        "exporters: {googlecloud: {trace: {endpoint: 'a:1', use_insecure: '${env:PLAIN:-true}'}}}\n",
        &["endpoint: \"https://a:1\" # exporters.googlecloud.trace.endpoint"],
        &[&["not carried", "exporters.googlecloud.trace.use_insecure"]],
    );
}

#[test]
fn a_second_processor_of_a_kind_is_reported() {
    check(
        "processors: {memory_limiter: {limit_mib: 512}, memory_limiter/b: {limit_mib: 0, limit_percentage: 40, spike_limit_mib: 5}, \
         batch: {timeout: 1s, send_batch_size: 5, send_batch_max_size: 9}, batch/b: {timeout: 2s}, resourcedetection: {detectors: [gcp]}, \
         resourcedetection/b: {detectors: [gcp], timeout: 1s}}\n",
        &["limit: 512MiB # processors.memory_limiter.limit_mib", "max_spans: 9 # processors.batch.send_batch_max_size"],
        &[
            &["not carried", "memory_limiter/b.limit_percentage", "another `memory_limiter`"],
            &["not needed", "memory_limiter/b.limit_mib", "not set"],
            &["not needed", "memory_limiter/b.spike_limit_mib"],
            &["not needed", "batch.send_batch_size"],
            &["not carried", "batch/b"],
            &["not needed", "resourcedetection/b"],
        ],
    );
    check(
        "processors: {probabilistic_sampler: {sampling_percentage: 10, hash_seed: 7, mode: proportional, acme: 1}, \
         probabilistic_sampler/b: {sampling_percentage: 20}}\n",
        &[
            "- {name: ratio, type: probabilistic, probabilistic: {sampling_percentage: 10%}} # processors.probabilistic_sampler",
        ],
        &[
            &["not needed", "probabilistic_sampler.hash_seed"],
            &["different", "probabilistic_sampler.mode"],
            &["not carried", "probabilistic_sampler.acme", "no such setting"],
            &["not carried", "probabilistic_sampler/b"],
        ],
    );
    check(
        "processors: {probabilistic_sampler: {hash_seed: 7}}\n",
        &["policies: [{name: everything, type: always_sample}] # the pipeline has no sampler"],
        &[&["not carried", "probabilistic_sampler:", "no `sampling_percentage`"]],
    );
}

#[test]
fn keys_that_nothing_reads_are_reported() {
    check(
        "receivers: {otlp: {protocols: {grpc: }}}\nexporters: {googlecloud: , kafka: {brokers: [a]}}\nx-common: {a: 1}\n\
         service: {pipelines: {traces: {receivers: [otlp], exporters: [googlecloud], acme: 1}, metrics: {receivers: [otlp], exporters: [kafka]}}}\n",
        &[],
        &[
            &["not carried", "service.pipelines.traces.acme", "nothing in Spansieve is set by it"],
            &["not carried", "x-common"],
            &["not carried", "exporters.kafka", "only pipelines that are not carried use it"],
        ],
    );
}

#[test]
fn a_component_that_is_named_twice_is_taken_once() {
    check(
        "receivers: {otlp: {protocols: {grpc: }}}\nprocessors: {resource: {attributes: [{key: k, action: delete}]}}\nexporters: {nop: }\n\
         service: {pipelines: {traces: {receivers: [otlp], processors: [resource, resource], exporters: [nop]}}}\n",
        &["- {key: k, action: delete} # processors.resource.attributes[0]"],
        &[&["not needed", "processors[1]", "spans pass it once"]],
    );
}

#[test]
fn processors() {
    check(
        "processors: {memory_limiter: {limit_mib: 512, limit_percentage: 50, check_interval: 1s}, batch: {send_batch_size: 100, timeout: 2s}}\n",
        &[
            "limit: 512MiB # processors.memory_limiter.limit_mib",
            "max_spans: 100 # processors.batch.send_batch_size",
            "max_delay: 2s # processors.batch.timeout",
        ],
        &[
            &["different", "limit_mib", "not the size of the whole process"],
            &["not needed", "check_interval"],
            &["not needed", "limit_percentage"],
        ],
    );
    check(
        "processors: {attributes: {actions: [{key: a, action: delete}]}, filter: , transform: , acme: , probabilistic_sampler: {sampling_percentage: 10}}\n",
        &[
            "- {name: ratio, type: probabilistic, probabilistic: {sampling_percentage: 10%}} # processors.probabilistic_sampler",
        ],
        &[
            &["not carried", "processors.attributes.actions[0]", "attributes of spans"],
            &["not carried", "processors.filter", "whole traces"],
            &["not carried", "processors.transform"],
            &["not carried", "processors.acme", "no such processor"],
        ],
    );
    check(
        "processors:\n  resource: {attributes: [{key: team, value: x, action: upsert}, {key: a, from_context: b, action: insert}]}\n  \
         tail_sampling: {policies: [{name: a, type: string_attribute, string_attribute: {key: team, values: [x]}}]}\n  \
         tail_sampling/2: {policies: []}\n",
        &[
            "- {key: team, value: x, action: upsert} # processors.resource.attributes[0]",
            "decision_wait: 30s # the Collector's default",
        ],
        &[
            &["different", "processors.resource", "after the decision"],
            &["different", "policies[0]", "asks for `team`, which `processors.resource` sets before"],
            &["not carried", "attributes[1]", "from_context"],
            &["not carried", "tail_sampling/2", "samples once"],
        ],
    );
    check(
        "processors: {batch: , resourcedetection: {detectors: [gcp, ec2]}, tail_sampling: {decision_wait: 1h, maximum_trace_size_bytes: 2048, \
         sampling_strategy: span-ingest, decision_cache: {sampled_cache_size: 0}, policies: [{name: a, type: trace_flags}]}}\n",
        &[
            "detect: gcp # processors.resourcedetection.detectors[0]",
            "bytes_max: 2KiB # processors.tail_sampling.maximum_trace_size_bytes",
        ],
        &[
            &["not needed", "processors.batch"],
            &["not carried", "detectors[1]"],
            &["not carried", "decision_wait", "out of range"],
            &["not carried", "sampling_strategy"],
            &["different", "sampled_cache_size"],
        ],
    );
}

#[test]
fn keys_of_spansieve_itself_are_carried() {
    check(
        "processors: {tail_sampling: {rescue: {window: 0s}, spans_max: 500, strange: 1, policies: [{name: a, type: error}]}}\n",
        &[
            "spans_max: 500 # processors.tail_sampling.spans_max",
            "rescue: {window: 0s} # processors.tail_sampling.rescue",
        ],
        &[&["not carried", "processors.tail_sampling.strange", "unknown key"]],
    );
}

#[test]
fn exporters() {
    check(
        "exporters: {googlecloud: {project: p, destination_project_quota: true, timeout: 5s, impersonate: {target_principal: x}}}\n",
        &["project: p # exporters.googlecloud.project"],
        &[&["not carried", "impersonate"], &["not needed", "timeout"], &["different", "allowed_projects"]],
    );
    check(
        "exporters: {debug: , googlecloud: {trace: {endpoint: 'localhost:9443', use_insecure: true}}, otlp: {endpoint: 'b:1'}}\n",
        &["endpoint: \"http://localhost:9443\" # exporters.googlecloud.trace.endpoint"],
        &[&["not carried", "exporters.debug"], &["not carried", "exporters.otlp", "one sink"]],
    );
    check(
        "exporters: {otlp: {endpoint: 'dns:///tempo:4317', tls: {insecure: true, insecure_skip_verify: true}, compression: zstd}}\n",
        &["api: otlp", "endpoint: \"http://tempo:4317\" # exporters.otlp.endpoint"],
        &[&["not carried", "insecure_skip_verify"], &["not needed", "compression"]],
    );
    check(
        "exporters: {otlphttp: {endpoint: 'https://telemetry.googleapis.com', auth: {authenticator: googleclientauth}}}\nextensions: {googleclientauth: }\n",
        &["api: telemetry # exporters.otlphttp.endpoint"],
        &[&["not needed", "auth"]],
    );
    check(
        "exporters: {otlphttp: {endpoint: 'https://example.com/otlp'}, kafka: }\n",
        &["endpoint: embedded # no exporter could be carried"],
        &[&["not carried", "exporters.otlphttp", "no path"], &["not carried", "exporters.kafka"]],
    );
    check(
        "exporters: {otlp: {endpoint: 'not an address'}}\n",
        &["endpoint: embedded # the exporter could not be carried"],
        &[&["not carried", "exporters.otlp.endpoint"]],
    );
}

#[test]
fn service() {
    check(
        "receivers: {otlp: {protocols: {grpc: }}}\nexporters: {nop: }\nextensions: {health_check: , pprof: , acme: }\n\
         service:\n  telemetry: {logs: {level: WARN, encoding: console}, metrics: {address: '0.0.0.0:8888'}}\n  \
         pipelines: {traces: {receivers: [otlp, missing], exporters: [nop]}, metrics: {receivers: [otlp]}}\n",
        &[
            "listen: \"0.0.0.0:8888\" # service.telemetry.metrics.address",
            "level: warn # service.telemetry.logs.level",
            "format: text # service.telemetry.logs.encoding",
        ],
        &[
            &["not carried", "pipelines.traces.receivers[1]", "`missing` is not defined"],
            &["not carried", "service.pipelines.metrics", "traces only"],
            &["different", "extensions.health_check"],
            &["not carried", "extensions.acme"],
        ],
    );
    check("service: {pipelines: {logs: {receivers: [otlp]}}}\n", &[], &[&["not carried", "no pipeline is of traces"]]);
    check(
        "receivers: {otlp: {<<: {protocols: {grpc: {endpoint: 'a:1'}}}}}\n",
        &["- \"a:1\" # receivers.otlp.protocols.grpc.endpoint"],
        &[],
    );
}

const METRICS: &str = "
connectors:
  spanmetrics:
    namespace: traces.span.metrics
    histogram: {unit: s, explicit: {buckets: [100us, 5ms, 1s]}}
    dimensions: [{name: http.request.method, default: GET}, {name: zone}]
    exclude_dimensions: [span.kind]
    metrics_expiration: 5m
    aggregation_cardinality_limit: 5000
    metrics_flush_interval: 15s
    acme: 1
  spanmetrics/second: {}
  spanmetrics/unused: {}
  servicegraph: {store: {ttl: 2s}, latency_histogram_buckets: [10ms], dimensions: [zone]}
receivers: {otlp: }
processors: {tail_sampling: {policies: [{name: a, type: always_sample}]}}
exporters: {nop: }
";

#[test]
fn connectors_of_metrics_become_the_metrics_of_spans() {
    let service =
        "service: {pipelines: {traces: {receivers: [otlp], processors: [tail_sampling], exporters: [EXPORTERS]}}}";
    let import = |exporters: &str| imported(&format!("{METRICS}{}", service.replace("EXPORTERS", exporters))).unwrap();
    let both = import("spanmetrics, spanmetrics/second, servicegraph, nop");
    let settings = loaded(&both).settings.span_metrics.unwrap();
    let dimensions: Vec<_> = settings.dimensions.iter().map(|d| (d.key.as_str(), d.default.as_str())).collect();
    assert_eq!(dimensions, [("http.request.method", "GET"), ("zone", "")]);
    assert_eq!(settings.buckets, [5, 1_000].map(std::time::Duration::from_millis), "{}", both.text);
    assert_eq!((settings.max_series, settings.expire_after.as_secs(), settings.service_graph), (5_000, 300, true));
    assert_eq!((settings.spans, settings.span_names), (CountedSpans::All, SpanNames::AsSent));
    for words in [
        &["not carried", "spanmetrics.histogram.explicit.buckets[0]", "out of range"],
        &["not carried", "spanmetrics.exclude_dimensions", "always labels"],
        &["not carried", "spanmetrics.acme", "no such setting"],
        &["not carried", "connectors.spanmetrics/second", "one set of metrics"],
        &["not carried", "connectors.spanmetrics/unused", "no pipeline that is carried"],
        &["not carried", "servicegraph.dimensions", "two services"],
        &["different", "servicegraph.latency_histogram_buckets", "those of `spanmetrics`"],
        &["different", "connectors.spanmetrics", "before any trace is dropped"],
        &["not needed", "servicegraph.store", "wait for"],
        &["not needed", "spanmetrics.metrics_flush_interval", "before it"],
    ] {
        assert!(has_finding(&both, words), "{words:?}: {:#?}", findings(&both));
    }
    let metrics = loaded(&import("spanmetrics")).settings.span_metrics.unwrap();
    assert!(!metrics.service_graph);
    let graph = loaded(&import("servicegraph")).settings.span_metrics.unwrap();
    assert_eq!((graph.spans, graph.service_graph, graph.buckets.len()), (CountedSpans::Entry, true, 1));
    assert_eq!(loaded(&import("nop")).settings.span_metrics, None);
}
