use std::net::SocketAddr;

use self::wire::{Manners, Proxy, Relay, SelfSigned, serve};
use super::*;
use crate::export::testing::{Reply, Script, record, span_name};
use crate::export::{advice, retry};
use crate::google::testing::{Metadata, slowly, token, variables};

mod wire;

const METHOD: PathAndQuery = PathAndQuery::from_static("/google.devtools.cloudtrace.v2.TraceService/BatchWriteSpans");
const DEADLINE: Duration = Duration::from_secs(60);

/// Opens a channel that trusts the certificate `tls`.
fn open(uri: &str, tls: Option<&SelfSigned>, environment: &[(&str, &str)]) -> Channel {
    let ca_pem = tls.map(|tls| tls.pem.clone());
    let settings = ChannelSettings { ca_pem, ..ChannelSettings::plain(uri, DEADLINE) };
    Channel::open_in(settings, &variables(environment)).unwrap()
}

fn plaintext(address: SocketAddr) -> Channel {
    open(&format!("http://{address}"), None, &[])
}

/// Writes one span with this id.
async fn write(channel: &Channel, id: u64) -> Result<(), Status> {
    let answer = channel.unary(METHOD, HeaderMap::new(), record("p", id, "a").into()).await;
    answer.map(|_| ()).map_err(|failure| failure.status().clone())
}

fn stored(script: &Script, ids: std::ops::Range<u64>) -> bool {
    script.stored() == (ids.map(|id| span_name("p", id)).collect(), 0)
}

#[tokio::test]
async fn calls_over_tls_are_signed_and_a_refused_token_is_renewed() {
    let script = Script::new([Reply::Say(Status::unauthenticated("revoked"))]);
    let tls = SelfSigned::new();
    let uri = format!("https://{}", serve(&script, Manners { tls: Some(&tls), ..Manners::default() }).await);
    let metadata = Metadata::start(vec![token("first"), token("second")]).await;
    let credentials = Some(metadata.credentials());
    let ca_pem = Some(tls.pem.clone());
    let settings = ChannelSettings { ca_pem, credentials, ..ChannelSettings::plain(&uri, DEADLINE) };
    let channel = Channel::open_in(settings, &variables(&[])).unwrap();
    assert_eq!(write(&channel, 0).await.unwrap_err().code(), Code::Unauthenticated);
    write(&channel, 1).await.unwrap();
    write(&channel, 2).await.unwrap();
    let tokens = script.calls().into_iter().map(|call| call.metadata.get("authorization").cloned().unwrap());
    assert_eq!(tokens.collect::<Vec<_>>(), ["Bearer first", "Bearer second", "Bearer second"]);
}

#[tokio::test]
async fn a_server_with_an_unknown_certificate_gets_no_call() {
    let script = Script::new([]);
    let [tls, other] = [SelfSigned::new(), SelfSigned::new()];
    let address = serve(&script, Manners { tls: Some(&tls), ..Manners::default() }).await;
    let plain = serve(&script, Manners::default()).await;
    for (uri, cause) in [
        (format!("https://{address}"), "invalid peer certificate: "),
        // The certificate is not for this name.
        (format!("https://[::ffff:127.0.0.1]:{}", address.port()), "invalid peer certificate: "),
        (format!("https://{plain}"), "InvalidContentType"),
    ] {
        let status = write(&open(&uri, Some(&other), &[]), 0).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{uri}: {status:?}");
        assert!(status.message().contains(cause), "{uri}: {status:?}");
    }
    assert!(script.calls().is_empty());
}

