//! As much of HTTP/1.1 as the AWS SDK needs of a server.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Far more than any request here has.
const BYTES_MAX: usize = 1 << 20;

/// What is asked.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// With what comes after `?`.
    pub(super) target: String,
    /// The header with the signature.
    pub(super) authorization: String,
    pub(super) body: String,
}

impl Request {
    /// The path, without what comes after `?`.
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// A parameter of the target. Only letters, digits, dots, hyphens and underscores are expected in it.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let (_, parameters) = self.target.split_once('?')?;
        let pair = parameters.split('&').filter_map(|pair| pair.split_once('='));
        pair.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

/// The next request of a connection; `None` when there is none any more.
pub(super) async fn request(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (mut length, mut authorization) = (0, String::new());
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await?;
        let Some((name, value)) = header.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(io::Error::other)?;
        } else if name.eq_ignore_ascii_case("authorization") {
            authorization = value.trim().to_owned();
        }
    }
    assert!(length <= BYTES_MAX, "a body of {length} bytes");
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let body = String::from_utf8(body).map_err(io::Error::other)?;
    Ok(Some(Request { method, target, authorization, body }))
}

/// Answers with XML.
pub(super) async fn answer(stream: &mut BufReader<TcpStream>, status: u16, body: &str) -> io::Result<()> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status} said\r\ncontent-type: text/xml\r\ncontent-length: {length}\r\n\r\n");
    stream.get_mut().write_all(format!("{head}{body}").as_bytes()).await
}

/// What stands between each pair of these tags, which do not nest.
pub(super) fn elements<'a>(xml: &'a str, tag: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let inner = xml.split(open.as_str()).skip(1);
    inner.map(|rest| rest.split(close.as_str()).next().unwrap_or_default()).collect()
}

/// Text as it stands in XML.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// What that text was.
pub(super) fn unescaped(text: &str) -> String {
    let signs = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&#39;", "'"), ("&amp;", "&")];
    signs.iter().fold(text.to_owned(), |text, (escaped, sign)| text.replace(escaped, sign))
}
