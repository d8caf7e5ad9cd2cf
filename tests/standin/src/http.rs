// SPDX-License-Identifier: MPL-2.0

//! HTTP on the same port: the upgrade, its refusals, and the few plain requests.

use serde_json::json;

use crate::Config;

/// Longest request head.
pub const HEAD_LIMIT: usize = 64 * 1024;

/// A request's head.
#[derive(Debug, Default)]
pub struct Head {
    /// With the query.
    pub path: String,
    pub headers: Vec<(String, String)>,
}

/// Reads a request's head; `None`: not complete yet. Returns its length too.
pub fn head(bytes: &[u8]) -> Result<Option<(Head, usize)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Err(e) => Err(e.to_string()),
        Ok(httparse::Status::Partial) if bytes.len() > HEAD_LIMIT => Err("too long".into()),
        Ok(httparse::Status::Partial) => Ok(None),
        Ok(httparse::Status::Complete(length)) => {
            let headers = request
                .headers
                .iter()
                .map(|h| (h.name.to_owned(), String::from_utf8_lossy(h.value).trim().to_owned()));
            let head =
                Head { path: request.path.unwrap_or_default().into(), headers: headers.collect() };
            Ok(Some((head, length)))
        }
    }
}

/// What a request is answered with.
pub struct Answer {
    /// 101: go on as a WebSocket.
    pub status: u16,
    pub bytes: Vec<u8>,
}

impl Head {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn is_upgrade(&self) -> bool {
        self.header("upgrade").is_some_and(|v| v.eq_ignore_ascii_case("websocket"))
    }

    fn authorized(&self, key: &str) -> bool {
        let Some((scheme, given)) = self.header("authorization").and_then(|v| v.split_once(' '))
        else {
            return false;
        };
        scheme.eq_ignore_ascii_case("bearer") && given == key
    }

    /// The answer. `refuse`: status that a fault asks for.
    pub fn answer(&self, config: &Config, refuse: Option<u16>, models: u64) -> Answer {
        let path = self.path.split('?').next().unwrap_or_default();
        let json = |status, body: String| Answer {
            status,
            bytes: response(status, "application/json", &body, &[]),
        };
        if let Some(key) = &config.api_key
            && path.starts_with("/v1")
            && !self.authorized(key)
        {
            return json(401, json!({"error": "Unauthorized"}).to_string());
        }
        if self.is_upgrade() {
            if let Some(status) = refuse.or(config.refuse) {
                let location = config.redirect_to.as_deref().unwrap_or("http://127.0.0.1:1/");
                let more: &[_] =
                    if (300..400).contains(&status) { &[("location", location)] } else { &[] };
                let bytes = response(status, "text/plain; charset=utf-8", "", more);
                return Answer { status, bytes };
            }
            let key = self.header("sec-websocket-key");
            let (true, Some(key)) = (path == "/v1/realtime", key) else {
                return Answer {
                    status: 403,
                    bytes: response(403, "text/plain; charset=utf-8", "", &[]),
                };
            };
            let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
            let bytes = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\nserver: vllm-standin\r\n\r\n"
            );
            return Answer { status: 101, bytes: bytes.into() };
        }
        match path {
            "/health" | "/ping" => json(200, String::new()),
            "/version" => json(200, json!({"version": "0.32.0"}).to_string()),
            "/v1/models" => {
                if let Some(status) = config.models_status {
                    return json(status, json!({"detail": "as asked for"}).to_string());
                }
                let mut model = json!({
                    "id": config.model,
                    "object": "model",
                    "created": models,
                    "owned_by": "vllm",
                    "root": config.model,
                    "parent": null,
                });
                if config.max_model_len > 0 {
                    model["max_model_len"] = json!(config.max_model_len);
                }
                json(200, json!({"object": "list", "data": [model]}).to_string())
            }
            _ => json(404, json!({"detail": "Not Found"}).to_string()),
        }
    }
}

fn response(status: u16, kind: &str, body: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let reason = match status {
        200 => "OK",
        301 => "Moved Permanently",
        302 => "Found",
        307 => "Temporary Redirect",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Other",
    };
    let more: String = more.iter().map(|(n, v)| format!("{n}: {v}\r\n")).collect();
    let length = body.len();
    format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-length: {length}\r\ncontent-type: {kind}\r\n\
         {more}Connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}
