//! A notifier against servers of these tests' own, which speak SMTP and HTTP over real sockets.

use super::*;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const FROM: &str = "GoLLeM <billing@gollem.example>";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn notice() -> Notice {
    Notice {
        kind: "low_balance".to_owned(),
        account: AccountId(7),
        title: "Your balance is low".into(),
        text: "25 credits are left.\n.\nThat is all: £0.02.".into(),
        data: json!({ "balance": "25.00000000" }),
        id: "low_balance-7-42".into(),
    }
}

fn notifier(smtp_url: Option<&str>, dev: bool) -> Notifier {
    let mail = smtp_url.map(|url| MailOptions { url: url.to_owned(), from: FROM.to_owned() });
    Notifier::new(mail.as_ref(), Upstream::new(dev).unwrap()).unwrap()
}

/// How a mail server behaves.
#[derive(Clone, Copy, Debug)]
enum Manner {
    Takes,
    /// Answers this to the command that begins so.
    Says(&'static str, &'static str),
    /// Closes the connection at the command that begins so.
    HangsUpAt(&'static str),
    /// Closes the connection when the mail is taken.
    HangsUpAfter,
}

/// A mail server for one connection; what it was told, line by line.
async fn mail_server(manner: Manner) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        converse(stream, manner, &heard).await.ok();
    });
    (url, told)
}

async fn converse(mut stream: TcpStream, manner: Manner, told: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let (read, mut write) = stream.split();
    let mut lines = BufReader::new(read).lines();
    write.write_all(b"220 mail.example ESMTP\r\n").await?;
    let mut in_mail = false;
    while let Some(line) = lines.next_line().await? {
        told.lock().unwrap().push(line.clone());
        if in_mail && line != "." {
            continue;
        }
        in_mail = line == "DATA";
        let answer = match (manner, line.as_str()) {
            (Manner::HangsUpAt(command), line) if line.starts_with(command) => return Ok(()),
            (Manner::Says(command, answer), line) if line.starts_with(command) => answer,
            (_, "DATA") => "354 go on",
            (_, "QUIT") => "221 bye",
            (_, line) if line.starts_with("EHLO") => "250-mail.example\r\n250 8BITMIME",
            _ => "250 ok",
        };
        write.write_all(format!("{answer}\r\n").as_bytes()).await?;
        if matches!(manner, Manner::HangsUpAfter) && line == "." {
            return Ok(());
        }
    }
    Ok(())
}

async fn mail(manner: Manner, to: &str, notice: &Notice) -> (Result<(), NotifyError>, Vec<String>) {
    let (url, told) = mail_server(manner).await;
    let sent = notifier(Some(&url), false).send_mail(to, notice).await;
    (sent, told.lock().unwrap().clone())
}

#[tokio::test]
async fn a_mail_is_handed_over_with_the_notice_s_id() {
    let (sent, told) = mail(Manner::Takes, "bob@example.org", &notice()).await;
    assert_eq!(sent, Ok(()));
    for line in [
        "EHLO gollem.example",
        "MAIL FROM:<billing@gollem.example>",
        "RCPT TO:<bob@example.org>",
        "From: GoLLeM <billing@gollem.example>",
        "To: bob@example.org",
        "Subject: Your balance is low",
        "Message-ID: <low_balance-7-42@gollem.example>",
        "Auto-Submitted: auto-generated",
        "Content-Type: text/plain; charset=utf-8",
        "25 credits are left.",
        "..", // A dot alone would end it.
        "QUIT",
    ] {
        assert!(told.iter().any(|said| said == line), "{line} in {told:#?}");
    }
    assert!(told.iter().any(|line| line.starts_with("Date: ")), "{told:#?}");
    let again = mail(Manner::Takes, "bob@example.org", &notice()).await.1;
    let id = |told: &[String]| told.iter().find(|line| line.starts_with("Message-ID")).cloned();
    assert_eq!(id(&told), id(&again), "once more is the same mail");
}

#[tokio::test]
async fn what_is_in_a_title_stays_in_the_title() {
    let hostile = Notice { title: "low\r\nBcc: eve@example.org\r\n\r\nhello".into(), ..notice() };
    let (sent, told) = mail(Manner::Takes, "bob@example.org", &hostile).await;
    assert_eq!(sent, Ok(()));
    assert!(told.iter().any(|line| line == "Subject: low  Bcc: eve@example.org    hello"), "{told:#?}");
    assert!(!told.iter().any(|line| line.starts_with("Bcc") || line == "hello"), "{told:#?}");
    let long = Notice { title: "£".repeat(10_000), ..notice() };
    let (sent, told) = mail(Manner::Takes, "bob@example.org", &long).await;
    assert_eq!(sent, Ok(()));
    assert!(told.iter().all(|line| line.len() < 1_000), "lines that mail allows");
}

