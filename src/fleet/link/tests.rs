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
}

impl Tokens {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let (seen, expired) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU64::new(0)));
        let shared = (Arc::clone(&seen), Arc::clone(&expired));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(Self::serve(stream, Arc::clone(&shared.0), Arc::clone(&shared.1)));
            }
        });
        Tokens { url, seen, expired }
    }

    async fn serve(
        mut stream: tokio::net::TcpStream,
        seen: Arc<Mutex<Vec<(String, Instant)>>>,
        expired: Arc<AtomicU64>,
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
            stream.write_all(answer.as_bytes()).await?;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_signs_in_with_the_next_token_before_its_own_expires() {
    let tokens = ["first", "second", "third"].map(crate::google::testing::token);
    let metadata = crate::google::testing::Metadata::start(tokens.to_vec()).await;
    let server = Tokens::start().await;
    let text = format!("fleet: {{url: '{}'}}", server.url);
    let settings = crate::config::load(&text, &|_| None).unwrap().settings;
    let engine = Engine::new(&settings.fleet, Some(metadata.credentials())).unwrap();
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
