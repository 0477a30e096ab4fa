//! Ends a sign-in by an interrupt, and the program by a second one.

use std::process;
use std::sync::mpsc::Sender;

use super::Event;
use crate::failure::Exit;
use crate::platform::{Interrupts, restore_keyboard};

/// Sends the first interrupt to the sign-in, which then ends. A second one exits the program. Does not return.
#[expect(clippy::disallowed_methods, reason = "a second interrupt exits at once, without destructors")]
pub(super) async fn forward(mut interrupts: Interrupts, events: Sender<Event>) {
    interrupts.next().await;
    // Sending fails if the sign-in has already ended. Its result then counts.
    let _ = events.send(Event::Interrupted);
    interrupts.next().await;
    restore_keyboard();
    process::exit(Exit::Interrupted as i32);
}
