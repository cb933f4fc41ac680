//! The messages about bad configurations: `line:column+length message`, one problem a line.

use super::said;
use crate::terminal::Paint;

#[test]
fn syntax() {
    // Text that is not YAML, and YAML that no configuration needs.
    check(&[
        ("otlp:\n\tlisten: []\n", "2:2+1 not valid YAML: tabs disallowed within this context (block indentation)"),
        (
            "memory: {limit: ${env:WAIT}}\n",
            "1:18+1 not valid YAML: while parsing a flow mapping, did not find expected ',' or '}'",
        ),
        ("otlp: {listen: [a, b\n", "1:16+1 not valid YAML: unclosed bracket '['"),
        ("otlp: {listen: 4318}\n", "1:16+4 `4318` is not a valid listen address"),
        ("otlp: {listen: 0.0.0.0:4318}\n", "1:16+12 expected a list, found `0.0.0.0:4318`"),
        ("memory: {limit: 70}\n", "1:17+2 `70` is 70 bytes"),
        ("otlp:\n  listen: \"abc\n", "2:11+1 not valid YAML: the quoted text that begins here has no end"),
        (
            "otlp:\n  listen: [\"0.0.0.0:4317]\nmemory:\n  limit: 1GiB\nexport:\n  endpoint: \"embedded\"\n",
            "2:12+1 not valid YAML: the quoted text that begins here ends only on line 6",
        ),
        ("memory: *nowhere\n", "1:9+1 not valid YAML: while parsing node, found unknown anchor"),
        ("memory: a: b\n", "1:10+1 not valid YAML: mapping values are not allowed in this context"),
        ("memory:\n  limit: 1GiB\n---\nmemory:\n", "3:1+3 a second document"),
        ("memory: &a [*a]\n", "1:13+2 an alias inside of what it stands for"),
        ("memory: !size 5\n", "1:15+1 tags have no meaning here"),
        ("? [a]\n: 5\n", "1:3+1 a key must be a word"),
        (
            "memory:\n  limit: 1GiB\n  limit: 2GiB\nmemory:\n",
            "3:3+5 the key `limit` is given twice\n4:1+6 the key `memory` is given twice",
        ),
        ("- otlp\n", "1:1+1 expected a section of `key: value` lines, found a list"),
        ("otlp\n", "1:1+4 expected a section of `key: value` lines, found something else"),
    ]);
}

#[test]
fn suggestions() {
    for (text, expected) in [
        ("receivers: {}\n", "OpenTelemetry Collector"),
        ("service: {}\n", "docs/migrating-from-the-collector.md"),
        ("decision_wait: 5s\n", "did you mean `decision_wait` of `tail_sampling`?"),
        ("spol: {}\n", "known here: otlp,"),
        ("otlp: {listen: 4318}\n", "`0.0.0.0:4318`"),
        ("memory: {limit: 70}\n", "write `70%` or `70MiB`"),
        ("telemetry: {listen: 9090}\n", "`0.0.0.0:9090`"),
        ("otlp:\n  listen: \"abc\n", "close it with `\"` on this line"),
        ("spool: {}\n", "did you mean `spool` of `export`?"),
        ("otlp: {service: x}\n", "known here: listen,"),
        ("otlp: {listen: [\"a:1\"], listn: []}\n", "known here: listen,"),
        ("export: {endpoint: \"http://cloudtrace.googleapis.com\"}\n", "write `https://cloudtrace.googleapis.com`"),
    ] {
        let problems = super::load(text).unwrap_err();
        let help = problems.iter().next().unwrap().help.clone().unwrap_or_default();
        assert!(help.contains(expected), "{text}: {help}");
    }
}

#[test]
fn keys() {
    // Unknown and misplaced keys.
    check(&[
        ("tail_samplng:\n", "1:1+12 unknown key `tail_samplng`"),
        ("policies: []\n", "1:1+8 unknown key `policies`"),
        ("decision_wait: 5s\n", "1:1+13 unknown key `decision_wait`"),
        ("processors:\n", "1:1+10 unknown key `processors`"),
        ("otlp:\n  LISTEN: []\n", "2:3+6 unknown key `LISTEN`"),
        ("<<: {}\n", "1:1+2 unknown key `<<`"),
        ("telemetry: {log: {lvl: info}}\n", "1:19+3 unknown key `lvl`"),
        ("memory: 5\n", "1:9+1 expected a section of `key: value` lines, found `5`"),
        ("telemetry: {log: []}\n", "1:18+1 expected a section of `key: value` lines, found a list"),
    ]);
}

