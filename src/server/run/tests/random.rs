//! Whole worlds from a seed: short reads and writes, clients that stall or vanish, failing accepts, freezes.
//!
//! One promise is checked whatever happens: every client that stays gets exactly its replies, in order, and the
//! server comes to rest with every connection closed. `FC_HOOKS_SEED=n` replays one world, `FC_HOOKS_WORLDS=n` runs
//! more.

use super::world::{BIG, Client, World};
use crate::http::chunked::Decoder;
use crate::limits::Limits;
use std::time::Duration;

/// What a client asks for, and the body that must come back.
fn exchange(world: &mut World) -> (Vec<u8>, Vec<u8>) {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes();
    let body: Vec<u8> = (0..world.random(3_000)).map(|index| index as u8).collect();
    match world.random(5) {
        0 => (get("/hello"), b"hello".to_vec()),
        1 => (get("/big"), vec![b'b'; BIG]),
        2 => (get("/stream"), vec![b'b'; BIG]),
        3 => {
            let head = format!("POST /invoke HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
            ([head.as_bytes(), &body].concat(), body)
        }
        _ => {
            let mut request = b"POST /invoke HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
            let mut rest = &body[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(1 + world.random(rest.len()));
                request.extend(format!("{:x}\r\n", piece.len()).bytes().chain(piece.iter().copied()).chain(*b"\r\n"));
                rest = after;
            }
            request.extend(b"0\r\n\r\n");
            (request, body)
        }
    }
}

/// The bodies in a stream of replies, and whether the last one is whole.
fn bodies(mut bytes: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut bodies = Vec::new();
    while !bytes.is_empty() {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return (bodies, false) };
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\nx-fc-status: 200\r\n"), "{head}");
        let rest = &bytes[end + 4..];
        let length =
            head.split("content-length: ").nth(1).map(|text| text.split('\r').next().unwrap().parse().unwrap());
        let (body, used) = match length {
            Some(length) if rest.len() < length => return (bodies, false),
            Some(length) => (rest[..length].to_vec(), length),
            None => {
                let mut raw = rest.to_vec();
                let progress = Decoder::new().decode(&mut raw, 0, 0, usize::MAX).expect("our own chunks");
                if !progress.done {
                    return (bodies, false);
                }
                (raw[..progress.written].to_vec(), progress.read)
            }
        };
        bodies.push(body);
        bytes = &rest[used..];
    }
    (bodies, true)
}

fn live_through(seed: u64) {
    let mut world = World::new(seed, Vec::new());
    let mut expected = Vec::new();
    for _ in 0..1 + world.random(8) {
        let exchanges: Vec<_> = (0..world.random(5)).map(|_| exchange(&mut world)).collect();
        let mut client = Client::new(exchanges.iter().flat_map(|(request, _)| request.clone()).collect::<Vec<u8>>());
        client.window = 1 + world.random(40_000);
        client.leaves = world.random(5) == 0;
        client.deaf = world.random(10) == 0;
        world.clients.push(client);
        expected.push(exchanges.into_iter().map(|(_, body)| body).collect::<Vec<_>>());
    }
    world.accept_failures = world.random(4);
    world.descriptors_max = world.random(5);
    world.freezes = (0..world.random(4)).map(|_| Duration::from_secs(100_000)).collect();
    world.interrupted_by_freeze = world.random(2) == 0;
    let connections_max = 1 + world.random(6);
    let world = world.run(Limits { connections_max, ..Limits::default() });
    for (index, (client, expected)) in world.clients.iter().zip(expected).enumerate() {
        if !client.accepted {
            continue; // waited behind clients that never left
        }
        assert!(client.server_closed, "client {index} is still open");
        let (bodies, whole) = bodies(&client.received);
        assert!(expected.starts_with(&bodies), "client {index} got something else");
        let stays = !client.leaves && !client.deaf;
        assert!(!stays || (whole && bodies.len() == expected.len()), "client {index} got too little");
    }
}

#[test]
fn worlds() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse().ok());
    if let Some(seed) = number("FC_HOOKS_SEED") {
        return live_through(seed);
    }
    let first = u64::from(std::process::id()) << 20 | 1;
    let count = number("FC_HOOKS_WORLDS").unwrap_or(300);
    println!("seeds {first} to {}", first + count - 1);
    for seed in first..first + count {
        let outcome = std::panic::catch_unwind(|| live_through(seed));
        assert!(outcome.is_ok(), "replay with FC_HOOKS_SEED={seed}");
    }
}
