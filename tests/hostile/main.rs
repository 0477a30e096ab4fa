//! A hostile provider, case by case, against the real `infra` and the real `infrad`. The table is in `README.md` beside this
//! file.

#![expect(clippy::indexing_slicing, reason = "a document without the expected member fails the test")]

mod callback;
mod discovery;
mod id_token;
mod mix_up;
mod rotation;
mod signing_keys;
mod stage;
mod token_endpoint;
mod user_info;
