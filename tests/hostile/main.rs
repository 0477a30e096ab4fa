//! A hostile provider, case by case, against the real `infra` and `infrad`. `README.md` in this folder lists the cases.

#![expect(clippy::indexing_slicing, reason = "a document without the expected member fails the test")]

mod callback;
mod discovery;
mod fixture;
mod id_token;
mod mix_up;
mod rotation;
mod signing_keys;
mod token_endpoint;
mod token_exchange;
mod user_info;
mod workloads;