#[test]
fn secrets() {
    // A secret in the wrong form is not repeated.
    check(&[
        (
            "otlp: {auth: {bearer: {tokens: s3cret}}}\n",
            "1:23+1 there is no token in `bearer`\n1:32+6 expected a list, found something else",
        ),
        (
            "export:\n  headers: Bearer s3cret\n",
            "2:12+13 expected a section of `key: value` lines, found something else",
        ),
        ("otlp: {auth: {bearer: s3cret}}\n", "1:23+6 expected a section of `key: value` lines, found something else"),
        ("otlp: {auth: s3cret}\n", "1:14+6 expected a section of `key: value` lines, found something else"),
        ("s3cret\n", "1:1+6 expected a section of `key: value` lines, found something else"),
        ("export: {endpoint: 'https://user:s3cret@h/x'}\n", "1:20+25 `https://***@h/x` is not a valid endpoint"),
        ("export: {endpoint: 'http://h/x?key=s3cret'}\n", "1:20+23 `http://h/x?***` is not a valid endpoint"),
        ("memory: {limit: '${env:SECRET}'}\n", "1:17+15 `${env:SECRET}` is not a size"),
    ]);
    let texts = [
        "otlp:\n  auth:\n    bearer:\n      tokens: [s3cret, \"s3\tcret\"]\n",
        "otlp: {auth: {bearer: {tokens: [s3cret]}}}\n",
        "otlp: {auth: {bearer: {tokens: s3cret}}}\n",
        "otlp: {auth: {bearer: {tokens: [s3cret\n",
        "export:\n  headers:\n    content-type: s3cret\n",
        "export:\n  headers: s3cret\n",
        "export:\n  headers:\n    authorization: \"Bearer s3cret\n",
        "s3cret\n",
        "otlp:\n  auth: s3cret\n",
        "otlp:\n  auth:\n    bearer: s3cret\n",
        "otlp: {auth: {bearer: {token: s3cret}}}\n",
        "export: {header: {authorization: s3cret}}\n",
        "memory: {limit: '${env:SECRET}'}\n",
        "tail_sampling: {policies: '${env:SECRET}'}\n",
        "tail_sampling: {decision_wait: '5 ${env:SECRET}'}\n",
        "export: {project: 'x${env:SECRET}!'}\n",
    ];
    for text in texts {
        let rendered = match super::load(text) {
            Ok(loaded) => crate::config::render(&loaded.warnings, text, "f", Paint::PLAIN),
            Err(problems) => format!("{}{problems}", problems.render("f", Paint::PLAIN)),
        };
        assert!(!rendered.is_empty() && !rendered.contains("s3cret"), "{rendered}");
    }
}

