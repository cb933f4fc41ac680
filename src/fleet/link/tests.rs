use super::*;

fn shared() -> Shared {
    Shared {
        own: MemberId(1),
        config: AtomicU64::new(1),
        read: Mutex::default(),
        unread: Mutex::default(),
        refused: AtomicU64::new(0),
        broken: AtomicU64::new(0),
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_cannot_read_for_long_hides() {
    let (shared, since) = (shared(), Instant::now());
    let advance = |seconds| tokio::time::advance(Duration::from_secs(seconds));
    let failed = || EngineError::Version("0".to_owned());
    advance(100).await;
    assert_eq!(shared.why_unread(since), None);
    assert!(shared.cannot_read(&failed()), "the first error is logged");
    advance(2).await;
    assert!(!shared.cannot_read(&failed()));
    assert_eq!(shared.why_unread(since), None, "a short failure is no reason");
    advance(1).await;
    let reason = shared.why_unread(since).unwrap();
    assert!(reason.starts_with("the stream of this member cannot be read: the server is version 0"), "{reason}");
    assert_eq!(shared.why_unread(Instant::now()), None, "a new connection has its time");
    *shared.unread.lock() = None;
    assert_eq!(shared.why_unread(since), None);
}

/// A server that takes any token, and ends a connection whose token is older than an hour.
struct Tokens {
    url: String,
    /// The tokens with the times at which they came first.
    seen: Arc<Mutex<Vec<(String, Instant)>>>,
    expired: Arc<AtomicU64>,
    /// The milliseconds that an answer takes, but for a sign-in and a read.
    delay: Arc<AtomicU64>,
}

impl Tokens {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let tokens = Tokens { url, seen: Arc::default(), expired: Arc::default(), delay: Arc::default() };
        let shared = (Arc::clone(&tokens.seen), Arc::clone(&tokens.expired), Arc::clone(&tokens.delay));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Self::serve(stream, Arc::clone(&shared.0), Arc::clone(&shared.1), Arc::clone(&shared.2)));
            }
        });
        tokens
    }

    fn engine(&self, metadata: &crate::google::testing::Metadata) -> (Engine, crate::google::credentials::Credentials) {
        let text = format!("fleet: {{url: '{}'}}", self.url);
        let settings = crate::config::load(&text, &|_| None).unwrap().settings;
        let credentials = metadata.credentials();
        (Engine::new(&settings.fleet, Some(credentials.clone())).unwrap(), credentials)
    }

    async fn serve(
        mut stream: tokio::net::TcpStream,
        seen: Arc<Mutex<Vec<(String, Instant)>>>,
        expired: Arc<AtomicU64>,
        delay: Arc<AtomicU64>,
    ) -> std::io::Result<()> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut command, mut valid_from) = (vec![0; 8192], None);
        loop {
            let len = stream.read(&mut command).await?;
            let text = String::from_utf8_lossy(&command[..len]).into_owned();
            let words: Vec<&str> = text.split("\r\n").filter(|word| !word.starts_with(['*', '$'])).collect();
            if let ["AUTH", token, ..] = words[..] {
                let mut seen = seen.lock();
                if seen.last().is_none_or(|(last, _)| last != token) {
                    seen.push((token.to_owned(), Instant::now()));
                }
                valid_from = seen.last().map(|(_, since)| *since);
            }
            let is_over = valid_from.is_none_or(|since: Instant| since.elapsed() > Duration::from_secs(3_600));
            if len == 0 || is_over {
                expired.fetch_add(u64::from(len > 0), Ordering::Relaxed);
                return Ok(());
            }
            let answer = match words[0] {
                "AUTH" => "+OK\r\n",
                "INFO" => "$21\r\nredis_version:7.2.0\r\n\r\n",
                "XREAD" => {
                    sleep(Duration::from_secs(1)).await;
                    "*-1\r\n"
                }
                "EVAL" => "*0\r\n",
                _ => ":0\r\n",
            };
            if !matches!(words[0], "AUTH" | "INFO" | "XREAD") {
                sleep(Duration::from_millis(delay.load(Ordering::Relaxed))).await;
            }
            stream.write_all(answer.as_bytes()).await?;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_signs_in_with_the_next_token_before_its_own_expires() {
    let tokens = ["first", "second", "third"].map(crate::google::testing::token);
    let metadata = crate::google::testing::Metadata::start(tokens.to_vec()).await;
    let server = Tokens::start().await;
    let (engine, _) = server.engine(&metadata);
    let mut link = Link::start(engine, MemberId(1), ConfigMark(1));
    let seen = Arc::clone(&server.seen);
    crate::google::testing::slowly(async move {
        while seen.lock().len() < 3 {
            let _ = timeout(Duration::from_secs(10), link.news.recv()).await;
        }
    })
    .await;
    assert_eq!(
        server.seen.lock().iter().map(|(token, _)| token.as_str()).collect::<Vec<_>>(),
        ["first", "second", "third"]
    );
    assert_eq!(server.expired.load(Ordering::Relaxed), 0, "no connection outlives its token");
}

/// No answer is late by itself, but all of them are together.
#[tokio::test(start_paused = true)]
async fn a_member_that_cannot_renew_its_entry_in_time_is_cut_off() {
    let metadata = crate::google::testing::Metadata::start(vec![crate::google::testing::token("first")]).await;
    let server = Tokens::start().await;
    let mut link = Link::start(server.engine(&metadata).0, MemberId(1), ConfigMark(1));
    let delay = Arc::clone(&server.delay);
    let cut_off = async move {
        loop {
            match link.news.recv().await.unwrap() {
                News::Members(_) => delay.store(1_500, Ordering::Relaxed),
                News::Down(reason) => return reason,
                News::Batch(_) => {}
            }
        }
    };
    let reason = crate::google::testing::slowly(timeout(Duration::from_secs(60), cut_off)).await;
    assert_eq!(reason.unwrap(), "the server is too slow: the entry of this member expires");
}

/// The queue of news is full after 32 beats, and the next one waits for room.
#[tokio::test(start_paused = true)]
async fn a_member_whose_task_takes_no_news_is_cut_off_before_its_entry_expires() {
    let metadata = crate::google::testing::Metadata::start(vec![crate::google::testing::token("first")]).await;
    let server = Tokens::start().await;
    let mut link = Link::start(server.engine(&metadata).0, MemberId(1), ConfigMark(1));
    let reason = async move {
        while link.news.len() < link.news.max_capacity() {
            sleep(Duration::from_millis(100)).await;
        }
        sleep(2 * MEMBER_TTL).await;
        // Those that were told before it.
        for _ in 0..link.news.max_capacity() {
            assert!(matches!(link.news.recv().await, Some(News::Members(_))));
        }
        match link.news.recv().await {
            Some(News::Down(reason)) => reason,
            other => panic!("{other:?}"),
        }
    };
    let reason = crate::google::testing::slowly(timeout(Duration::from_secs(120), reason)).await;
    assert_eq!(reason.unwrap(), "this instance is too slow for the news of the fleet: its entry expires");
}

#[tokio::test(start_paused = true)]
async fn a_connection_does_not_wait_for_a_newer_token() {
    use crate::google::testing::{HANG, Metadata, slowly, token};
    let metadata = Metadata::start(vec![token("first"), HANG.to_owned()]).await;
    let server = Tokens::start().await;
    let (engine, credentials) = server.engine(&metadata);
    slowly(async {
        let mut connection = engine.connect().await.unwrap();
        credentials.renew(credentials.signature().await.unwrap().sign_in);
        let since = Instant::now();
        connection.renew().await.unwrap();
        assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    })
    .await;
    assert_eq!(metadata.requests().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_refused_is_not_requested_with_each_read() {
    use crate::google::testing::{Metadata, answer, slowly, token};
    let forbidden = answer("403 Forbidden", "", "no such account");
    let metadata = Metadata::start([vec![token("first")], vec![forbidden; 100]].concat()).await;
    let server = Tokens::start().await;
    let (engine, credentials) = server.engine(&metadata);
    slowly(async {
        let mut connection = engine.connect().await.unwrap();
        credentials.renew(credentials.signature().await.unwrap().sign_in);
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(25) {
            for _ in 0..4 {
                connection.renew().await.unwrap();
            }
            sleep(Duration::from_secs(1)).await;
        }
    })
    .await;
    let requests = metadata.requests().len() - 1;
    assert!((1..=3).contains(&requests), "{requests}");
}

#[test]
fn the_document_says_what_a_link_takes() {
    let tenths = (BYTES_MAX * 10).div_ceil(1 << 20);
    let text = format!("{}.{} MiB for batches on their way", tenths / 10, tenths % 10);
    assert!(include_str!("../../../docs/fleet.md").contains(&text), "{text}");
}
