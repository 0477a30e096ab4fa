//! Reads from the console what may be consumed. A console edits and shows a line only while a program reads it, and until
//! then keeps single keys.
#![expect(unsafe_code, reason = "the standard library does not show the keys that wait in a console")]

use std::io::{self, BufRead};

use windows_sys::Win32::System::Console::{
    GetNumberOfConsoleInputEvents, GetStdHandle, INPUT_RECORD, KEY_EVENT, PeekConsoleInputW, STD_INPUT_HANDLE,
};

pub(crate) enum ReadResult {
    Nothing,
    Data,
    End,
}

const RETURN: u16 = b'\r' as u16;

/// Reads at most one line, if it may be consumed: every line without `min_length`, otherwise an empty one or one of at least
/// so many characters. Waits for the rest of a line that the user has begun. On a terminal that is no console (Git Bash), it
/// waits for a whole line, and only without `min_length`.
pub(crate) fn read_available(
    min_length: Option<usize>,
    max_length: usize,
    line: &mut Vec<u8>,
) -> io::Result<ReadResult> {
    let may_consume = match (waiting_keys(), min_length) {
        (Some(keys), None) => !keys.is_empty(),
        (Some(keys), Some(min_length)) => {
            keys.contains(&RETURN) && (keys.first() == Some(&RETURN) || keys.len() >= min_length)
        }
        (None, min_length) => min_length.is_none(),
    };
    if !may_consume {
        return Ok(ReadResult::Nothing);
    }
    if line.len() > max_length {
        line.clear();
    }
    match io::stdin().lock().read_until(b'\n', line)? {
        0 => Ok(ReadResult::End),
        _ => Ok(ReadResult::Data),
    }
}

/// Does nothing: the console's settings stay unchanged.
pub(crate) fn restore_keyboard() {}

/// The characters of the keys that wait. `None` if standard input is no console.
fn waiting_keys() -> Option<Vec<u16>> {
    // SAFETY: takes no pointer.
    let console = unsafe { GetStdHandle(STD_INPUT_HANDLE) };
    let mut count = 0;
    // SAFETY: the variable lives until the call returns; another handle than a console's is an error.
    if unsafe { GetNumberOfConsoleInputEvents(console, &raw mut count) } == 0 {
        return None;
    }
    // SAFETY: numbers only, for which zero is a value.
    let mut records: Vec<INPUT_RECORD> = vec![unsafe { std::mem::zeroed() }; count as usize];
    // SAFETY: `records` has `count` elements.
    if unsafe { PeekConsoleInputW(console, records.as_mut_ptr(), count, &raw mut count) } == 0 {
        return None;
    }
    let keys = records.iter().take(count as usize).filter(|record| u32::from(record.EventType) == KEY_EVENT);
    // SAFETY: the record of a key holds a key.
    let keys = keys.map(|record| unsafe { record.Event.KeyEvent }).filter(|key| key.bKeyDown != 0);
    // SAFETY: both forms of the character are numbers.
    Some(keys.map(|key| unsafe { key.uChar.UnicodeChar }).filter(|character| *character != 0).collect())
}