#[test]
fn environment() {
    // References to the environment.
    check(&[
        (
            "otlp:\n  listen: ['${env:NOPE}:1', '${env:ALSO_NOT}:2']\n  max_request_bytes: ${env:NOPE}\n",
            "2:12+15 the environment variable `NOPE` is not set\n2:29+19 the environment variable `ALSO_NOT` is not set\n3:22+11 the environment variable `NOPE` is not set",
        ),
        // Nothing else is wrong with what needs the variable.
        (
            "export: {api: otlp, endpoint: 'http://tempo:4317', headers: {x-key: '${env:NOPE}'}}\n",
            "1:69+13 the environment variable `NOPE` is not set",
        ),
        (
            "tail_sampling:\n  policies:\n    - {name: a, type: ottl_condition, ottl_condition: {span: ['${env:NOPE}']}}\n",
            "3:63+13 the environment variable `NOPE` is not set",
        ),
        (
            "tail_sampling:\n  policies:\n    - {name: errors, type: error}\n    - name: d\n      type: drop\n      drop:\n        drop_sub_policy: [{type: not, not: {not_sub_policy: {type: ottl_condition, ottl_condition: {span: ['${env:NOPE}']}}}}]\n",
            "7:108+13 the environment variable `NOPE` is not set",
        ),
        ("memory:\n  limit: ${PORT}\n", "2:10+7 `${PORT}` is not a valid reference to an environment variable"),
        ("memory:\n  limit: ${file:x}\n", "2:10+9 `${file:x}` is not a valid reference to an environment variable"),
        ("memory:\n  limit: ${env:PORT\n", "2:10+10 `${` without `}`"),
        ("memory:\n  limit: ${env:1X}\n", "2:10+9 `1X` is not a valid name of an environment variable"),
        ("memory:\n  limit: ${env:}\n", "2:10+7 `` is not a valid name of an environment variable"),
        ("memory:\n  limit: ${env:EMPTY}\n", "2:10+12 expected a size or a percentage, found nothing"),
        ("memory:\n  limit: ${env:PORT}\n", "2:10+11 `${env:PORT}` is out of range"),
        ("tail_sampling:\n  decision_wait: ${env:TRICK}\n", "2:18+12 the value of `${env:TRICK}` cannot be used here"),
    ]);
}

#[test]
fn otlp() {
    // `otlp`.
    check(&[
        ("otlp: {listen: []}\n", "1:8+6 `listen` is an empty list"),
        ("otlp:\n  listen: 0.0.0.0:4317\n", "2:11+12 expected a list, found `0.0.0.0:4317`"),
        (
            "otlp:\n  listen:\n    - :4317\n    - nope\n    - a:70000\n    - a b:1\n    - 1:2:3\n    - [1]\n    -\n    - ok:1\n    - ok:1\n",
            "3:7+5 `:4317` is not a valid listen address\n4:7+4 `nope` is not a valid listen address\n5:7+7 `a:70000` is not a valid listen address\n6:7+5 `a b:1` is not a valid listen address\n7:7+5 `1:2:3` is not a valid listen address\n8:7+1 expected an address, found a list\n9:6+1 expected an address, found nothing\n11:7+4 warning: given twice",
        ),
        ("otlp: {max_request_bytes: 1000}\n", "1:27+4 `1000` is out of range"),
        ("otlp: {max_request_bytes: 4GiB}\n", "1:27+4 `4GiB` is out of range"),
        ("otlp: {max_request_bytes: 16mib}\n", "1:27+5 `16mib`: unknown unit `mib`"),
        ("otlp: {max_request_bytes: lots}\n", "1:27+4 `lots` is not a size"),
        ("otlp: {max_request_bytes: -5}\n", "1:27+2 `-5` is not a size"),
        ("otlp: {max_request_bytes: 1.5}\n", "1:27+3 `1.5` lacks a unit"),
        ("otlp: {max_request_bytes: 16Parsec}\n", "1:27+8 `16Parsec`: unknown unit `Parsec`"),
        ("otlp: {max_request_bytes:}\n", "1:25+1 expected a size, found nothing"),
    ]);
}

