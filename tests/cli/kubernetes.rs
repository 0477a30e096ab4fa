//! `infra kubernetes` with the real kubectl.