#[tokio::test]
async fn who_is_refused_for_good_is_not_tried_again() {
    let no_such = Manner::Says("RCPT", "550 5.1.1 no such user");
    let (sent, told) = mail(no_such, "nobody@example.org", &notice()).await;
    let error = sent.unwrap_err();
    assert!(!error.is_retryable(), "{error:?}");
    assert!(error.to_string().contains("no such user"), "{error}");
    assert!(!told.iter().any(|line| line == "DATA"), "{told:#?}");
    let (sent, _) = mail(Manner::Says(".", "554 spam"), "bob@example.org", &notice()).await;
    assert!(!sent.unwrap_err().is_retryable());
}

#[tokio::test]
async fn what_may_work_later_is_tried_again() {
    let manners = [
        Manner::HangsUpAt("EHLO"),
        Manner::HangsUpAt("RCPT"),
        Manner::HangsUpAt("."),
        Manner::Says("RCPT", "451 greylisted"),
        Manner::Says("MAIL", "530 authenticate first"), // A setting of the operator's, who will mend it.
        Manner::Says("EHLO", "no such protocol"),
    ];
    for manner in manners {
        let (sent, _) = mail(manner, "bob@example.org", &notice()).await;
        assert!(sent.as_ref().is_err_and(NotifyError::is_retryable), "{manner:?}: {sent:?}");
    }
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let sent = notifier(Some(&format!("smtp://{gone}")), false).send_mail("bob@example.org", &notice()).await;
    assert!(sent.as_ref().is_err_and(NotifyError::is_retryable), "{sent:?}");
}

#[tokio::test]
async fn a_mail_that_was_taken_is_sent_though_the_server_does_not_say_good_bye() {
    assert_eq!(mail(Manner::HangsUpAfter, "bob@example.org", &notice()).await.0, Ok(()));
}

#[tokio::test]
async fn what_cannot_be_mailed_is_refused_without_asking_the_server() {
    for to in [
        "",
        "bob",
        "bob@",
        "@example.org",
        "a b@example.org",
        "bob@example.org\r\nRCPT TO:<eve@example.org>",
        "<bob@example.org>",
    ] {
        assert!(!is_mail_address(to), "{to}");
        let (sent, told) = mail(Manner::Takes, to, &notice()).await;
        assert!(sent.is_err_and(|error| !error.is_retryable()) && told.is_empty(), "{to}: {told:?}");
    }
    assert!(is_mail_address("bob@example.org"));
    for id in ["", "a b", "a>", "a.b", "ü", &"x".repeat(ID_BYTES_MAX + 1)] {
        let (sent, told) = mail(Manner::Takes, "bob@example.org", &Notice { id: id.into(), ..notice() }).await;
        assert!(sent.is_err_and(|error| !error.is_retryable()) && told.is_empty(), "{id}");
    }
    let without = notifier(None, false).send_mail("bob@example.org", &notice()).await;
    assert_eq!(without, Err(NotifyError::Later("no mail server is set: see --mail-from".into())));
}

#[test]
fn settings_that_cannot_work_are_refused_and_show_no_password() {
    let check = |url: &str, from: &str, expected: Result<(), NotifierError>| {
        let mail = MailOptions { url: url.to_owned(), from: from.to_owned() };
        let made = Notifier::new(Some(&mail), Upstream::new(false).unwrap());
        if let Ok(notifier) = &made {
            assert!(!format!("{notifier:?}").contains("hunter2"));
        }
        let made = made.map(drop);
        assert!(!format!("{made:?}").contains("hunter2"));
        assert_eq!(made, expected, "{url}");
    };
    check("smtps://me:hunter2@mail.example", FROM, Ok(()));
    check("smtp://me:hunter2@mail.example:2525?tls=required", "billing@gollem.example", Ok(()));
    check("smtp://mail.example", FROM, Ok(()));
    check("smtp://me:hunter2@mail.example", FROM, Err(NotifierError::Password));
    check("smtp://me:hunter2@mail.example?tls=opportunistic", FROM, Err(NotifierError::Password));
    for url in ["", "mail.example:25", "http://me:hunter2@mail.example?tls=required", "smtp://mail.example?tls=please"]
    {
        check(url, FROM, Err(NotifierError::Server));
    }
    for from in ["", "billing", "GoLLeM <billing>", "billing@gollem.example\r\nBcc: eve@example.org"] {
        check("smtps://mail.example", from, Err(NotifierError::From));
    }
}

/// A request as a webhook sees it.
#[derive(Debug)]
struct Received {
    head: String,
    body: Vec<u8>,
}

impl Received {
    fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }
}

/// A webhook that answers every request with these bytes and closes.
async fn webhook(answer: String) -> (String, UnboundedReceiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?team=a%20b", listener.local_addr().unwrap());
    let (sender, receiver) = unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            sender.send(receive(&mut stream).await.unwrap()).ok();
            stream.write_all(answer.as_bytes()).await.ok();
        }
    });
    (url, receiver)
}

async fn receive(stream: &mut TcpStream) -> std::io::Result<Received> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        reader.read_line(&mut head).await?;
    }
    let mut received = Received { head, body: Vec::new() };
    received.body.resize(received.header("content-length").parse().unwrap(), 0);
    reader.read_exact(&mut received.body).await?;
    Ok(received)
}