#[test]
fn tail_sampling() {
    // `tail_sampling` without its policies.
    check(&[
        ("tail_sampling: {decision_wait: 0}\n", "1:32+1 `0` is out of range"),
        ("tail_sampling: {decision_wait: 10m1s}\n", "1:32+5 `10m1s` is out of range"),
        ("tail_sampling: {decision_wait: 30}\n", "1:32+2 the duration `30` has no unit"),
        ("tail_sampling: {decision_wait: ten}\n", "1:32+3 `ten` is not a duration"),
        ("tail_sampling: {decision_wait: 1m30}\n", "1:32+4 `1m30` lacks a unit"),
        ("tail_sampling: {decision_wait: 5S}\n", "1:32+2 `5S`: unknown unit `S`"),
        ("tail_sampling: {decision_wait: -5s}\n", "1:32+3 `-5s` is not a duration"),
        ("tail_sampling: {decision_wait: ''}\n", "1:32+2 `` is not a duration"),
        ("tail_sampling: {decision_wait: ~}\n", "1:32+1 expected a duration, found nothing"),
        (
            "tail_sampling: {decision_wait: 99999999999999999999h}\n",
            "1:32+21 `99999999999999999999h` is not a duration",
        ),
        (
            "tail_sampling: {decision_wait: 5s, decision_wait_after_root_received: 5s}\n",
            "1:71+2 warning: `decision_wait_after_root_received` has no effect: `decision_wait` is over first",
        ),
        (
            "tail_sampling: {decision_cache: {sampled_cache_size: 0, non_sampled_cache_size: 999}}\n",
            "1:54+1 warning: `sampled_cache_size` is taken as 1000, the smallest\n1:81+3 warning: `non_sampled_cache_size` is taken as 1000, the smallest",
        ),
        (
            "tail_sampling: {decision_cache: {sampled_cache_size: -1, non_sampled_cache_size: 1e6}}\n",
            "1:54+2 `-1` is out of range\n1:82+3 expected a whole number, found `1e6`",
        ),
        (
            "tail_sampling: {decision_cache: {sampled_cache_size: 200000000, non_sampled_cache_size: '5'}}\n",
            "1:54+9 `200000000` is out of range\n1:89+3 expected a whole number, found `\"5\"`",
        ),
        (
            "tail_sampling: {rescue: {window: 2h, max_bytes: 101%}}\n",
            "1:34+2 `2h` is out of range\n1:49+4 `101%` is out of range",
        ),
        (
            "tail_sampling: {spans_max: 0, bytes_max: 1000}\n",
            "1:28+1 `0` is out of range\n1:42+4 `1000` is out of range",
        ),
        ("tail_sampling: {bytes_max: 0%}\n", "1:28+2 `0%` is out of range"),
        ("tail_sampling: {annotate: yes}\n", "1:27+3 expected true or false, found `yes`"),
        ("tail_sampling: {sample_on_first_match: first}\n", "1:40+5 expected true or false, found `first`"),
        ("tail_sampling: {annotate: 'true'}\n", "1:27+6 expected true or false, found `\"true\"`"),
    ]);
}

#[test]
fn collector() {
    // Keys that only the Collector has.
    check(&[
        (
            "tail_sampling:\n  num_traces: 50000\n  expected_new_traces_per_sec: 10\n  block_on_overflow: true\n  num_shards: 4\n  maximum_trace_size_bytes: 100000\n  sampling_strategy: trace-complete\n  drop_pending_traces_on_shutdown: false\n",
            "2:3+10 warning: `num_traces` has no effect\n3:3+27 warning: `expected_new_traces_per_sec` has no effect\n4:3+17 warning: `block_on_overflow` has no effect\n5:3+10 warning: `num_shards` has no effect\n6:3+24 warning: `maximum_trace_size_bytes` does not drop larger traces here: they are decided at once\n7:3+17 warning: `sampling_strategy` has no effect\n8:3+31 warning: `drop_pending_traces_on_shutdown` has no effect",
        ),
        (
            "tail_sampling:\n  sampling_strategy: span-ingest\n  drop_pending_traces_on_shutdown: true\n  tail_storage: pebble\n",
            "2:22+11 the sampling strategy `span-ingest` of the Collector is not supported\n3:36+4 pending traces are never dropped on shutdown: all are decided\n4:3+12 `tail_storage` is not supported: pending spans are held in memory",
        ),
        (
            "tail_sampling:\n  policies:\n    - {name: a, type: probabilistic, probabilistic: {sampling_percentage: 5, hash_salt: x}}\n",
            "3:78+9 warning: `hash_salt` has no effect",
        ),
    ]);
}

