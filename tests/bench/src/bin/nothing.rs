//! A program that does nothing: the baseline cost of a process.

fn main() {}