fn answer(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

#[tokio::test]
async fn a_webhook_gets_json_that_it_can_verify() {
    let (url, mut received) = webhook(answer("204 No Content")).await;
    let before = unix_s();
    assert_eq!(notifier(None, true).post(&url, SECRET, &notice()).await, Ok(()));
    let received = received.recv().await.unwrap();
    assert!(received.head.starts_with("POST /hook?team=a%20b HTTP/1.1\r\n"), "{}", received.head);
    assert_eq!(received.header("content-type"), "application/json");
    assert_eq!(received.header("webhook-id"), "low_balance-7-42");
    let at: u64 = received.header("webhook-timestamp").parse().unwrap();
    assert!((before..=unix_s()).contains(&at), "{at}");
    let key = STANDARD.decode(SECRET.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(&[format!("low_balance-7-42.{at}.").as_bytes(), &received.body].concat());
    let (scheme, signature) = received.header("webhook-signature").split_once(',').unwrap();
    assert_eq!(scheme, "v1");
    mac.verify_slice(&STANDARD.decode(signature).unwrap()).expect("signed");
    let body: Value = serde_json::from_slice(&received.body).unwrap();
    let expected = json!({
        "type": "low_balance", "id": "low_balance-7-42", "account": "acc_7", "title": "Your balance is low",
        "text": notice().text, "data": { "balance": "25.00000000" },
    });
    assert_eq!(body, expected);
}

#[test]
fn the_signature_is_that_of_the_standard_s_own_example() {
    let body = br#"{"test": 2432232314}"#;
    let headers = signed(SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body).unwrap();
    assert_eq!(headers[WEBHOOK_SIGNATURE], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    assert_eq!(headers[WEBHOOK_TIMESTAMP], "1614265330");
    let bare = signed(&SECRET[SECRET_PREFIX.len()..], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
    assert_eq!(bare, Ok(headers));
    for bad in ["", "whsec_", "whsec_not base64", "plain words"] {
        assert!(signed(bad, "a", 1, body).is_err_and(|error| !error.is_retryable()), "{bad}");
    }
}

#[tokio::test]
async fn an_answer_says_whether_to_try_again() {
    let answers = [
        ("200 OK", None),
        ("202 Accepted", None),
        ("400 Bad Request", Some(false)),
        ("404 Not Found", Some(false)),
        ("408 Request Timeout", Some(true)),
        ("410 Gone", Some(false)),
        ("429 Too Many Requests", Some(true)),
        ("500 Internal Server Error", Some(true)),
        ("503 Service Unavailable", Some(true)),
    ];
    for (status, retryable) in answers {
        let (url, mut received) = webhook(answer(status)).await;
        let posted = notifier(None, true).post(&url, SECRET, &notice()).await;
        assert_eq!(posted.as_ref().err().map(NotifyError::is_retryable), retryable, "{status}: {posted:?}");
        received.recv().await.unwrap();
        assert!(received.try_recv().is_err(), "one try");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (elsewhere, mut there) = webhook(answer("200 OK")).await;
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let redirect =
            format!("HTTP/1.1 {status}\r\nlocation: {elsewhere}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        let (url, _received) = webhook(redirect).await;
        let posted = notifier(None, true).post(&url, SECRET, &notice()).await;
        assert!(posted.is_err_and(|error| error.is_retryable()), "{status}");
    }
    assert!(there.try_recv().is_err());
}

#[tokio::test]
async fn this_machine_is_not_called_outside_of_a_playground() {
    let (url, mut received) = webhook(answer("200 OK")).await;
    let posted = notifier(None, false).post(&url, SECRET, &notice()).await;
    assert!(posted.is_err_and(|error| !error.is_retryable()));
    let by_name = url.replace("127.0.0.1", "localhost");
    assert!(notifier(None, false).post(&by_name, SECRET, &notice()).await.is_err());
    for bad in
        ["ftp://example.com/", "hooks.example.com", "http://10.0.0.1/", "http://[::1]/", "https://u:p@example.com/"]
    {
        let posted = notifier(None, false).post(bad, SECRET, &notice()).await;
        assert!(posted.is_err_and(|error| !error.is_retryable()), "{bad}");
    }
    assert!(received.try_recv().is_err(), "nobody called");
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let flood = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        receive(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let mut bytes = 0;
        while let Ok(written) = stream.write(&[b'x'; 4_096]).await {
            bytes += written;
        }
        bytes
    });
    assert_eq!(notifier(None, true).post(&url, SECRET, &notice()).await, Ok(()));
    let bytes = timeout(Duration::from_secs(30), flood).await.expect("the connection was closed").unwrap();
    assert!(bytes < 16 << 20, "what fits between two sockets, not what ten seconds carry: {bytes}");
}

#[tokio::test]
async fn a_webhook_that_does_not_answer_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let notifier = notifier(None, true);
    tokio::time::pause();
    let begin = Instant::now();
    let posted = notifier.post(&url, SECRET, &notice()).await;
    assert!(posted.is_err_and(|error| error.is_retryable()));
    assert!(begin.elapsed() <= WEBHOOK_PATIENCE + Duration::from_millis(10), "{:?}", begin.elapsed());
}