#[test]
fn resource() {
    // `resource`.
    check(&[
        ("resource: {attributes: {key: a}}\n", "1:24+1 expected a list, found a section"),
        ("resource:\n  attributes:\n    - 5\n", "3:7+1 expected a section of `key: value` lines, found `5`"),
        ("resource:\n  attributes:\n    - {}\n", "3:7+1 the key `action` is missing"),
        ("resource:\n  attributes:\n    - {key: '', action: delete}\n", "3:13+2 an attribute key must not be empty"),
        ("resource:\n  attributes:\n    - {key: k, action: delte}\n", "3:24+5 unknown action `delte`"),
        (
            "resource:\n  attributes:\n    - {key: k, action: hash, converted_type: int}\n",
            "3:30+14 `hash` takes no `converted_type`",
        ),
        (
            "resource:\n  attributes:\n    - {action: delete}\n    - {action: hash, pattern: '['}\n",
            "3:7+1 the action has neither `key` nor `pattern`\n4:31+3 not a regular expression: missing closing ]: `[`",
        ),
        (
            "resource:\n  attributes:\n    - {key: k, action: extract}\n    - {key: k, action: extract, pattern: (x)}\n",
            "3:7+1 the key `pattern` is missing\n4:42+3 each group of the pattern needs a name, and there must be one",
        ),
        (
            "resource:\n  attributes:\n    - {key: k, action: convert}\n    - {key: k, action: convert, converted_type: bool}\n",
            "3:7+1 the key `converted_type` is missing\n4:49+4 unknown type `bool`",
        ),
        (
            "resource:\n  attributes:\n    - {key: k, action: insert, from_context: metadata.x}\n",
            "3:7+1 the action has neither `value` nor `from_attribute`\n\
             3:32+12 `from_context` has no effect here: requests are not kept with what they came with",
        ),
        ("memory: {compress: zstd}\n", "1:20+4 unknown compression `zstd`"),
        ("resource: {detect: aws, normalize: true}\n", "1:20+3 unknown detector `aws`\n1:36+4 unknown choice `true`"),
        (
            "resource:\n  attributes:\n    - {key: k, action: insert}\n",
            "3:7+1 the action has neither `value` nor `from_attribute`",
        ),
        (
            "resource:\n  attributes:\n    - {key: k, action: update, value: 1, from_attribute: a}\n",
            "3:42+14 `from_attribute` beside `value`",
        ),
        (
            "resource:\n  attributes:\n    - {key: k, action: delete, value: 1, from_attribute: a}\n",
            "3:32+5 `delete` takes no `value`\n3:42+14 `delete` takes no `from_attribute`",
        ),
        (
            "resource:\n  attributes:\n    - {key: k, action: upsert, value: }\n",
            "3:37+1 expected a value, found nothing",
        ),
        (
            "resource:\n  attributes:\n    - {key: k, action: upsert, value: [.nan]}\n",
            "3:39+1 `.nan` is a number that cannot be kept as it is",
        ),
        (
            "resource:\n  attributes:\n    - {key: k, action: upsert, value: 9223372036854775808}\n",
            "3:39+19 `9223372036854775808` is a number that cannot be kept as it is",
        ),
        (
            "resource:\n  attributes:\n    - {key: k, action: upsert, value: .inf}\n",
            "3:39+4 `.inf` is a number that cannot be kept as it is",
        ),
        (
            "resource:\n  attributes:\n    - {key: k, action: upsert, from_attribute: ''}\n",
            "3:48+2 an attribute key must not be empty",
        ),
        (
            "resource:\n  attributes:\n    - {key: k, action: upsert, value: '${env:NOPE}'}\n",
            "3:39+13 the environment variable `NOPE` is not set",
        ),
    ]);
}

#[test]
fn fleet() {
    check(&[
        ("fleet: {handoff: {endpoint: embedded}}\n", "1:29+8 `embedded` is not the address of another Spansieve"),
        ("fleet: {handoff: {endpoint: 'http://host'}}\n", "1:29+13 `http://host` is not a valid endpoint"),
        (
            "fleet: {handoff: {endpoint: 'http://host:4317', id_token: true, headers: {te: x}}}\n",
            "1:49+8 an ID token would be sent in plaintext\n1:75+2 the header `te` is the protocol's own",
        ),
        ("fleet: {handof: {}}\n", "1:9+6 unknown key `handof`"),
    ]);
}