#[tokio::test]
async fn a_proxy_makes_a_tunnel_for_tls() {
    let script = Script::new([]);
    let tls = SelfSigned::new();
    let address = serve(&script, Manners { tls: Some(&tls), ..Manners::default() }).await;
    let proxy = Proxy::start(vec![Some("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")]).await;
    let value = format!("http://Aladdin:open%20sesame@{}", proxy.address);
    let channel = open(&format!("https://{address}"), Some(&tls), &[("https_proxy", &value)]);
    let status = write(&channel, 0).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.message().contains("proxy authorization required"), "{status:?}");
    for id in 0..3 {
        write(&channel, id).await.unwrap();
    }
    assert!(stored(&script, 0..3));
    let requests = proxy.requests();
    assert_eq!(requests.len(), 2, "one for each connection: {requests:?}");
    for request in requests {
        let request = request.to_lowercase();
        assert!(request.starts_with(&format!("connect {address} http/1.1\r\n")), "{request}");
        // According to RFC 7617, this is base64 of the user, a colon and the password.
        assert!(request.contains("proxy-authorization: basic qwxhzgrpbjpvcgvuihnlc2ftzq==\r\n"), "{request}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_proxy_is_given_up_and_tried_again() {
    slowly(async {
        let script = Script::new([]);
        let tls = SelfSigned::new();
        let address = serve(&script, Manners { tls: Some(&tls), ..Manners::default() }).await;
        let proxy = Proxy::start(vec![None]).await;
        let value = format!("http://{}", proxy.address);
        let channel = open(&format!("https://{address}"), Some(&tls), &[("HTTPS_PROXY", &value)]);
        let start = Instant::now();
        let status = write(&channel, 0).await.unwrap_err();
        assert_eq!((status.code(), start.elapsed() < 2 * CONNECT_TIMEOUT), (Code::Unavailable, true), "{status:?}");
        write(&channel, 0).await.unwrap();
        assert_eq!(proxy.requests().len(), 2);
    })
    .await;
}

#[test]
fn the_environment_names_the_proxy() {
    let [https, plain] = ["https://cloudtrace.googleapis.com", "http://10.0.0.1:4317"];
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Result<Option<&'a str>, &'a str>);
    // Each case has the endpoint, the environment and the expected proxy.
    let cases: [Case<'_>; 14] = [
        (https, &[], Ok(None)),
        (https, &[("HTTPS_PROXY", "http://a:1"), ("https_proxy", "http://b:1")], Ok(Some("http://a:1/"))),
        (https, &[("https_proxy", "http://b:1")], Ok(Some("http://b:1/"))),
        (https, &[("HTTPS_PROXY", "b:1")], Ok(Some("http://b:1/"))),
        (https, &[("ALL_PROXY", "http://c:1")], Ok(Some("http://c:1/"))),
        (https, &[("HTTP_PROXY", "http://c:1")], Ok(None)),
        (https, &[("HTTPS_PROXY", ""), ("ALL_PROXY", "http://c:1")], Ok(None)),
        (https, &[("HTTPS_PROXY", "http://a:1"), ("NO_PROXY", "other.test")], Ok(Some("http://a:1/"))),
        (https, &[("HTTPS_PROXY", "http://a:1"), ("NO_PROXY", "x.test, .googleapis.com")], Ok(None)),
        (https, &[("HTTPS_PROXY", "http://a:1"), ("no_proxy", "*")], Ok(None)),
        (plain, &[("HTTPS_PROXY", "http://a:1"), ("ALL_PROXY", "nonsense://")], Ok(None)),
        (https, &[("HTTPS_PROXY", "https://a:1")], Err("HTTPS_PROXY")),
        (https, &[("all_proxy", "socks5://a:1"), ("NO_PROXY", "*")], Err("all_proxy")),
        (https, &[("https_proxy", "http://u:p@ssword with spaces")], Err("https_proxy")),
    ];
    for (uri, environment, expected) in cases {
        let proxy = proxy::of(&uri.parse().unwrap(), &variables(environment));
        let found = proxy.map(|proxy| proxy.map(|proxy| proxy.uri().to_string())).map_err(|error| error.variable);
        assert_eq!(found, expected.map(|uri| uri.map(str::to_owned)), "{environment:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn goaway_ends_no_call_and_the_next_one_connects_again() {
    slowly(async {
        let age = Duration::from_secs(30);
        let script = Script::new([Reply::Slow(age + Duration::from_secs(20))]);
        let server = serve(&script, Manners { connection_age_max: Some(age), ..Manners::default() }).await;
        let relay = Relay::to(server).await;
        let channel = plaintext(relay.address);
        write(&channel, 0).await.expect("the call that was under way at GOAWAY");
        write(&channel, 1).await.unwrap();
        assert_eq!(relay.connections(), 2);
        tokio::time::sleep(2 * age).await;
        write(&channel, 2).await.unwrap();
        assert_eq!(relay.connections(), 3, "GOAWAY came while no call was under way");
        assert!(stored(&script, 0..3));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_other_end_is_gone_is_noticed() {
    slowly(async {
        let script = Script::new([]);
        let relay = Relay::to(serve(&script, Manners::default()).await).await;
        let channel = plaintext(relay.address);
        write(&channel, 0).await.unwrap();
        relay.silence();
        let start = Instant::now();
        let status = write(&channel, 1).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        let noticed = start.elapsed();
        assert!(noticed <= PING_INTERVAL + PING_TIMEOUT + Duration::from_secs(1) && noticed < DEADLINE, "{noticed:?}");
        write(&channel, 1).await.unwrap();
        assert_eq!(relay.connections(), 2);
        assert!(stored(&script, 0..2));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_is_replaced_without_failing_its_calls() {
    slowly(async {
        let script = Script::new([]);
        let relay = Relay::to(serve(&script, Manners::default()).await).await;
        let channel = plaintext(relay.address);
        write(&channel, 0).await.unwrap();
        tokio::time::sleep(CONNECTION_AGE_MAX - Duration::from_secs(1)).await;
        write(&channel, 1).await.unwrap();
        assert_eq!(relay.connections(), 1);
        script.then(Reply::Slow(Duration::from_secs(30)));
        let (slow, ()) = tokio::join!(write(&channel, 2), async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            write(&channel, 3).await.unwrap();
            assert_eq!(relay.connections(), 2);
        });
        slow.unwrap();
        assert!(stored(&script, 0..4));
    })
    .await;
}

#[tokio::test]
async fn the_certificate_of_an_authority_as_the_servers_own_is_explained() {
    let script = Script::new([]);
    let tls = SelfSigned::authority();
    let address = serve(&script, Manners { tls: Some(&tls), ..Manners::default() }).await;
    let channel = open(&format!("https://{address}"), Some(&tls), &[]);
    let failure = channel.unary(METHOD, HeaderMap::new(), record("p", 0, "a").into()).await.unwrap_err();
    assert!(failure.to_string().contains("CaUsedAsEndEntity"), "{failure}");
    let advice = advice::transport(&failure).unwrap();
    assert!(advice.contains("CA:FALSE"), "{advice}");
    // A certificate of an unknown authority is a common mistake, too.
    let unknown = open(&format!("https://{address}"), Some(&SelfSigned::new()), &[]);
    let failure = unknown.unary(METHOD, HeaderMap::new(), record("p", 0, "a").into()).await.unwrap_err();
    assert!(advice::transport(&failure).is_some(), "{failure}");
}

#[tokio::test]
async fn a_server_of_http_1_is_explained() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await.unwrap();
        tokio::time::sleep(DEADLINE).await;
    });
    let failure = plaintext(address).unary(METHOD, HeaderMap::new(), record("p", 0, "a").into()).await.unwrap_err();
    assert_eq!(retry::action(&failure, retry::usual), retry::Action::Retry);
    let advice = advice::transport(&failure);
    assert!(advice.is_some_and(|advice| advice.contains("does not speak gRPC")), "{failure}");
}

/// The channel survives a connection whose task has ended, for example by a panic.
#[tokio::test]
async fn a_connection_that_takes_no_calls_is_replaced() {
    let script = Script::new([]);
    let channel = plaintext(serve(&script, Manners::default()).await);
    let gone = std::thread::spawn({
        let dialer = Dialer { endpoint: channel.dialer.endpoint.clone(), proxy: None };
        // The connection's task ends with this runtime.
        move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(async { dialer.connection() })
        }
    });
    channel.current.lock().0 = gone.join().unwrap();
    write(&channel, 0).await.unwrap_err();
    write(&channel, 1).await.unwrap();
}

#[test]
fn an_invalid_address_is_refused_with_the_reason() {
    let settings = ChannelSettings::plain("not an address", DEADLINE);
    let error = Channel::open(settings).unwrap_err().to_string();
    assert!(error.starts_with("the endpoint \"not an address\" cannot be used: "), "{error}");
}
