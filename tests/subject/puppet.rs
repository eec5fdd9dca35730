//! The puppet: a server that stops in the middle of a call, wherever the test wants, and waits for its end.
//!
//! The target says how: `/hold/READ/REPLY` takes so many bytes of the request's body, sends these bytes, given in
//! hexadecimal, and prints `held`. Every other request is answered with `ok`.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;

pub fn run() -> ExitCode {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse::<u16>().ok()).expect("PORT");
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    for socket in listener.incoming().flatten() {
        std::thread::spawn(move || serve(socket));
    }
    ExitCode::SUCCESS
}

fn serve(mut socket: TcpStream) {
    let mut unread = Vec::new();
    let fill = |socket: &mut TcpStream, unread: &mut Vec<u8>| {
        let mut piece = [0; 4096];
        let bytes = socket.read(&mut piece).unwrap_or(0);
        unread.extend_from_slice(&piece[..bytes]);
        bytes > 0
    };
    loop {
        let head = loop {
            match unread.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(end) => break unread.drain(..end + 4).collect::<Vec<u8>>(),
                None if fill(&mut socket, &mut unread) => {}
                None => return,
            }
        };
        let head = String::from_utf8_lossy(&head).into_owned();
        let target = head.split(' ').nth(1).unwrap_or_default();
        let Some(order) = target.strip_prefix("/hold/") else {
            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            continue;
        };
        let (wanted, reply) = order.split_once('/').expect("READ/REPLY");
        let wanted: usize = wanted.parse().expect("a number");
        while unread.len() < wanted && fill(&mut socket, &mut unread) {}
        let digit = |at: usize| u8::from_str_radix(&reply[at..at + 2], 16).expect("hexadecimal");
        let reply: Vec<u8> = (0..reply.len()).step_by(2).map(digit).collect();
        let _ = socket.write_all(&reply);
        println!("held");
        loop {
            std::thread::park();
        }
    }
}