#[test]
fn export() {
    // `export`, `memory` and `telemetry`.
    check(&[
        ("export: {endpoint: embeded}\n", "1:20+7 `embeded` is not a valid endpoint"),
        (
            "export:\n  endpoint: cloudtrace.googleapis.com:443\n",
            "2:13+29 `cloudtrace.googleapis.com:443` is not a valid endpoint",
        ),
        ("export: {endpoint: 'https://'}\n", "1:20+10 `https://` is not a valid endpoint"),
        ("export: {endpoint: 'https://host/v2'}\n", "1:20+17 `https://host/v2` is not a valid endpoint"),
        ("export: {endpoint: 'http://host'}\n", "1:20+13 `http://host` is not a valid endpoint"),
        (
            "resource: {normalize: span}\nexport: {api: otlp, endpoint: 'http://h:1'}\n",
            "1:23+4 warning: spans are normalized only with `export.api: cloud_trace`, and here only resources",
        ),
        ("export: {attribute_mapping: consol}\n", "1:29+6 unknown attribute mapping `consol`"),
        (
            "export:\n  attribute_mapping:\n    own:\n      - {key: a}\n      - {key: b, replacement: c}\n      - {key: b, replacement: d, x: 1}\n",
            "4:9+1 the key `replacement` is missing\n6:9+1 the key `b` is given twice\n6:34+1 unknown key `x`",
        ),
        (
            "cloud_trace: {endpoint: embeded}\n",
            "1:1+11 warning: the section `cloud_trace` is now called `export`\n1:25+7 `embeded` is not a valid endpoint",
        ),
        (
            "cloud_trace: {endpoint: embeded}\nexport: {batch: {max_spans: 0}}\n",
            "1:1+11 the section `export` is given twice, once by its old name `cloud_trace`\n2:29+1 `0` is out of range",
        ),
        (
            "journal: {directory: /d}\ncloud_trace: {api: v2, spool: {directory: /d}}\n",
            "2:1+11 warning: the section `cloud_trace` is now called `export`\n2:20+2 warning: the API `v2` is now called `cloud_trace`\n2:43+2 `journal.directory` and `export.spool.directory` are the same",
        ),
        ("export: {api: v1}\n", "1:15+2 unknown API `v1`"),
        ("export: {api: telemetri}\n", "1:15+9 unknown API `telemetri`"),
        ("export: {api: otlp}\n", "1:10+3 `api: otlp` has no endpoint of its own"),
        ("export: {api: otlp, endpoint: http}\n", "1:31+4 `http` is not a valid endpoint"),
        ("export: {api: otlp, endpoint: embedded}\n", "1:31+8 the embedded Cloud Trace takes no OTLP"),
        ("export: {endpoint: embedded, api: telemetry}\n", "1:20+8 the embedded Cloud Trace takes no OTLP"),
        (
            "export: {api: telemetry, attribute_mapping: none, cloud_run_revision: true}\n",
            "1:26+17 warning: `attribute_mapping` has no effect: OTLP carries attributes as they are\n1:51+18 warning: `cloud_run_revision` has no effect: OTLP carries attributes as they are",
        ),
        ("export: {headers: a}\n", "1:19+1 expected a section of `key: value` lines, found something else"),
        ("export: {headers: {a b: c}}\n", "1:20+3 `a b` is not a valid header name"),
        (
            "export: {headers: {TE: a, grpc-timeout: 1S, content-type: b}}\n",
            "1:20+2 the header `TE` is the protocol's own\n1:27+12 the header `grpc-timeout` is the protocol's own\n1:45+12 the header `content-type` is the protocol's own",
        ),
        ("export: {headers: {a: b, A: c}}\n", "1:26+1 the header `A` is given twice"),
        ("export: {headers: {a: [b]}}\n", "1:23+1 expected a header's value, found a list"),
        ("export: {headers: {a: ''}}\n", "1:23+2 a header's value has from 1 to 4096 bytes"),
        ("export: {headers: {a: größe}}\n", "1:23+5 a header's value must be printable ASCII"),
        ("export: {project: projects/a}\n", "1:19+10 `projects/a` is not a valid project id"),
        ("export: {project: ''}\n", "1:19+2 a project must not be empty"),
        (
            "export: {allowed_projects: [A, '', a, a, [b]]}\n",
            "1:29+1 `A` is not a valid project id\n1:32+2 a project must not be empty\n1:39+1 warning: given twice\n1:42+1 expected a project, found a list",
        ),
        ("export: {allowed_projects: '*'}\n", "1:28+3 expected a list, found `*`"),
        ("export: {tls: {ca_file: /nowhere.pem}}\n", "1:25+12 cannot read `/nowhere.pem`: entity not found"),
        (
            "export: {embedded: {allowed_hosts: ['traces.internal:8080', traces.internal, 'http://a', traces.internal]}}\n",
            "1:37+22 `traces.internal:8080` is not the name of a host\n1:78+10 `http://a` is not the name of a host\n1:90+15 warning: given twice",
        ),
        (
            "export: {endpoint: embedded, embedded: {listen: '127.0.0.1:4318', max_bytes: 1KiB}}\n",
            "1:49+16 `127.0.0.1:4318` of `export.embedded` is taken by `0.0.0.0:4318` of `otlp`\n1:78+4 `1KiB` is out of range",
        ),
        (
            "otlp: {listen: ['0.0.0.0:8080']}\nexport: {endpoint: embedded}\n",
            "1:16+1 `127.0.0.1:8080` of `export.embedded` is taken by `0.0.0.0:8080` of `otlp`",
        ),
        (
            "otlp: {listen: ['0.0.0.0:8080']}\nexport: {endpoint: embedded, embedded: {listen: nope}}\n",
            "2:49+4 `nope` is not a valid listen address",
        ),
        (
            "export: {batch: {max_spans: 0, max_bytes: 64KB, max_delay: 0}}\n",
            "1:29+1 `0` is out of range\n1:43+4 `64KB` is out of range\n1:60+1 `0` is out of range",
        ),
        (
            "export: {batch: {max_spans: 30000, max_bytes: 1GiB, max_delay: 2m}}\n",
            "1:29+5 `30000` is out of range\n1:47+4 `1GiB` is out of range\n1:64+2 `2m` is out of range",
        ),
        ("export: {spool: {max_bytes: 1GiB}}\n", "1:17+1 the key `directory` is missing"),
        (
            "export: {spool: {directory: '', max_bytes: 1MiB}}\n",
            "1:29+2 a directory must not be empty\n1:44+4 `1MiB` is out of range",
        ),
        ("export: {spool: [/tmp]}\n", "1:17+1 expected a section of `key: value` lines, found a list"),
        ("journal: {max_bytes: 1GiB}\n", "1:10+1 the key `directory` is missing"),
        ("journal: {directory: /j, max_bytes: 1MiB}\n", "1:37+4 `1MiB` is out of range"),
        (
            "journal: {directory: /j, max_bytes: 64MiB}\notlp: {max_request_bytes: 64MiB}\n",
            "1:37+5 `journal.max_bytes` is not more than `otlp.max_request_bytes`",
        ),
        (
            "journal: {directory: /d}\nexport: {spool: {directory: /d}}\n",
            "2:29+2 `journal.directory` and `export.spool.directory` are the same",
        ),
        (
            "export: {api: otlp, endpoint: \"http://x:1\", destination_project_quota: true}\n",
            "1:45+25 warning: `destination_project_quota` has no effect: only Google counts calls by project",
        ),
        ("export: {give_up_after: 30}\n", "1:25+2 the duration `30` has no unit"),
        ("export: {give_up_after: 337h}\n", "1:25+4 `337h` is out of range"),
        ("memory: {limit: 0%}\n", "1:17+2 `0%` is out of range"),
        ("memory: {limit: 120 %}\n", "1:17+5 `120%` is out of range"),
        ("memory: {limit: 100KiB}\n", "1:17+6 `100KiB` is out of range"),
        ("memory: {limit: 8MiB}\n", "1:17+4 `memory.limit` is less than `otlp.max_request_bytes`"),
        ("memory: {limit: 8MiB}\notlp: {max_request_bytes: nope}\n", "2:27+4 `nope` is not a size"),
        ("memory: {limit: most}\n", "1:17+4 `most` is not a size"),
        (
            "telemetry: {log: {level: warning, format: jsn}}\n",
            "1:26+7 unknown level `warning`\n1:43+3 unknown format `jsn`",
        ),
    ]);
}

pub(super) fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(said(text), *expected, "{text}");
    }
}
