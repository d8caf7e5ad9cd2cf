//! A stand-in for a vLLM realtime server.
