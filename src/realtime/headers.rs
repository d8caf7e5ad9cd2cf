// SPDX-License-Identifier: MPL-2.0

//! Headers of the requests beside those that the upgrade itself needs: the key, and the user's.

use tungstenite::http::header::{HeaderName, HeaderValue};

use super::{Error, Secret, USER_AGENT};

/// What the upgrade, or the proxies on the way, set by themselves.
const OWN: [&str; 7] =
    ["host", "connection", "upgrade", "content-length", "transfer-encoding", "te", "trailer"];

/// Lines for a request, each with its end.
#[derive(Clone, Default)]
pub struct Headers(Vec<u8>);

impl Headers {
    /// `Authorization` of the user's own comes in place of the key's.
    pub fn new(key: Option<&Secret>, extra: &[(String, Secret)]) -> Result<Headers, Error> {
        let has = |name: &str| extra.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        let mut lines = Vec::new();
        let mut add = |name: &str, value: &[u8]| {
            lines.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        };
        if !has("user-agent") {
            add("User-Agent", USER_AGENT.as_bytes());
        }
        if let Some(key) = key.filter(|_| !has("authorization")) {
            let value = HeaderValue::from_str(&format!("Bearer {}", key.expose()));
            let what = "Property api-key: the key holds a character that no header may hold, such as a line break. Set it to the key alone.";
            add("Authorization", value.map_err(|_| Error::settings(what, ""))?.as_bytes());
        }
        let bad = |why: String| Error::settings(format!("Property extra-headers: {why}"), "");
        for (name, value) in extra {
            let checked = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
                let shown = name.escape_default();
                bad(format!("'{shown}' is no name of a header. Use letters, digits and hyphens."))
            })?;
            if OWN.contains(&checked.as_str()) || checked.as_str().starts_with("sec-websocket-") {
                let why = "is set by the WebSocket's upgrade itself. Leave it out.";
                return Err(bad(format!("{name} {why}")));
            }
            let value = HeaderValue::from_str(value.expose()).map_err(|_| {
                let why = "(not shown) holds a control character or one beyond ASCII. Set it to one line of text.";
                bad(format!("the value of {name} {why}"))
            })?;
            add(name, value.as_bytes());
        }
        Ok(Headers(lines))
    }

    pub fn lines(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::ErrorKind;
    use super::*;

    fn lines(key: Option<&str>, extra: &[(&str, &str)]) -> Result<String, Error> {
        let extra: Vec<_> = extra.iter().map(|(n, v)| ((*n).to_owned(), Secret::new(*v))).collect();
        let headers = Headers::new(key.map(Secret::new).as_ref(), &extra)?;
        Ok(String::from_utf8(headers.lines().to_vec()).unwrap())
    }

    #[test]
    fn the_key_and_the_users_own() {
        let agent = format!("User-Agent: {USER_AGENT}\r\n");
        assert_eq!(lines(None, &[]), Ok(agent.clone()));
        assert_eq!(
            lines(Some("k"), &[("X-Team", "captions")]),
            Ok(format!("{agent}Authorization: Bearer k\r\nX-Team: captions\r\n"))
        );
        assert_eq!(
            lines(Some("k"), &[("authorization", "Basic x"), ("user-agent", "me")]),
            Ok("authorization: Basic x\r\nuser-agent: me\r\n".to_owned())
        );
    }

    #[test]
    fn what_would_break_the_request_is_refused_and_not_shown() {
        for (name, value) in [
            ("Host", "x"),
            ("upgrade", "x"),
            ("Sec-WebSocket-Key", "x"),
            ("Content-Length", "9"),
            ("a b", "x"),
            ("a\r\nb", "x"),
            ("", "x"),
            ("X", "s3cret\r\nX-Evil: 1"),
            ("X", "s3cret\u{7}"),
        ] {
            let e = lines(None, &[(name, value)]).unwrap_err();
            assert_eq!(e.kind, ErrorKind::Settings);
            assert!(e.message.contains("extra-headers") && !e.message.contains("s3cret"), "{e}");
            assert!(!e.message.contains('\n'), "{e:?}");
        }
        assert!(lines(Some("a\nb"), &[]).unwrap_err().message.contains("api-key"));
    }
}
